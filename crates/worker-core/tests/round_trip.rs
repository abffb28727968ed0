//! What a row says is what the inbox at the other end says.

use postroad_envelope::OutboxColumns;
use postroad_transport::{Incoming, Outgoing};
use postroad_worker_core::{InboxEntry, OutboxRow, Settings, decode, encode};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value};

const TOPICS: &[&str] = &["event.a.b.c", "b.request.c.d", "a.response.c.d.e"];

/// As a broker that changes nothing would deliver it.
fn delivered(sent: Outgoing) -> Incoming {
    Incoming {
        topic: sent.topic,
        body: sent.body,
        message_id: Some(sent.message_id),
        correlation_id: sent.correlation_id,
        reply_to: sent.reply_to,
        app_id: sent.app_id,
        message_type: sent.message_type.map(|kind| kind.as_str().to_owned()),
        headers: sent.headers,
        ..Incoming::default()
    }
}

/// Of each type, with everything that it may have.
fn row() -> impl Strategy<Value = OutboxRow> {
    let text = || prop::option::of("[^\u{0}]{1,40}");
    let service = prop::option::of("[a-z][a-z0-9_-]{0,10}");
    (
        select(TOPICS),
        text(),
        text(),
        text(),
        service,
        prop::option::of(0..=32_i64),
        payload(),
        headers(),
    )
        .prop_map(|(topic, message_id, id, parent, service, depth, payload, headers)| {
            let id = Some(id.unwrap_or_else(|| "i".to_owned()));
            let (event, response) = (topic.starts_with("event"), topic.contains("response"));
            let request = !event && !response;
            let columns = OutboxColumns {
                id: "row".to_owned(),
                topic: topic.to_owned(),
                message_id,
                request_id: id.clone().filter(|_| !event),
                event_type: id.filter(|_| event),
                message_status: response.then(|| "error".to_owned()),
                reply_to: request.then(|| "a.response.c.d".to_owned()),
                source_service: service.filter(|name| name != "event"),
                parent_request_id: parent,
                chain_depth: depth,
                payload,
                ..OutboxColumns::default()
            };
            OutboxRow {
                seq: 1,
                columns,
                headers: Some(Value::from(headers).to_string()),
                retry_count: 0,
                created_at: 7,
                ordering_key: None,
            }
        })
}

/// JSON text, with spaces and digits that have to stay.
fn payload() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        "-?[1-9][0-9]{0,30}(\\.[0-9]{1,20})?(e[0-9])?",
        "[^\u{0}]{0,20}".prop_map(|text| Value::from(text).to_string()),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|all| format!("[{}]", all.join(" , "))),
            prop::collection::btree_map("[a-c]{1,2}", inner, 0..4).prop_map(|members| {
                let members: Vec<_> =
                    members.iter().map(|(name, value)| format!("\"{name}\" : {value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

fn headers() -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::btree_map("[a-z]{1,8}", any::<i64>().prop_map(Value::from), 0..4)
        .prop_map(|members| members.into_iter().filter(|(name, _)| name != "extra").collect())
}

proptest! {
    #[test]
    fn a_row_arrives_as_it_was_written(row in row()) {
        let settings = Settings::new("default", "sender");
        let sent = encode(&row, &settings).unwrap();
        let InboxEntry::Message(inbox) = decode(&delivered(sent), &settings.limits) else {
            panic!("it is taken")
        };
        let OutboxRow { columns, headers, .. } = row;
        prop_assert_eq!(inbox.topic, columns.topic);
        prop_assert_eq!(inbox.message_id, columns.message_id.unwrap_or(columns.id));
        prop_assert_eq!(inbox.request_id, columns.request_id);
        prop_assert_eq!(inbox.event_type, columns.event_type);
        prop_assert_eq!(inbox.message_status.map(str::to_owned), columns.message_status);
        prop_assert_eq!(inbox.reply_to, columns.reply_to);
        prop_assert_eq!(inbox.source_service, Some(columns.source_service.unwrap_or("sender".to_owned())));
        prop_assert_eq!(inbox.parent_request_id, columns.parent_request_id);
        prop_assert_eq!(i64::from(inbox.chain_depth), columns.chain_depth.unwrap_or(0));
        prop_assert_eq!(inbox.payload, columns.payload);
        let headers = headers.filter(|headers| headers != "{}");
        prop_assert_eq!(inbox.headers, headers);
    }
}
