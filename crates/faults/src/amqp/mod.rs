//! AMQP 0-9-1 by hand: a client that shares nothing with the program under test, and that can say what no library lets one say.

mod client;
mod wire;

pub(crate) use client::{Client, Properties};
pub(crate) use wire::long_string;
