//! What every test here is made of.

mod bus;
mod home;
mod postroad;
mod rabbit;
mod sql;
mod wait;
mod worker;

pub(crate) use bus::{Bus, on_servers};
pub(crate) use home::Home;
pub(crate) use postroad::{Postroad, Ran};
pub(crate) use rabbit::{Ear, Heard, copies};
pub(crate) use sql::hex;
pub(crate) use wait::until;
pub(crate) use worker::Worker;
