//! Servers and processes that tests start, kill and pause.
#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic")]

mod account;
mod amqp_url;
mod cluster;
mod daemon;
mod mariadb;
mod mosquitto;
mod ports;
mod postgres;
mod process;
mod rabbitmq;
mod wait;
mod worker;

pub use amqp_url::Url;
pub use cluster::Cluster;
pub use mariadb::Mariadb;
pub use mosquitto::Mosquitto;
pub use ports::free_address;
pub use postgres::Postgres;
pub use process::{Process, kill_all, signal};
pub use rabbitmq::Rabbitmq;
pub use wait::{until, until_in};
pub use worker::Worker;
