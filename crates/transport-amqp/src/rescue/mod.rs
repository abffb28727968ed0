//! Gets messages out of a queue that amqprs cannot decode.
//!
//! amqprs ends the connection at a text that is not UTF-8 and at types it does not know, and the broker delivers the
//! message again, for ever. What is here speaks just enough of AMQP 0-9-1 to take one message at a time and to give
//! each to the engine: those that amqprs would have taken as they are, the others with what they came with as bytes.

mod frame;
mod properties;
mod rescuer;
mod session;

pub(crate) use rescuer::{Rescuer, rescue};
