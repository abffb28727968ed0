//! What rows become on MQTT, and what MQTT messages become in the inbox.

use bytes::Bytes;
use postroad_edgex::{Decoded, Malformed, Message, Row};
use postroad_transport::{Incoming, Outgoing};
use postroad_worker_core::{
    Codec, InboxEntry, InboxRow, Original, OutboxRow, Quarantined, Settings, encode,
};
use serde_json::Map;
use uuid::Uuid;

/// Envelopes and bare payloads out; EdgeX, envelopes and anything else in.
#[derive(Debug, Clone)]
pub(crate) struct MqttCodec {
    /// `MessageBus.BaseTopicPrefix` of EdgeX.
    pub(crate) base_prefix: String,
}

impl Codec for MqttCodec {
    fn encode(&self, row: &OutboxRow, settings: &Settings) -> Result<Outgoing, String> {
        if row.columns.message_type.is_some() { encode(row, settings) } else { bare(row, settings) }
    }

    fn decode(&self, incoming: &Incoming, settings: &Settings) -> InboxEntry {
        let flags = incoming.mqtt.unwrap_or_default();
        let message = Message {
            topic: &incoming.topic,
            payload: &incoming.body,
            qos: flags.qos,
            retain: flags.retain,
            dup: flags.dup,
        };
        let settings = postroad_edgex::Settings {
            base_prefix: self.base_prefix.clone(),
            limits: settings.limits,
            ..postroad_edgex::Settings::default()
        };
        match postroad_edgex::decode(&message, &settings) {
            Decoded::Row(row) => InboxEntry::Message(Box::new(inbox_row(*row, incoming))),
            Decoded::Malformed(malformed) => {
                InboxEntry::Quarantine(quarantined(*malformed, incoming))
            }
        }
    }
}

/// A row without a `message_type` goes out as its payload and nothing else, to the topic as it is written.
fn bare(row: &OutboxRow, settings: &Settings) -> Result<Outgoing, String> {
    let columns = &row.columns;
    let (bytes, limit) = (columns.payload.len(), settings.limits.max_message_bytes);
    if bytes > limit {
        return Err(format!("payload: {bytes} bytes are above the maximum of {limit}"));
    }
    Ok(Outgoing {
        topic: columns.topic.clone(),
        body: Bytes::from(columns.payload.clone()),
        message_id: columns.message_id.as_ref().unwrap_or(&columns.id).clone(),
        message_type: None,
        correlation_id: None,
        reply_to: None,
        app_id: None,
        timestamp: None,
        headers: Map::new(),
    })
}

fn inbox_row(row: Row, incoming: &Incoming) -> InboxRow {
    // What the spool delivers again keeps the id of its first arrival.
    let fresh = || incoming.arrival_id.clone().unwrap_or_else(|| Uuid::now_v7().to_string());
    InboxRow {
        topic: row.topic,
        message_id: row.message_id.or_fresh(fresh),
        message_type: row.message_type,
        message_status: row.message_status,
        request_id: row.request_id,
        event_type: row.event_type,
        reply_to: row.reply_to,
        source_service: Some(row.source_service),
        parent_request_id: row.parent_request_id,
        chain_depth: row.chain_depth,
        payload: row.payload,
        headers: row.headers,
        fingerprint: Some(row.fingerprint),
        original: original(incoming, row.properties),
    }
}

fn quarantined(malformed: Malformed, incoming: &Incoming) -> Quarantined {
    Quarantined {
        topic: malformed.topic,
        reason: malformed.reason,
        detail: malformed.detail,
        original: original(incoming, malformed.properties),
    }
}

fn original(incoming: &Incoming, properties: String) -> Original {
    Original {
        body: incoming.body.clone(),
        headers: Some(properties),
        // The spool may have handed it out before, and knows it by this id then.
        redelivered: incoming.redelivered || incoming.arrival_id.is_some(),
        arrival_id: incoming.arrival_id.clone(),
    }
}

#[cfg(test)]
mod tests {
    use postroad_envelope::OutboxColumns;

    use super::*;

    fn codec() -> (MqttCodec, Settings) {
        (MqttCodec { base_prefix: "edgex".to_owned() }, Settings::new("default", "ebmr"))
    }

    fn row(message_type: Option<&str>, topic: &str) -> OutboxRow {
        OutboxRow {
            seq: 1,
            columns: OutboxColumns {
                id: "id-1".to_owned(),
                topic: topic.to_owned(),
                message_type: message_type.map(str::to_owned),
                event_type: Some("started".to_owned()),
                payload: r#"{"n": 1.10}"#.to_owned(),
                ..OutboxColumns::default()
            },
            headers: None,
            retry_count: 0,
            created_at: 1,
            ordering_key: None,
        }
    }

    #[test]
    fn a_row_with_a_type_goes_out_as_an_envelope_and_one_without_as_it_is() {
        let (codec, settings) = codec();
        let envelope = codec.encode(&row(Some("event"), "event.a.b.c"), &settings).unwrap();
        assert!(envelope.body.starts_with(br#"{"schema":"interservice.envelope.v1""#));
        let bare = codec.encode(&row(None, "machines/press 4/set"), &settings).unwrap();
        assert_eq!(
            (bare.topic.as_str(), &bare.body[..]),
            ("machines/press 4/set", &br#"{"n": 1.10}"#[..])
        );
    }

    #[test]
    fn what_has_no_id_of_its_own_has_that_of_its_arrival() {
        let (codec, settings) = codec();
        let incoming = Incoming {
            topic: "plain/topic".to_owned(),
            body: "21.5".into(),
            arrival_id: Some("arrival-7".to_owned()),
            ..Incoming::default()
        };
        let InboxEntry::Message(row) = codec.decode(&incoming, &settings) else {
            panic!("it is a number")
        };
        assert_eq!((row.message_id.as_str(), row.message_type), ("arrival-7", "raw"));
    }

    #[test]
    fn what_is_broken_on_a_topic_of_edgex_is_quarantined_as_it_came() {
        let (codec, settings) = codec();
        let incoming = Incoming {
            topic: "edgex/events/device/s/p/d/r".to_owned(),
            body: "{".into(),
            ..Incoming::default()
        };
        let InboxEntry::Quarantine(kept) = codec.decode(&incoming, &settings) else {
            panic!("it is cut off")
        };
        assert_eq!(kept.original.body, incoming.body);
    }
}
