//! What every test here is made of.

mod bus;
mod by_tls;
mod crowd;
mod device;
mod home;
mod mqtt;
#[expect(dead_code, reason = "its other users exchange its certificate")]
#[path = "../../../../transport-amqp/tests/support/node.rs"]
mod node;
mod plant;
mod postroad;
mod rabbit;
#[path = "../../../../transport-amqp/tests/support/raw.rs"]
mod raw;
mod raw_mqtt;
mod recorder;
mod scale;
mod scratch;
mod sql;

pub(crate) use bus::{Bus, on_server, on_server_and_broker, on_servers};
pub(crate) use by_tls::mosquitto_by_tls;
pub(crate) use crowd::Crowd;
pub(crate) use device::{Device, TOPIC, event};
pub(crate) use home::Home;
pub(crate) use mqtt::{Letter, Listener, Publisher};
pub(crate) use node::Node;
pub(crate) use plant::{Plant, configure_mqtt, on_plant, on_plant_with};
pub(crate) use postroad::{Postroad, Ran};
pub(crate) use postroad_testbed::{Cluster, Mosquitto, Url, Worker, free_address, until, until_in};
pub(crate) use rabbit::{Ear, Heard, Rabbit, copies};
pub(crate) use raw::{RawClient, content_type, headers};
pub(crate) use raw_mqtt::publish_raw;
pub(crate) use recorder::{Recorder, Tally};
pub(crate) use scale::{dice, scaled, scaled_time};
pub(crate) use scratch::{Scratch, Server, show};
pub(crate) use sql::{Sql, hex};
