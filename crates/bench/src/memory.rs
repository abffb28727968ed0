//! Resident memory of the worker's own process with many rows waiting.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::input::{Rabbit, database_url};
use crate::measure::Bench;
use crate::transport::{self, Names};

/// The largest resident memory, in bytes, of a worker that publishes the whole backlog.
pub(crate) async fn peak(bench: &Bench) -> Result<u64> {
    let key = bench.fill_outbox(bench.args.backlog).await?;
    let names = Names::fresh();
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("bench.toml");
    fs::write(&config, toml(&key, &bench.rabbit, &names))?;
    let imported =
        postroad()?.args(["config", "import"]).arg(&config).stdout(Stdio::null()).status()?;
    ensure!(imported.success(), "`postroad config import` failed");
    let worker =
        postroad()?.args(["worker", "--only", "outbound", "--config-key", &key]).spawn()?;
    let mut worker = Worker(worker);
    let until = Instant::now() + Duration::from_mins(5);
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        ensure!(Instant::now() < until, "the backlog was not published within 5 minutes");
        if let Some(status) = worker.0.try_wait()? {
            bail!("the worker ended: {status}");
        }
        let summary = postroad_store::query::status::status(&bench.database, Some(&key)).await?;
        if summary.configs.iter().all(|config| config.outbound.pending == 0) {
            break;
        }
    }
    let peak = peak_resident_bytes(worker.0.id())?;
    drop(worker);
    transport::remove(&bench.rabbit, &names).await?;
    Ok(peak)
}

/// Killed when dropped.
struct Worker(Child);

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// The binary that was built beside this one.
fn postroad() -> Result<Command> {
    let binary: PathBuf = std::env::current_exe()?.with_file_name("postroad");
    ensure!(binary.exists(), "`{}` is not built; `cargo xtask bench` builds it", binary.display());
    let mut command = Command::new(binary);
    command.env("DATABASE_URL", database_url()?).env("RUST_LOG", "warn");
    Ok(command)
}

fn toml(key: &str, rabbit: &Rabbit, names: &Names) -> String {
    let Rabbit { host, port, username, password, virtual_host } = rabbit;
    let Names { exchange, queue } = names;
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
binding_keys = ["event.#"]
"#
    )
}

/// Linux keeps the peak as `VmHWM`, in kB.
fn peak_resident_bytes(pid: u32) -> Result<u64> {
    let status =
        fs::read_to_string(format!("/proc/{pid}/status")).context("this needs Linux's /proc")?;
    let line =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM in /proc")?;
    let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kilobytes * 1024)
}
