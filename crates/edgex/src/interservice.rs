//! An `interservice.envelope.v1` that comes by MQTT is checked as on any other broker.

use postroad_envelope::{Envelope, InboundParts, Rejected, SCHEMA_ID, normalise_inbound};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::body::Body;
use crate::decode::topic;
use crate::found::RAW;
use crate::json::{self, Json, Sanitized};
use crate::message::{Decoded, Malformed, Message, MessageId, Row, Settings};
use crate::{parse, reason, stored};

/// Levels of an envelope, which may be nested deeper than what this crate makes.
const MAX_DEPTH: usize = 128;

/// Whether a message says that it is an envelope, be it one or not.
pub(crate) fn is_claimed(body: &Body<'_>, payload: &[u8]) -> bool {
    match body {
        Body::Json(Json::Object(members), _) => {
            members.iter().any(|(key, value)| key == "schema" && value.text() == Some(SCHEMA_ID))
        }
        Body::Json(..) | Body::Cbor(..) | Body::Empty => false,
        Body::Documents(..) | Body::Text(..) | Body::Bytes(_) => is_claimed_in_broken(payload),
    }
}

/// Checks a message as an envelope. The row has the topic that the message came on.
pub(crate) fn decode(message: &Message<'_>, settings: &Settings) -> Decoded {
    let parts = InboundParts {
        body: message.payload,
        routing_key: message.topic,
        ..InboundParts::default()
    };
    let envelope = match normalise_inbound(&parts, &settings.limits) {
        Ok(envelope) => envelope,
        Err(rejected) => {
            return malformed(message, settings, word(&rejected), rejected.to_string());
        }
    };
    match unstorable(&envelope) {
        Some(detail) => malformed(message, settings, reason::UNSTORABLE, detail),
        None => Decoded::Row(Box::new(row(envelope, message))),
    }
}

fn row(envelope: Envelope, message: &Message<'_>) -> Row {
    let payload = Box::<str>::from(envelope.payload).into_string();
    Row {
        topic: topic(message),
        message_id: MessageId::Given(envelope.message_id),
        message_type: envelope.message_type.as_str(),
        message_status: envelope.status.map(postroad_envelope::ResponseStatus::as_str),
        request_id: envelope.request_id,
        event_type: envelope.event_type,
        reply_to: envelope.reply_to.map(|topic| topic.as_str().to_owned()),
        source_service: envelope.source_service,
        parent_request_id: envelope.parent_request_id,
        chain_depth: envelope.chain_depth,
        headers: headers(&envelope.extra),
        fingerprint: Sha256::digest(&payload).into(),
        payload,
        properties: stored::properties(message),
    }
}

fn malformed(
    message: &Message<'_>,
    settings: &Settings,
    reason: &'static str,
    detail: String,
) -> Decoded {
    Decoded::Malformed(Box::new(Malformed {
        topic: topic(message),
        reason,
        detail,
        message_id: MessageId::Fresh,
        shape: RAW,
        request_id: None,
        correlation_id: None,
        source_service: settings.mqtt_source.clone(),
        properties: stored::properties(message),
    }))
}

fn word(rejected: &Rejected) -> &'static str {
    match rejected {
        Rejected::TooLarge { .. } => reason::TOO_LARGE,
        Rejected::NotJson(_) => reason::INVALID_JSON,
        _ => reason::INVALID_ENVELOPE,
    }
}

/// A message with no closing brace, or with NaN in it, is still one that says what it wants to be.
fn is_claimed_in_broken(payload: &[u8]) -> bool {
    const KEY: &[u8] = b"\"schema\"";
    let payload = payload.strip_prefix("\u{feff}".as_bytes()).unwrap_or(payload);
    payload.trim_ascii_start().starts_with(b"{")
        && payload.windows(KEY.len()).enumerate().filter(|(_, window)| *window == KEY).any(
            |(at, _)| {
                let after = payload[at + KEY.len()..].trim_ascii_start().strip_prefix(b":");
                after.is_some_and(|value| is_schema_id(value.trim_ascii_start()))
            },
        )
}

fn is_schema_id(value: &[u8]) -> bool {
    let rest = value.strip_prefix(b"\"").and_then(|value| value.strip_prefix(SCHEMA_ID.as_bytes()));
    rest.is_some_and(|rest| rest.starts_with(b"\""))
}

/// The envelope's unknown fields as they came, under `extra`.
fn headers(extra: &[(String, Box<RawValue>)]) -> Option<String> {
    if extra.is_empty() {
        return None;
    }
    let mut out = b"{\"extra\":".to_vec();
    for (index, (key, value)) in extra.iter().enumerate() {
        out.push(if index == 0 { b'{' } else { b',' });
        json::write_text(key, &mut out);
        out.push(b':');
        out.extend(value.get().as_bytes());
    }
    out.extend(b"}}");
    Some(json::into_text(out))
}

/// Why not every database can hold an envelope. It is not repaired: who sends one is told that it is wrong.
fn unstorable(envelope: &Envelope) -> Option<String> {
    let texts = [
        ("message_id", Some(&envelope.message_id)),
        ("request_id", envelope.request_id.as_ref()),
        ("parent_request_id", envelope.parent_request_id.as_ref()),
        ("event_type", envelope.event_type.as_ref()),
    ];
    let text = texts.into_iter().find(|(_, text)| text.is_some_and(|text| text.contains('\0')));
    let is_changed = |json: &RawValue| {
        parse::documents_within(json.get(), MAX_DEPTH)
            .is_ok_and(|(_, sanitized)| sanitized != Sanitized::default())
    };
    let json = || {
        let extra =
            envelope.extra.iter().any(|(key, value)| key.contains('\0') || is_changed(value));
        let payload = is_changed(&envelope.payload).then_some("payload");
        payload.or(extra.then_some("extra"))
    };
    let field = text.map(|(field, _)| field).or_else(json)?;
    Some(format!("`{field}` holds U+0000, or a number that no database holds"))
}
