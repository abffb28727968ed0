//! What can go wrong at a broker, in the words the engine asks about.

/// Why a message was not confirmed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The broker answered and did not take this message: a negative confirm, or a request or response that no queue
    /// is bound for. It was not delivered; the same message may be taken later.
    #[error("refused by the broker: {0}")]
    Refused(String),
    /// This broker's protocol cannot carry the message, now or later. Nothing was sent.
    #[error("cannot be sent: {0}")]
    Unsendable(String),
    /// The connection ended, or no confirm came in time. Whether the broker has the message is unknown; no fault of
    /// the message.
    #[error("no confirm: {0}")]
    Unconfirmed(String),
}

impl PublishError {
    /// Whether the broker itself said no, which counts as an attempt.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Refused(_) => true,
            Self::Unsendable(_) | Self::Unconfirmed(_) => false,
        }
    }

    /// Whether the same message may succeed on a later attempt.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Refused(_) | Self::Unconfirmed(_) => true,
            Self::Unsendable(_) => false,
        }
    }
}

/// Why a connection could not be made. Always worth another try later: brokers come back, passwords get mended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nobody answered at any of the hosts, or not in time.
    #[error("cannot reach the broker: {0}")]
    Unreachable(String),
    /// The broker answered and closed, as it does for a wrong password or an unknown virtual host.
    #[error("the broker turned the connection away: {0}")]
    Rejected(String),
    /// TLS was not agreed on: one side does not trust the other's certificate, or a file that TLS needs is of no use.
    #[error("no trusted connection to the broker: {0}")]
    Untrusted(String),
    /// Connected, but exchange, queue, binding or subscription could not be set up as the settings say.
    #[error("cannot set up the topology: {0}")]
    Topology(String),
}

/// The connection behind a [`crate::Subscriber`] is gone; everything it delivered and that was not acknowledged comes
/// again on the next one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("connection lost: {0}")]
pub struct Disconnected(pub String);
