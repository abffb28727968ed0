//! What every test here is made of.

mod bus;
mod device;
mod home;
mod mosquitto;
mod mqtt;
#[expect(dead_code, reason = "its other users exchange its certificate")]
#[path = "../../../../transport-amqp/tests/support/node.rs"]
mod node;
mod plant;
mod postroad;
mod rabbit;
mod scratch;
mod sql;
mod wait;
mod worker;

pub(crate) use bus::{Bus, on_server, on_servers};
pub(crate) use device::{Device, TOPIC, event};
pub(crate) use home::Home;
pub(crate) use mosquitto::{Mosquitto, free_address};
pub(crate) use mqtt::{Letter, Listener, Publisher};
pub(crate) use node::Node;
pub(crate) use plant::{Plant, configure_mqtt, on_plant, on_plant_with};
pub(crate) use postroad::{Postroad, Ran};
pub(crate) use rabbit::{Ear, Heard, Url, copies};
pub(crate) use scratch::{Scratch, Server};
pub(crate) use sql::{Sql, hex};
pub(crate) use wait::until;
pub(crate) use worker::Worker;
