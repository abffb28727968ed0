//! What a run was made on.

use std::fs;
use std::process::Command;
use std::thread::available_parallelism;

use postroad_store::health;
use serde::Serialize;

use crate::servers::Store;

#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: u64,
    pub(crate) kernel: String,
    pub(crate) postroad: &'static str,
    /// Names and versions of databases and brokers, as they say it themselves.
    pub(crate) servers: Vec<String>,
}

impl Machine {
    pub(crate) async fn look(stores: &[Store]) -> Self {
        let mut servers = Vec::new();
        for store in stores {
            let findings = health::check(&store.database, &health::Scope::default()).await;
            let version = findings.into_iter().find(|finding| finding.check == "version");
            servers.extend(version.map(|version| version.found));
        }
        servers.extend(first_line("rabbitmqctl", "version").map(|line| format!("RabbitMQ {line}")));
        servers.extend(first_line("mosquitto", "-h"));
        Self {
            processor: field("/proc/cpuinfo", "model name").unwrap_or_default(),
            cores: available_parallelism().map_or(1, usize::from),
            memory_gib: memory_gib().unwrap_or_default(),
            kernel: first_line("uname", "-sr").unwrap_or_default(),
            postroad: env!("CARGO_PKG_VERSION"),
            servers,
        }
    }
}

fn memory_gib() -> Option<u64> {
    let kilobytes: u64 =
        field("/proc/meminfo", "MemTotal")?.trim_end_matches("kB").trim().parse().ok()?;
    Some(kilobytes.div_ceil(1 << 20))
}

/// The value of `name: value` in a file of Linux's `/proc`.
fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn first_line(program: &str, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().next().map(str::to_owned)
}
