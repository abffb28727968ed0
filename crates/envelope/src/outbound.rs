//! From an outbox row to the envelope that goes out.

/// The columns of an outbox row that a message is made of, unchecked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OutboxColumns {
    /// The row's own UUID, as text.
    pub id: String,
    /// Not null, but any text.
    pub topic: String,
    /// Overrides every other message id.
    pub message_id: Option<String>,
    /// `request`, `response`, `event` or a mistake.
    pub message_type: Option<String>,
    /// `success`, `error` or a mistake.
    pub message_status: Option<String>,
    /// Correlates request and response.
    pub request_id: Option<String>,
    /// Of an event.
    pub event_type: Option<String>,
    /// Who sends it, where it is not the config's own service.
    pub source_service: Option<String>,
    /// The request that caused this one.
    pub parent_request_id: Option<String>,
    /// How many requests led here.
    pub chain_depth: Option<i64>,
    /// Where an answer is wanted.
    pub reply_to: Option<String>,
    /// JSON text: a payload, or an embedded envelope.
    pub payload: String,
}
