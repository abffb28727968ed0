//! What comes in, and what comes of it.

use postroad_envelope::Limits;
use uuid::Uuid;

/// A PUBLISH as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Message<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// All its bytes.
    pub payload: &'a [u8],
    /// 0, 1 or 2.
    pub qos: u8,
    /// Whether the broker had kept it: set on what a new subscription brings.
    pub retain: bool,
    /// Whether the broker may have sent it before.
    pub dup: bool,
}

/// What a subscription is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `MessageBus.BaseTopicPrefix` of EdgeX; may have several levels.
    pub base_prefix: String,
    /// `source_service` of an EdgeX message that does not tell it.
    pub edgex_source: String,
    /// `source_service` of any other message.
    pub mqtt_source: String,
    /// Most bytes of a message that is not an `interservice.envelope.v1`. EdgeX has events of up to 25 MB.
    pub max_bytes: usize,
    /// What an `interservice.envelope.v1` has to keep.
    pub limits: Limits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            base_prefix: "edgex".to_owned(),
            edgex_source: "edgex".to_owned(),
            mqtt_source: "mqtt".to_owned(),
            max_bytes: 32 * 1024 * 1024,
            limits: Limits::default(),
        }
    }
}

/// What a message becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// A row of the inbox.
    Row(Box<Row>),
    /// A message for quarantine.
    Malformed(Box<Malformed>),
}

/// What a row of the inbox needs. No text in it holds U+0000, and the JSON is such that every database takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The topic of the message.
    pub topic: String,
    /// With the topic the deduplication key.
    pub message_id: MessageId,
    /// `request`, `response`, `event` or `raw`.
    pub message_type: &'static str,
    /// `success` or `error`, of a response.
    pub message_status: Option<&'static str>,
    /// The request this belongs to; 1 to 255 characters.
    pub request_id: Option<String>,
    /// What it is; always there unless this is an `interservice.envelope.v1` that is no event.
    pub event_type: Option<String>,
    /// Where the answer to a request will be, on EdgeX's bus.
    pub reply_to: Option<String>,
    /// Who sent it, as far as the message tells.
    pub source_service: String,
    /// EdgeX has none.
    pub parent_request_id: Option<String>,
    /// EdgeX has none, so 0.
    pub chain_depth: u32,
    /// JSON text: of an `interservice.envelope.v1` its payload as it came, of anything else
    /// `{"data": .., "mqtt": {..}, "edgex": {..}}`.
    pub payload: String,
    /// JSON text: `{"extra": {..}}` with the fields of an envelope that have no other place, if there are any.
    pub headers: Option<String>,
    /// SHA-256 of the message's bytes; of what has an id of its own, an event or a notification, that of `data`, so that it is
    /// the same in another envelope; of an `interservice.envelope.v1` that of `payload`. Otherwise `payload` holds the
    /// flags, so two deliveries of one message, one live and one retained, differ in it and agree in this.
    pub fingerprint: [u8; 32],
    /// JSON text: `{"headers": {}, "properties": {"qos", "retain", "dup"}}`, to be kept beside the bytes.
    pub properties: String,
}

/// A message that is no row of the inbox. Its bytes stay with the caller, who keeps them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// The topic of the message.
    pub topic: String,
    /// A fixed word, see [`crate::reason`].
    pub reason: &'static str,
    /// What exactly is wrong, for a person. Shows nothing of the content of an EdgeX message.
    pub detail: String,
    /// What it would have had as a row.
    pub message_id: MessageId,
    /// `envelope`, `envelope-cbor`, or `raw` where there was no envelope to be seen.
    pub shape: &'static str,
    /// Where envelope or topic still gave it.
    pub request_id: Option<String>,
    /// Where the envelope still gave it.
    pub correlation_id: Option<String>,
    /// Who sent it, as far as the message tells.
    pub source_service: String,
    /// JSON text: `{"headers": {}, "properties": {"qos", "retain", "dup"}, "edgex": {..}}`, to be kept beside the bytes.
    pub properties: String,
}

/// How a message is told from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MessageId {
    /// The sender gave it one; 1 to 255 characters.
    Given(String),
    /// Made of topic, ids and bytes: the same on every delivery.
    Derived(Uuid),
    /// Nothing tells two equal messages apart from one that came twice, so each delivery counts as a message.
    Fresh,
}

impl MessageId {
    /// The id as text. `fresh` makes one for this delivery; it should make the same for what is known to be the same
    /// delivery, such as one read from the spool again.
    pub fn or_fresh(self, fresh: impl FnOnce() -> String) -> String {
        match self {
            Self::Given(id) => id,
            Self::Derived(id) => id.to_string(),
            Self::Fresh => fresh(),
        }
    }
}
