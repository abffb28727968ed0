//! The envelope `interservice.envelope.v1`, its JSON Schema, the topic grammar and normalising both ways. No I/O.

mod kinds;
mod outbound;

pub use kinds::{MessageType, ResponseStatus};
pub use outbound::OutboxColumns;
