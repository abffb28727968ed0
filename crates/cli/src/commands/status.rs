//! `postroad status`.

use std::fmt::Display;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use comfy_table::Cell;
use postroad_store::query::status::{self, ConfigStatus, WorkerEntry};
use postroad_store::{Database, health};

use crate::args;
use crate::commands::database;
use crate::output::{Output, optional, short, state};
use crate::signals;

/// Between two looks of `--watch`.
const LOOK: Duration = Duration::from_secs(2);

pub(crate) async fn run(args: &args::Status, url: &str, output: &Output) -> Result<ExitCode> {
    let database = database::open(url).await?;
    let stop = if args.watch { Some(signals::stop_token()?) } else { None };
    loop {
        let healthy = show(&database, args, output).await?;
        let Some(stop) = &stop else {
            return Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        };
        tokio::select! {
            () = stop.cancelled() => return Ok(ExitCode::SUCCESS),
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// Prints the status once; whether all is well.
async fn show(database: &Database, args: &args::Status, output: &Output) -> Result<bool> {
    let key = args.config_key.as_deref();
    let status = status::status(database, key).await.context("cannot read the status")?;
    if let (Some(key), true) = (key, status.configs.is_empty()) {
        bail!("there is no config `{key}`: `postroad config list` shows all");
    }
    if args.json {
        output.json(&status)?;
    } else {
        if args.watch {
            output.clear()?;
        }
        print(&status, output)?;
    }
    for config in status.configs.iter().filter(|config| !config.is_healthy()) {
        let key = &config.config_key;
        output.note(format_args!(
            "config `{key}` is active and has no live worker: `postroad worker --config-key {key}`"
        ));
    }
    if key.is_none() {
        let unknown =
            health::unknown_config_keys(database).await.context("cannot read the status")?;
        for unknown in unknown {
            output.note(format_args!(
                "rows wait by the config_key `{unknown}`, which no config has: nobody sends them"
            ));
        }
    }
    Ok(status.configs.iter().all(ConfigStatus::is_healthy))
}

fn print(status: &status::Status, output: &Output) -> Result<()> {
    let header = [
        "config",
        "broker",
        "worker",
        "pending",
        "published",
        "invalid",
        "error",
        "oldest",
        "in pending",
        "processed",
        "in error",
        "quarantined",
    ];
    let rows = status.configs.iter().map(config_cells).collect();
    output.table(&header, rows, "no config yet: `postroad config import FILE.toml` makes one")?;
    let workers: Vec<_> = status
        .configs
        .iter()
        .flat_map(|config| {
            config.workers.iter().map(|worker| worker_cells(&config.config_key, worker))
        })
        .collect();
    if !workers.is_empty() {
        let header = [
            "config",
            "worker",
            "host",
            "pid",
            "status",
            "last heartbeat",
            "published",
            "received",
        ];
        output.line("")?;
        output.table(&header, workers, "")?;
    }
    let runs: Vec<_> = status.configs.iter().filter_map(maintenance_cells).collect();
    if !runs.is_empty() {
        let header =
            ["config", "cleaned up", "result", "deleted", "rows left", "next run", "overdue"];
        output.line("")?;
        output.table(&header, runs, "")?;
    }
    for config in &status.configs {
        if let Some(error) = &config.last_error {
            output.line(format_args!("\n{}: {error}", config.config_key))?;
        }
    }
    Ok(())
}

fn config_cells(config: &ConfigStatus) -> Vec<Cell> {
    let (outbound, inbound) = (&config.outbound, &config.inbound);
    let worker = match config.worker_status.as_deref() {
        _ if !config.is_active => "not active",
        Some("stopped") | None => "none",
        Some(status) => status,
    };
    vec![
        Cell::new(&config.config_key),
        Cell::new(&config.broker_type),
        state(worker),
        Cell::new(outbound.pending),
        counted(outbound.published, outbound.published_estimated),
        Cell::new(outbound.invalid),
        Cell::new(outbound.error),
        optional(outbound.oldest_pending_seconds.map(|seconds| format!("{seconds} s"))),
        Cell::new(inbound.pending),
        counted(inbound.processed, inbound.processed_estimated),
        Cell::new(inbound.error),
        Cell::new(config.quarantined),
    ]
}

/// A number, that it is an estimate where it is one.
fn counted(number: impl Display, is_estimated: bool) -> Cell {
    Cell::new(if is_estimated { format!("~{number}") } else { number.to_string() })
}

/// `None` where nothing was ever cleaned, and nothing is due.
fn maintenance_cells(config: &ConfigStatus) -> Option<Vec<Cell>> {
    let run = &config.maintenance;
    if run.last_started_at.is_none() && run.rows_left == 0 {
        return None;
    }
    Some(vec![
        Cell::new(&config.config_key),
        optional(run.last_finished_at.as_ref()),
        optional(run.last_result.as_ref().map(|result| short(result, 60))),
        Cell::new(run.deleted.total()),
        counted(run.rows_left, run.rows_left_estimated),
        optional(run.next_run_at.as_ref()),
        if run.overdue { state("overdue") } else { Cell::new("no") },
    ])
}

fn worker_cells(key: &str, worker: &WorkerEntry) -> Vec<Cell> {
    vec![
        Cell::new(key),
        Cell::new(short(&worker.id, 13)),
        Cell::new(&worker.host),
        Cell::new(worker.pid),
        state(if worker.stale { "stale" } else { &worker.status }),
        Cell::new(&worker.last_heartbeat_at),
        Cell::new(worker.published),
        Cell::new(worker.received),
    ]
}
