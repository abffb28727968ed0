//! What is fuzzed: everything that reads what others wrote, as functions from bytes.
//!
//! A target panics where a promise is broken. `cargo xtask fuzz` drives them; the tests here only try seeds and cases.

mod amqp_headers;
mod config;
mod database_url;
mod edgex;
mod envelope;
mod spool;
mod topics;

mod input;
mod target;

pub use target::{TARGETS, Target};
