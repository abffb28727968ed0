//! Envelopes, from RabbitMQ and from the outbox.

use bytes::Bytes;
use postroad_envelope::{Limits, OutboxColumns};
use postroad_transport::{Incoming, Outgoing};
use postroad_worker_core::{InboxEntry, InboxRow, OutboxRow, Settings, decode, encode};

use crate::input::{check_json, line};

const LIMITS: Limits = Limits { max_message_bytes: 1 << 20, max_chain_depth: 32 };

/// The first line is the routing key and the properties, the rest is the body.
pub(crate) fn run(input: &[u8]) {
    let (head, body) = line(input);
    let head = String::from_utf8_lossy(head);
    let mut properties = head.split('\t');
    let topic = properties.next().unwrap_or_default().to_owned();
    let mut property = || properties.next().filter(|text| !text.is_empty()).map(str::to_owned);
    let incoming = Incoming {
        topic,
        body: Bytes::copy_from_slice(body),
        message_id: property(),
        message_type: property(),
        correlation_id: property(),
        app_id: property(),
        reply_to: property(),
        ..Incoming::default()
    };
    match decode(&incoming, &LIMITS) {
        InboxEntry::Message(row) => out_again(&row),
        InboxEntry::Quarantine(kept) => {
            assert_eq!(kept.original.body, incoming.body);
            assert!(!kept.detail.is_empty());
            check_json(&kept.original.headers.expect("what came with it is kept"));
        }
    }
    if let Ok(text) = std::str::from_utf8(body) {
        as_a_row(&incoming, text);
    }
}

/// What was taken in can be sent as it is, and is the same when it is taken in again.
fn out_again(row: &InboxRow) {
    check_json(&row.payload);
    row.headers.as_deref().map(check_json);
    let columns = OutboxColumns {
        id: "row".to_owned(),
        topic: row.topic.clone(),
        message_id: Some(row.message_id.clone()),
        message_type: Some(row.message_type.to_owned()),
        message_status: row.message_status.map(str::to_owned),
        request_id: row.request_id.clone(),
        event_type: row.event_type.clone(),
        source_service: row.source_service.clone(),
        parent_request_id: row.parent_request_id.clone(),
        chain_depth: Some(row.chain_depth.into()),
        reply_to: row.reply_to.clone(),
        payload: row.payload.clone(),
    };
    // A payload that says of itself that it is an envelope would be taken for one.
    if check_json(&row.payload).get("schema").is_some() {
        return;
    }
    let sent = match encode(&outbox_row(columns), &settings()) {
        Ok(sent) => sent,
        // The envelope that we would write is longer than the one that came.
        Err(problem) if row.payload.len() > LIMITS.max_message_bytes / 2 => {
            return assert!(problem.contains("bytes"), "{problem}");
        }
        Err(problem) => panic!("{problem}: {row:?}"),
    };
    let InboxEntry::Message(again) = decode(&arrived(sent), &LIMITS) else {
        panic!("what we sent is not taken: {row:?}")
    };
    let same = InboxRow { original: row.original.clone(), headers: row.headers.clone(), ..*again };
    assert_eq!(same, *row);
}

/// The body as the payload of a row, and as an embedded envelope if it is one.
fn as_a_row(head: &Incoming, payload: &str) {
    let columns = OutboxColumns {
        id: "row".to_owned(),
        topic: head.topic.clone(),
        message_id: head.message_id.clone(),
        message_type: head.message_type.clone(),
        request_id: head.correlation_id.clone(),
        event_type: head.correlation_id.clone(),
        source_service: head.app_id.clone(),
        reply_to: head.reply_to.clone(),
        payload: payload.to_owned(),
        ..OutboxColumns::default()
    };
    let row = outbox_row(columns);
    match encode(&row, &settings()) {
        Ok(sent) => {
            assert_eq!(encode(&row, &settings()).as_ref(), Ok(&sent), "equal rows, equal bytes");
            let entry = decode(&arrived(sent), &LIMITS);
            assert!(matches!(entry, InboxEntry::Message(_)), "what we send we take: {entry:?}");
        }
        Err(problem) => assert!(!problem.is_empty()),
    }
}

fn settings() -> Settings {
    Settings { limits: LIMITS, ..Settings::new("default", "fuzz") }
}

fn outbox_row(columns: OutboxColumns) -> OutboxRow {
    OutboxRow { seq: 1, columns, headers: None, retry_count: 0, created_at: 0, ordering_key: None }
}

fn arrived(sent: Outgoing) -> Incoming {
    Incoming { topic: sent.topic, body: sent.body, ..Incoming::default() }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    [
        "event.sales.order.placed\n{\"schema\":\"interservice.envelope.v1\",\"message_id\":\"m-3\",\"message_type\":\"event\",\
         \"topic\":\"event.sales.order.placed\",\"source_service\":\"shop\",\"event_type\":\"OrderPlaced\",\"payload\":[1,2.50,\"\\ud83d\\ude00\"],\"odd\":{\"a\":null}}",
        "mes.request.order.create\tm-1\trequest\tr-1\tshop\tshop.response.order.create\n\
         {\"schema\":\"interservice.envelope.v1\",\"payload\":{\"n\":1e5}}",
        "shop.response.order.create\n{\"schema\":\"interservice.envelope.v1\",\"message_id\":\"m-2\",\"message_type\":\"response\",\
         \"topic\":\"shop.response.order.create\",\"source_service\":\"mes\",\"request_id\":\"r-1\",\"status\":\"success\",\"chain_depth\":3,\"parent_request_id\":null,\"payload\":null}",
        "event.a.b.c\tm\tevent\tt\ts\n{\"k\":[true,false,null,-0.0,123456789012345678901234567890]}",
        "event.a.b.c\t\t\tt\n{\"schema\":\"interservice.envelope.v1\",\"topic\":\"event.a.b.c\",\"event_type\":\"t\",\"payload\":{}}",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
