//! From an MQTT message, of EdgeX or any other, to what a row of the inbox needs. Pure functions, no I/O.
//!
//! [`decode`] looks at topic, bytes and flags of one message. Something comes of every message: a [`Row`], or a
//! [`Malformed`] one to be kept in quarantine. It knows EdgeX from 1.3 to 4.0 by the shape of what it sees, never by a
//! configured version: envelopes in JSON and CBOR, payloads inline, in base64 or in CBOR, commands and their answers,
//! system events, metrics, notifications, batches and bare events. An `interservice.envelope.v1` is checked as one. What
//! is neither is stored as what it is: JSON, text, bytes or nothing.
//!
//! JSON is read by a reader of this crate, since no other keeps what has to be kept here: numbers to the digit,
//! duplicate keys, and strings with lone surrogates, which are repaired and not refused. What it writes is JSON that
//! every database takes: no U+0000, no lone surrogate, no number beyond any double, a bounded depth.
//!
//! ```
//! use postroad_edgex::{Decoded, Message, Settings, decode};
//!
//! let message = Message {
//!     topic: "edgex/events/device/device-modbus/Pump/Pump-12/Speed",
//!     payload: br#"{"apiVersion": "v3", "correlationID": "c-1", "contentType": "application/json", "payload":
//!         {"event": {"id": "e-1", "deviceName": "Pump-12", "origin": 1764500000123456789, "readings": []}}}"#,
//!     qos: 1,
//!     ..Message::default()
//! };
//! let Decoded::Row(row) = decode(&message, &Settings::default()) else { panic!("it is an event") };
//! assert_eq!(row.event_type.as_deref(), Some("edgex.event"));
//! assert_eq!(row.source_service, "device-modbus");
//! assert!(row.payload.contains("1764500000123456789"));
//! assert_eq!(row.message_id.or_fresh(|| unreachable!("the event has an id")), "e-1");
//! ```

mod address;
mod body;
mod cbor;
mod content;
mod decode;
mod dto;
mod envelope;
mod found;
mod identity;
mod interservice;
mod json;
mod message;
mod parse;
pub mod reason;
mod recognise;
mod stored;

pub use decode::decode;
pub use message::{Decoded, Malformed, Message, MessageId, Row, Settings};
