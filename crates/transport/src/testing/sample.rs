//! Messages to publish.

use bytes::Bytes;
use postroad_envelope::MessageType;
use serde_json::Map;
use uuid::Uuid;

use crate::Outgoing;

/// An event with a fresh id and every property set that an event has.
pub fn event(topic: &str) -> Outgoing {
    let id = Uuid::new_v4().to_string();
    Outgoing {
        topic: topic.to_owned(),
        body: Bytes::from(format!(r#"{{"message_id":"{id}"}}"#)),
        message_id: id,
        message_type: Some(MessageType::Event),
        correlation_id: None,
        reply_to: None,
        app_id: Some("suite".to_owned()),
        timestamp: Some(1_700_000_000),
        headers: Map::new(),
    }
}

/// A request with a fresh id and every property set.
pub fn request(topic: &str) -> Outgoing {
    Outgoing {
        message_type: Some(MessageType::Request),
        correlation_id: Some(Uuid::new_v4().to_string()),
        reply_to: Some("suite.response.thing.made".to_owned()),
        ..event(topic)
    }
}

/// A response with a fresh id and every property set that a response has.
pub fn response(topic: &str) -> Outgoing {
    Outgoing { message_type: Some(MessageType::Response), reply_to: None, ..request(topic) }
}
