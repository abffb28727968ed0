//! The worker in a process of its own: CPU time and memory.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use postroad_store::Database;
use postroad_store::query::status::status;
use postroad_transport_amqp::QueueType;
use serde::Serialize;
use uuid::Uuid;

use crate::args::{Args, BrokerKind};
use crate::bus::{Amqp, Bus};
use crate::input;
use crate::servers::{Rabbit, Store};
use crate::stats::{as_f64, per_second};

/// How long a worker is watched.
const WATCH: Duration = Duration::from_secs(10);
/// Nothing takes longer to stop.
const STOP: Duration = Duration::from_secs(30);
/// Linux's clock tick, the unit of `/proc/PID/stat`.
const TICKS_PER_SECOND: f64 = 100.0;
pub(crate) const MESSAGES: usize = 50_000;

/// One worker, from its start to its end.
#[derive(Debug, Serialize)]
pub(crate) struct Process {
    pub(crate) database: &'static str,
    pub(crate) broker: &'static str,
    pub(crate) way: &'static str,
    /// Rows or messages that waited at its start.
    pub(crate) waiting: usize,
    pub(crate) messages: usize,
    pub(crate) per_second: f64,
    pub(crate) cpu_seconds_per_10_000: f64,
    pub(crate) peak_resident_mib: f64,
}

/// A worker that publishes what is left of a backlog, for some seconds.
pub(crate) async fn outbound(
    args: &Args,
    store: &Store,
    broker: BrokerKind,
    key: &str,
    waiting: usize,
) -> Result<Process> {
    if waiting < MESSAGES {
        input::fill_for(&store.database, MESSAGES, args.bytes, key).await?;
    }
    let bus = amqp(broker).await?;
    let process = watch(store, broker, key, &bus, "outbound", waiting).await?;
    Bus::Amqp(bus).remove().await?;
    Ok(process)
}

/// A worker that takes in what waits in a queue, for some seconds.
pub(crate) async fn inbound(args: &Args, store: &Store, broker: BrokerKind) -> Result<Process> {
    let bus = Bus::Amqp(amqp(broker).await?);
    bus.publish_alone(input::bodies(MESSAGES, args.bytes)).await?;
    let Bus::Amqp(bus) = bus else { bail!("it is RabbitMQ") };
    let key = Uuid::new_v4().to_string();
    let process = watch(store, broker, &key, &bus, "inbound", MESSAGES).await?;
    Bus::Amqp(bus).remove().await?;
    Ok(process)
}

async fn amqp(broker: BrokerKind) -> Result<Amqp> {
    match Bus::open(broker).await? {
        Bus::Amqp(bus) => Ok(bus),
        Bus::Mqtt(_) => {
            bail!("the process is measured with RabbitMQ: name `quorum` or `classic` first")
        }
    }
}

async fn watch(
    store: &Store,
    broker: BrokerKind,
    key: &str,
    bus: &Amqp,
    way: &'static str,
    waiting: usize,
) -> Result<Process> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("bench.toml");
    fs::write(&config, toml(key, bus))?;
    let mut import = postroad(&store.url)?;
    import.args(["config", "import"]).arg(&config).stdout(Stdio::null());
    ensure!(import.status()?.success(), "`postroad config import` failed");
    let worker =
        postroad(&store.url)?.args(["worker", "--only", way, "--config-key", key]).spawn()?;
    let mut worker = Worker(worker);
    let started = Instant::now();
    let mut usage = Usage::default();
    while started.elapsed() < WATCH {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if let Some(status) = worker.0.try_wait()? {
            bail!("the worker ended: {status}");
        }
        usage = Usage::of(worker.0.id())?;
    }
    let time = started.elapsed();
    stop(&mut worker.0).await?;
    let messages = messages(&store.database, key).await?;
    Ok(Process {
        database: store.kind.name(),
        broker: broker.name(),
        way,
        waiting,
        messages,
        per_second: per_second(messages, time),
        cpu_seconds_per_10_000: usage.cpu_seconds / as_f64(messages) * 10_000.0,
        peak_resident_mib: usage.peak_resident_mib,
    })
}

/// What the worker said at its end.
async fn messages(database: &Database, key: &str) -> Result<usize> {
    let status = status(database, Some(key)).await?;
    let workers = status.configs.iter().flat_map(|config| &config.workers);
    let messages: i64 = workers.map(|worker| worker.published + worker.received).sum();
    usize::try_from(messages).context("a count is negative")
}

/// Killed when dropped.
struct Worker(Child);

/// Stops a process by SIGTERM, as a service manager does.
pub(crate) async fn stop(process: &mut Child) -> Result<ExitStatus> {
    if let Some(status) = process.try_wait()? {
        return Ok(status);
    }
    let signalled = Command::new("kill").arg(process.id().to_string()).status()?;
    ensure!(signalled.success(), "cannot signal the process");
    let until = Instant::now() + STOP;
    loop {
        if let Some(status) = process.try_wait()? {
            return Ok(status);
        }
        ensure!(Instant::now() < until, "the process did not stop");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// The binary that was built beside this one.
pub(crate) fn postroad(url: &str) -> Result<Command> {
    let binary: PathBuf = std::env::current_exe()?.with_file_name("postroad");
    ensure!(binary.exists(), "`{}` is not built; `cargo xtask bench` builds it", binary.display());
    let mut command = Command::new(binary);
    command.env("DATABASE_URL", url).env("RUST_LOG", "warn");
    Ok(command)
}

fn toml(key: &str, bus: &Amqp) -> String {
    let Rabbit { host, port, username, password, virtual_host } = &bus.rabbit;
    let (exchange, queue) = (&bus.names.exchange, &bus.names.queue);
    let queue_type = match bus.queue_type {
        QueueType::Quorum => "quorum",
        QueueType::Classic => "classic",
    };
    format!(
        r#"[config."{key}"]
broker_type = "rabbitmq"
source_service = "bench"
host = "{host}"
port = {port}
username = "{username}"
password = "{password}"

[config."{key}".rabbitmq]
virtual_host = "{virtual_host}"
exchange = "{exchange}"
queue = "{queue}"
queue_type = "{queue_type}"
binding_keys = ["event.#"]
"#
    )
}

/// What a process has used so far.
#[derive(Debug, Clone, Copy, Default)]
struct Usage {
    cpu_seconds: f64,
    peak_resident_mib: f64,
}

impl Usage {
    /// From Linux's `/proc`.
    fn of(pid: u32) -> Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("this needs /proc")?;
        // The name of the program, in brackets, may hold anything; user and system time are the 12th and 13th after it.
        let (_, fields) = stat.rsplit_once(')').context("no name in /proc/PID/stat")?;
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: f64 = ticks.map(|ticks| ticks.parse::<f64>().unwrap_or_default()).sum();
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak: f64 = peak.context("no VmHWM")?.trim().trim_end_matches("kB").trim().parse()?;
        Ok(Self { cpu_seconds: ticks / TICKS_PER_SECOND, peak_resident_mib: peak / 1024.0 })
    }
}
