//! From a delivery to what the inbox makes of it.

use postroad_envelope::{Envelope, InboundParts, Limits, Rejected, normalise_inbound};
use postroad_transport::{Incoming, Undecodable};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::{InboxEntry, InboxRow, Original, Quarantined, headers, reason};

/// Header under which the unknown fields of an envelope are kept.
const EXTRA: &str = "extra";

/// Checks a delivery as an envelope. Whatever it is, something comes of it: a row, or a quarantined message.
///
/// ```
/// use postroad_envelope::Limits;
/// use postroad_transport::Incoming;
/// use postroad_worker_core::{InboxEntry, decode, reason};
///
/// let incoming = Incoming { topic: "event.a.b.c".into(), body: "not json".into(), ..Incoming::default() };
/// let InboxEntry::Quarantine(kept) = decode(&incoming, &Limits::default()) else { panic!("it is no envelope") };
/// assert_eq!(kept.reason, reason::INVALID_JSON);
/// assert_eq!(kept.original.body, incoming.body);
/// ```
pub fn decode(incoming: &Incoming, limits: &Limits) -> InboxEntry {
    let parts = InboundParts {
        body: &incoming.body,
        routing_key: &incoming.topic,
        message_id: incoming.message_id.as_deref(),
        correlation_id: incoming.correlation_id.as_deref(),
        reply_to: incoming.reply_to.as_deref(),
        app_id: incoming.app_id.as_deref(),
        message_type: incoming.message_type.as_deref(),
    };
    let original = original(incoming);
    if let Some(undecodable) = &incoming.undecodable {
        return InboxEntry::Quarantine(Quarantined {
            topic: incoming.topic.clone(),
            reason: reason::UNDECODABLE,
            detail: undecodable.detail.clone(),
            original,
        });
    }
    if let Err(detail) = headers::check(&incoming.headers) {
        let (topic, reason) = (incoming.topic.clone(), reason::TOO_LARGE);
        return InboxEntry::Quarantine(Quarantined { topic, reason, detail, original });
    }
    match normalise_inbound(&parts, limits) {
        Ok(envelope) => InboxEntry::Message(Box::new(row(envelope, incoming, original))),
        Err(rejected) => InboxEntry::Quarantine(Quarantined {
            topic: incoming.topic.clone(),
            reason: word(&rejected),
            detail: rejected.to_string(),
            original,
        }),
    }
}

fn row(envelope: Envelope, incoming: &Incoming, original: Original) -> InboxRow {
    InboxRow {
        topic: envelope.topic.as_str().to_owned(),
        message_id: envelope.message_id,
        message_type: envelope.message_type.as_str(),
        message_status: envelope.status.map(postroad_envelope::ResponseStatus::as_str),
        request_id: envelope.request_id,
        event_type: envelope.event_type,
        reply_to: envelope.reply_to.map(|topic| topic.as_str().to_owned()),
        source_service: Some(envelope.source_service),
        parent_request_id: envelope.parent_request_id,
        chain_depth: envelope.chain_depth,
        payload: Box::<str>::from(envelope.payload).into_string(),
        headers: with_extra(&incoming.headers, &envelope.extra),
        fingerprint: None,
        original,
    }
}

fn word(rejected: &Rejected) -> &'static str {
    match rejected {
        Rejected::TooLarge { .. } => reason::TOO_LARGE,
        Rejected::NotJson(_) => reason::INVALID_JSON,
        _ => reason::INVALID_ENVELOPE,
    }
}

/// The message as it came, with what is needed to take it in once more.
fn original(incoming: &Incoming) -> Original {
    let named = [
        ("message_id", &incoming.message_id),
        ("correlation_id", &incoming.correlation_id),
        ("reply_to", &incoming.reply_to),
        ("app_id", &incoming.app_id),
        ("type", &incoming.message_type),
    ];
    let properties: Map<String, Value> = named
        .into_iter()
        .filter_map(|(name, value)| value.clone().map(|value| (name.to_owned(), value.into())))
        .collect();
    let headers = match &incoming.undecodable {
        None => json!({ "headers": incoming.headers, "properties": properties }),
        Some(Undecodable { properties, raw, .. }) => {
            json!({ "headers": incoming.headers, "properties": properties, "raw": raw })
        }
    };
    Original {
        body: incoming.body.clone(),
        headers: Some(headers.to_string()),
        redelivered: incoming.redelivered,
        arrival_id: incoming.arrival_id.clone(),
    }
}

/// What came in `headers`, and the envelope's unknown fields, exact to the digit, under `extra`.
fn with_extra(headers: &Map<String, Value>, extra: &[(String, Box<RawValue>)]) -> Option<String> {
    if headers.is_empty() && extra.is_empty() {
        return None;
    }
    let text = serde_json::to_string(&Headers { headers, extra });
    Some(text.expect("maps with text keys serialise"))
}

struct Headers<'a> {
    headers: &'a Map<String, Value>,
    extra: &'a [(String, Box<RawValue>)],
}

impl Serialize for Headers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in
            self.headers.iter().filter(|(key, _)| self.extra.is_empty() || *key != EXTRA)
        {
            map.serialize_entry(key, value)?;
        }
        if !self.extra.is_empty() {
            map.serialize_entry(EXTRA, &Extra(self.extra))?;
        }
        map.end()
    }
}

struct Extra<'a>(&'a [(String, Box<RawValue>)]);

impl Serialize for Extra<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incoming(body: &str) -> Incoming {
        Incoming {
            topic: "event.a.b.c".to_owned(),
            body: body.to_owned().into(),
            ..Incoming::default()
        }
    }

    #[track_caller]
    fn quarantined(incoming: &Incoming) -> Quarantined {
        match decode(incoming, &Limits { max_message_bytes: 400, ..Limits::default() }) {
            InboxEntry::Quarantine(kept) => kept,
            InboxEntry::Message(row) => panic!("became {row:?}"),
        }
    }

    const EVENT: &str = r#"{"schema":"interservice.envelope.v1","message_id":"m","message_type":"event",
        "topic":"event.a.b.c","source_service":"s","event_type":"t","payload":{"n":123456789012345678901234567890},
        "odd":1.10}"#;

    #[test]
    fn an_envelope_becomes_a_row_with_its_payload_to_the_digit_and_its_extra_fields() {
        let mut incoming = incoming(EVENT);
        incoming.headers.insert("line".to_owned(), 4.into());
        incoming.headers.insert(EXTRA.to_owned(), "header".into());
        let InboxEntry::Message(row) = decode(&incoming, &Limits::default()) else {
            panic!("it is an envelope")
        };
        assert_eq!(row.payload, r#"{"n":123456789012345678901234567890}"#);
        assert_eq!(row.headers.as_deref(), Some(r#"{"line":4,"extra":{"odd":1.10}}"#));
        assert!(row.original.headers.is_some_and(|kept| kept.contains(r#""extra":"header""#)));
    }

    #[test]
    fn what_is_no_envelope_is_kept_with_a_fixed_reason() {
        assert_eq!(quarantined(&incoming("{")).reason, reason::INVALID_JSON);
        assert_eq!(quarantined(&incoming("{}")).reason, reason::INVALID_ENVELOPE);
        assert_eq!(quarantined(&incoming(&" ".repeat(401))).reason, reason::TOO_LARGE);
    }

    #[test]
    fn what_cannot_be_decoded_is_kept_in_bytes_however_good_its_body_is() {
        let incoming = Incoming {
            undecodable: Some(Undecodable {
                detail: "the header `bell` is not UTF-8".to_owned(),
                properties: Map::new(),
                raw: json!({ "properties": "/w==" }),
            }),
            ..incoming(EVENT)
        };
        let InboxEntry::Quarantine(kept) = decode(&incoming, &Limits::default()) else {
            panic!("it is not what AMQP says")
        };
        assert_eq!(
            (kept.reason, kept.detail.as_str()),
            ("undecodable", "the header `bell` is not UTF-8")
        );
        assert!(
            kept.original
                .headers
                .is_some_and(|kept| kept.contains(r#""raw":{"properties":"/w=="}"#))
        );
    }

    #[test]
    fn too_many_headers_are_kept_apart_with_all_of_them() {
        let many: Map<_, _> = (0..65).map(|n| (format!("h{n}"), Value::Null)).collect();
        let kept = quarantined(&Incoming { headers: many, ..incoming("{}") });
        assert_eq!(kept.reason, reason::TOO_LARGE);
        assert!(kept.detail.contains("65 entries"), "{}", kept.detail);
        assert!(kept.original.headers.is_some_and(|kept| kept.contains("\"h64\"")));
    }

    #[test]
    fn the_properties_are_kept_beside_the_body() {
        let incoming = Incoming { message_id: Some("m-1".to_owned()), ..incoming("{}") };
        let kept = quarantined(&incoming).original.headers.unwrap();
        assert_eq!(kept, r#"{"headers":{},"properties":{"message_id":"m-1"}}"#);
    }
}
