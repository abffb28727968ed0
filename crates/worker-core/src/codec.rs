//! What rows become on the wire, and what deliveries become in the inbox.

use postroad_transport::{Incoming, Outgoing};

use crate::{InboxEntry, OutboxRow, Settings, decode, encode};

/// The form of messages on one kind of broker. Pure: equal rows make equal messages.
pub trait Codec: Send + Sync + 'static {
    /// Normalises and validates a row; `Err` says for a person why it can never be sent.
    fn encode(&self, row: &OutboxRow, settings: &Settings) -> Result<Outgoing, String>;

    /// Checks a delivery. Whatever it is, something comes of it: a row, or a quarantined message.
    fn decode(&self, incoming: &Incoming, settings: &Settings) -> InboxEntry;
}

/// Every message is an envelope `interservice.envelope.v1`, as it is on RabbitMQ.
#[derive(Debug, Clone, Copy, Default)]
pub struct EnvelopeCodec;

impl Codec for EnvelopeCodec {
    fn encode(&self, row: &OutboxRow, settings: &Settings) -> Result<Outgoing, String> {
        encode(row, settings)
    }

    fn decode(&self, incoming: &Incoming, settings: &Settings) -> InboxEntry {
        decode(incoming, &settings.limits)
    }
}
