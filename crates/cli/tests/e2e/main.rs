//! `postroad` as its users meet it: the built program, its command line, its tables and its broker.
//!
//! Nothing here knows how it works inside. Rows are written and read by plain SQL, messages by clients of the
//! tests' own.
#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic")]

mod support;

mod commands;
mod config;
mod demo;
mod doctor;
mod doctor_servers;
mod embedded;
mod fault_points;
mod files;
mod quarantine;
mod retention;
mod rows;
mod schema;
mod secrets;
mod security;
mod status;

mod cluster;
mod crashes;
mod crowds;
mod dead_letters;
mod idle;
mod mqtt_config;
mod mqtt_corpus;
mod mqtt_group;
mod mqtt_in;
mod mqtt_outages;
mod mqtt_way_out;
mod ordering;
mod outages;
mod poison;
mod poison_mqtt;
mod poison_out;
mod privileges;
mod samples;
mod team;
mod tls;
mod way_in;
mod way_out;
