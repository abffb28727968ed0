//! The closed vocabularies of the envelope.

use std::fmt;

/// What a message is, the `message_type` of the envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageType {
    /// Asks a service for something; carries `request_id` and `reply_to`.
    Request,
    /// Answers a request; carries its `request_id` and a `status`.
    Response,
    /// Tells whoever listens that something happened.
    Event,
}

impl MessageType {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
            Self::Event => "event",
        }
    }

    /// For texts: `a request`, `an event`.
    pub(crate) const fn with_article(self) -> &'static str {
        match self {
            Self::Request => "a request",
            Self::Response => "a response",
            Self::Event => "an event",
        }
    }

    /// Reads the word on the wire; letters count as they are.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Request, Self::Response, Self::Event].into_iter().find(|kind| kind.as_str() == word)
    }
}

impl fmt::Display for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a request went, the `status` of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResponseStatus {
    /// It was done.
    Success,
    /// It was not; the payload says why.
    Error,
}

impl ResponseStatus {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Error => "error",
        }
    }

    /// Reads the word on the wire; letters count as they are.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Success, Self::Error].into_iter().find(|status| status.as_str() == word)
    }
}

impl fmt::Display for ResponseStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
