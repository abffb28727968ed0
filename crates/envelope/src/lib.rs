//! The envelope `interservice.envelope.v1`, its JSON Schema, the topic grammar and normalising both ways. No I/O.
//!
//! An [`Envelope`] is valid once it is read: [`Envelope::from_json`] takes what is on the wire, [`normalise_inbound`]
//! a delivery of RabbitMQ, [`normalise_outbound`] a row of the outbox. What is not valid comes back as every
//! [`Fault`] it has, each with the field, what was found and what was expected.
//!
//! ```
//! use postroad_envelope::{Envelope, Limits, MessageType};
//!
//! let body = br#"{
//!     "schema": "interservice.envelope.v1",
//!     "message_id": "0198c0de-0001",
//!     "message_type": "event",
//!     "topic": "event.sales.order.placed",
//!     "source_service": "shop",
//!     "event_type": "OrderPlaced",
//!     "payload": {"total": 10.00}
//! }"#;
//! let envelope = Envelope::from_json(body, &Limits::default())?;
//! assert_eq!(envelope.message_type, MessageType::Event);
//! assert_eq!(envelope.payload.get(), r#"{"total": 10.00}"#);
//!
//! let refused = Envelope::from_json(br#"{"schema": "interservice.envelope.v1"}"#, &Limits::default());
//! assert!(refused.unwrap_err().to_string().contains("message_id: missing"));
//! # Ok::<(), postroad_envelope::Rejected>(())
//! ```

mod envelope;
mod fault;
mod fields;
mod inbound;
mod json;
mod kinds;
mod outbound;
mod pattern;
pub mod schema;
mod topic;

pub use envelope::{Envelope, Limits, SCHEMA_ID};
pub use fault::{Fault, Faults, Rejected};
pub use inbound::{InboundParts, normalise_inbound};
pub use kinds::{MessageType, ResponseStatus};
pub use outbound::{OutboxColumns, Prepared, normalise_outbound};
pub use pattern::{BindingPattern, PatternError};
pub use topic::{MAX_TOPIC_BYTES, ServiceNameError, Topic, TopicError, check_service_name};
