//! The tables of the configuration, for sea-orm.
//!
//! They hold what a person sets. The tables of messages are not here: their UUIDs and JSON are of different types in
//! each database, and [`crate::query`] reads them as text from all.

pub mod mqtt_settings;
pub mod rabbitmq_settings;
pub mod runtime_config;
