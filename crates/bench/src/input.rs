//! What a run is made of: servers, sizes and bodies.

use std::env;

use anyhow::{Context, Result};
use clap::Parser;
use postroad_envelope::{Limits, OutboxColumns, normalise_outbound};

/// Measures the whole way beside the ceilings of the same run. `cargo xtask bench` starts the servers for it.
#[derive(Debug, Parser)]
pub(crate) struct Args {
    /// Messages of one measurement
    #[arg(long, default_value_t = 20_000)]
    pub(crate) messages: usize,
    /// Bytes of a payload
    #[arg(long, default_value_t = 1024)]
    pub(crate) bytes: usize,
    /// Measurements of each kind, taken in turn; the median counts
    #[arg(long, default_value_t = 3)]
    pub(crate) rounds: usize,
    /// Rows that wait while the worker's memory is read; 0 leaves that out
    #[arg(long, default_value_t = 100_000)]
    pub(crate) backlog: usize,
    /// Write the results here, too
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<std::path::PathBuf>,
}

/// Where RabbitMQ is.
#[derive(Debug, Clone)]
pub(crate) struct Rabbit {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) username: String,
    pub(crate) password: String,
    pub(crate) virtual_host: String,
}

impl Rabbit {
    /// From `amqp://user:password@host:port/%2f`.
    pub(crate) fn from_env() -> Result<Self> {
        let url = variable("POSTROAD_TEST_AMQP_URL")?;
        Self::parse(&url)
            .context("POSTROAD_TEST_AMQP_URL is not amqp://user:password@host:port/vhost")
    }

    fn parse(url: &str) -> Option<Self> {
        let (user, rest) = url.strip_prefix("amqp://")?.split_once('@')?;
        let (username, password) = user.split_once(':')?;
        let (address, virtual_host) = rest.split_once('/').unwrap_or((rest, "%2f"));
        let (host, port) = address.rsplit_once(':')?;
        Some(Self {
            host: host.to_owned(),
            port: port.parse().ok()?,
            username: username.to_owned(),
            password: password.to_owned(),
            virtual_host: virtual_host.replace("%2f", "/").replace("%2F", "/"),
        })
    }
}

pub(crate) fn database_url() -> Result<String> {
    variable("POSTROAD_TEST_POSTGRES_URL")
}

pub(crate) fn mqtt_url() -> Result<String> {
    variable("POSTROAD_TEST_MQTT_URL")
}

fn variable(name: &str) -> Result<String> {
    env::var(name).with_context(|| format!("{name} is not set; `cargo xtask bench` sets it"))
}

/// Topic of every message.
pub(crate) const TOPIC: &str = "event.bench.machine.measured";

/// A payload of about `bytes` bytes, as machines send them: short names, numbers, some text.
pub(crate) fn payload(n: usize, bytes: usize) -> String {
    let reading = |axis: usize| {
        let value = (n * 37 + axis * 11) % 10_000;
        format!(r#"{{"resource":"Axis{axis:02}","value":{value}.25,"unit":"mm/s"}}"#)
    };
    let readings: Vec<_> = (1..=bytes.saturating_sub(60) / reading(1).len()).map(reading).collect();
    let readings = readings.join(",");
    format!(r#"{{"device":"Press-{:05}","sequence":{n},"readings":[{readings}]}}"#, n % 997)
}

/// The bytes on the wire for a payload.
pub(crate) fn body(n: usize, bytes: usize) -> Vec<u8> {
    let row = OutboxColumns {
        id: format!("body-{n}"),
        topic: TOPIC.to_owned(),
        event_type: Some("measured".to_owned()),
        payload: payload(n, bytes),
        ..OutboxColumns::default()
    };
    normalise_outbound(&row, "bench", &Limits::default())
        .expect("the benchmark's rows are valid")
        .body
}
