//! The messages that cross a transport.

use bytes::Bytes;
use postroad_envelope::MessageType;
use serde_json::{Map, Value};

/// A message on its way to the broker. Every resend of one row carries an equal value.
#[derive(Debug, Clone, PartialEq)]
pub struct Outgoing {
    /// Routing key or MQTT topic.
    pub topic: String,
    /// The whole body; for an envelope, its JSON.
    pub body: Bytes,
    /// Identity of the message, the same on every resend.
    pub message_id: String,
    /// `None` for a bare MQTT payload.
    pub message_type: Option<MessageType>,
    /// `request_id`, where there is one.
    pub correlation_id: Option<String>,
    /// Where an answer is wanted.
    pub reply_to: Option<String>,
    /// `source_service` of the envelope.
    pub app_id: Option<String>,
    /// Seconds since the Unix epoch, of the row's making.
    pub timestamp: Option<u64>,
    /// User headers.
    pub headers: Map<String, Value>,
}

impl Outgoing {
    /// Whether a message that no queue takes counts as refused: so for requests and responses, whose sender waits for
    /// somebody; an event nobody listens to is published.
    pub fn must_route(&self) -> bool {
        match self.message_type {
            Some(MessageType::Request | MessageType::Response) => true,
            Some(MessageType::Event) | None => false,
        }
    }
}

/// A message as the broker delivered it, nothing checked yet.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Incoming {
    /// Routing key or MQTT topic.
    pub topic: String,
    /// Exact bytes of the body.
    pub body: Bytes,
    /// AMQP `message_id`.
    pub message_id: Option<String>,
    /// AMQP `correlation_id`.
    pub correlation_id: Option<String>,
    /// AMQP `reply_to`.
    pub reply_to: Option<String>,
    /// AMQP `app_id`.
    pub app_id: Option<String>,
    /// AMQP `type`.
    pub message_type: Option<String>,
    /// User headers, as JSON.
    pub headers: Map<String, Value>,
    /// Whether the broker says that it delivered this before.
    pub redelivered: bool,
    /// What MQTT says of the message beside topic and body; `None` on other brokers.
    pub mqtt: Option<MqttFlags>,
    /// An id that a transport gave the message when it arrived, the same on every delivery. Only a transport that keeps
    /// messages itself has one; it tells a message that is delivered again from an equal one where nothing else does.
    pub arrival_id: Option<String>,
    /// Set where something of it cannot be decoded: what it is, and all of it in bytes.
    pub undecodable: Option<Undecodable>,
}

/// What came with a body and is not what the protocol says. The rest of [`Incoming`] holds what could be read of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Undecodable {
    /// What is wrong, for a person.
    pub detail: String,
    /// Every property by its name; bytes that are no text are `{"base64": ".."}`.
    pub properties: Map<String, Value>,
    /// What the wire carried, each part in base64.
    pub raw: Value,
}

/// A message that was put into quarantine, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// Of its delivery.
    pub tag: u64,
    /// A fixed word.
    pub reason: &'static str,
    /// What exactly is wrong, for a person.
    pub detail: String,
}

/// The flags of an MQTT message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct MqttFlags {
    /// Quality of service it came with: 0, 1 or 2.
    pub qos: u8,
    /// Whether it was kept by the broker and is not news.
    pub retain: bool,
    /// Whether the broker may have delivered it before.
    pub dup: bool,
}

/// One delivery of a [`crate::Subscriber`].
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Grows by one with each delivery of a subscriber; [`crate::Subscriber::acknowledge_through`] takes it.
    pub tag: u64,
    /// What arrived.
    pub message: Incoming,
}
