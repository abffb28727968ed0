//! From a message to a row or to quarantine.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use crate::address::{Address, Place};
use crate::body::Body;
use crate::found::{BATCH_TYPE, Broken, Found, RAW};
use crate::identity::{self, Traits};
use crate::message::{Decoded, Malformed, Message, MessageId, Row, Settings};
use crate::recognise::recognise;
use crate::{interservice, reason, stored};

/// Looks at one message. Whatever it is, something comes of it; equal messages become equal things.
pub fn decode(message: &Message<'_>, settings: &Settings) -> Decoded {
    let limit = settings.max_bytes.max(settings.limits.max_message_bytes);
    if message.payload.len() > limit {
        return too_large(message, limit, settings);
    }
    let body = Body::of(message.payload);
    if interservice::is_claimed(&body, message.payload) {
        return interservice::decode(message, settings);
    }
    let address = Address::of(message.topic, &settings.base_prefix);
    match recognise(body, message.payload, &address, settings) {
        Ok(found) => Decoded::Row(Box::new(row(found, message, settings))),
        Err(broken) => Decoded::Malformed(Box::new(malformed(broken, &address, message, settings))),
    }
}

fn row(found: Found<'_>, message: &Message<'_>, settings: &Settings) -> Row {
    let fingerprint = Sha256::digest(message.payload);
    let traits = Traits {
        topic: message.topic,
        fingerprint: &fingerprint,
        own_id: found.own_id.as_deref(),
        request_id: found.request_id.as_deref().filter(|_| found.asks_or_answers()),
        correlation_id: found.envelope.id("correlationID"),
        is_told_by_content: message.retain || found.event_type == BATCH_TYPE,
    };
    // An event may come once more in another envelope.
    let content = match &found.own_id {
        Some(_) => Sha256::digest(stored::data(&found)),
        None => fingerprint,
    };
    let default_source =
        if found.is_edgex() { &settings.edgex_source } else { &settings.mqtt_source };
    Row {
        topic: topic(message),
        message_id: traits.message_id(),
        message_type: found.message_type,
        message_status: found.message_status,
        request_id: found.request_id.as_deref().map(request_id),
        payload: stored::payload(&found, message),
        headers: stored::headers(&found),
        event_type: Some(identity::cut(found.event_type.into_owned())),
        reply_to: found.reply_to.map(without_nul),
        source_service: source(found.source, default_source),
        parent_request_id: None,
        chain_depth: 0,
        fingerprint: content.into(),
        properties: stored::properties(message),
    }
}

fn malformed(
    mut broken: Broken,
    address: &Address<'_>,
    message: &Message<'_>,
    settings: &Settings,
) -> Malformed {
    if let Place::Answer(answer) = &address.place {
        broken.request_id = broken.request_id.or(answer.request_id.map(str::to_owned));
    }
    let fingerprint = Sha256::digest(message.payload);
    let traits = Traits {
        topic: message.topic,
        fingerprint: &fingerprint,
        own_id: None,
        request_id: broken.request_id.as_deref().filter(|_| is_for_requests(address)),
        correlation_id: broken.correlation_id.as_deref(),
        is_told_by_content: message.retain,
    };
    Malformed {
        topic: topic(message),
        reason: reason::EDGEX_MALFORMED,
        message_id: traits.message_id(),
        properties: stored::properties_of_broken(message, &broken),
        source_service: source(source_by_topic(address), &settings.edgex_source),
        detail: broken.detail,
        shape: broken.shape,
        request_id: broken.request_id.as_deref().map(request_id),
        correlation_id: broken.correlation_id,
    }
}

/// What is not looked into.
fn too_large(message: &Message<'_>, limit: usize, settings: &Settings) -> Decoded {
    Decoded::Malformed(Box::new(Malformed {
        topic: topic(message),
        reason: reason::TOO_LARGE,
        detail: format!("{} bytes are more than the {limit} allowed", message.payload.len()),
        message_id: MessageId::Fresh,
        shape: RAW,
        request_id: None,
        correlation_id: None,
        source_service: settings.mqtt_source.clone(),
        properties: stored::properties(message),
    }))
}

/// Whether a request id stands for one message on this topic.
fn is_for_requests(address: &Address<'_>) -> bool {
    matches!(address.place, Place::Request(_) | Place::Answer(_))
}

fn source_by_topic(address: &Address<'_>) -> Option<String> {
    let source: Option<Cow<'_, str>> = match &address.place {
        Place::Request(request) => request.source.map(Cow::from),
        Place::Answer(answer) => answer.source.clone(),
        Place::SystemEvents(service) | Place::Metrics(service) => service.clone(),
        Place::ConfigChanges => Some("core-keeper".into()),
        Place::Events | Place::Elsewhere => address.event_source.clone(),
    };
    source.map(Cow::into_owned)
}

/// Who sent it; a name that no service has does not count.
fn source(said: Option<String>, default: &str) -> String {
    let said = said.filter(|name| identity::fits(name)).map(without_nul);
    said.unwrap_or_else(|| default.to_owned())
}

/// It may stand in the topic.
fn request_id(id: &str) -> String {
    without_nul(identity::fitting(id).into_owned())
}

/// MQTT forbids U+0000 in a topic; should one come all the same, no database would take it.
pub(crate) fn topic(message: &Message<'_>) -> String {
    without_nul(message.topic.to_owned())
}

fn without_nul(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}
