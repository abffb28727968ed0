//! `postroad prune`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use comfy_table::Cell;
use postroad_store::query::retention::{OlderThan, due, older_than};
use postroad_store::{Database, SqlStore, config};
use postroad_worker_core::{RowsByKind, RunEnd, clean_by_hand};
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::args::Prune;
use crate::commands::database;
use crate::output::{Output, optional};
use crate::signals;

/// Between two lines about work that takes long.
const PROGRESS: Duration = Duration::from_secs(2);

/// What is done with one config.
struct Report {
    config_key: String,
    rows: RowsByKind,
    older_than: OlderThan,
    end: RunEnd,
}

pub(crate) async fn run(args: &Prune, url: &str, output: &Output) -> Result<ExitCode> {
    let database = database::open(url).await?;
    let stop = signals::stop_token()?;
    let mut reports = Vec::new();
    let mut busy = Vec::new();
    for key in keys(&database, args).await? {
        let report = if args.dry_run {
            Some(count(&database, &key).await?)
        } else {
            clean(&database, &key, &stop, output).await?
        };
        match report {
            Some(report) => reports.push(report),
            None => busy.push(key),
        }
        if stop.is_cancelled() {
            break;
        }
    }
    print(&reports, args, output)?;
    verdict(&reports, &busy)
}

/// The configs to clean.
async fn keys(database: &Database, args: &Prune) -> Result<Vec<String>> {
    let configs = config::list(database).await.context("cannot read the configs")?;
    let keys = configs.into_iter().map(|config| config.config_key);
    let keys: Vec<_> =
        keys.filter(|key| args.config_key.as_ref().is_none_or(|wanted| wanted == key)).collect();
    if let (Some(key), true) = (&args.config_key, keys.is_empty()) {
        bail!("there is no config `{key}`: `postroad config list` shows all");
    }
    Ok(keys)
}

async fn count(database: &Database, key: &str) -> Result<Report> {
    let older_than = cutoffs(database, key).await?;
    let mut due = due(database).await.context("cannot count what is due")?;
    let rows = due.remove(key).unwrap_or_default();
    Ok(Report { config_key: key.to_owned(), rows, older_than, end: RunEnd::Complete })
}

/// `None` where somebody else cleans this config.
async fn clean(
    database: &Database,
    key: &str,
    stop: &CancellationToken,
    output: &Output,
) -> Result<Option<Report>> {
    let older_than = cutoffs(database, key).await?;
    let store = SqlStore::new(database.clone(), key);
    let mut said = Instant::now();
    let progress = |rows: &RowsByKind| {
        if said.elapsed() >= PROGRESS {
            output.note(format_args!("{key}: {} deleted", rows.total()));
            said = Instant::now();
        }
    };
    let cleaned = clean_by_hand(&store, stop, progress).await;
    let cleaned = cleaned.with_context(|| format!("cannot clean up `{key}`"))?;
    Ok(cleaned.map(|(end, rows)| Report { config_key: key.to_owned(), rows, older_than, end }))
}

async fn cutoffs(database: &Database, key: &str) -> Result<OlderThan> {
    let older_than = older_than(database, key).await.context("cannot read the config")?;
    older_than.with_context(|| format!("the config `{key}` was deleted meanwhile"))
}

fn print(reports: &[Report], args: &Prune, output: &Output) -> Result<()> {
    let done = if args.dry_run { "would_delete" } else { "deleted" };
    if args.json {
        let configs: Vec<_> = reports.iter().map(|report| as_json(report, done)).collect();
        return output.json(&json!({ "dry_run": args.dry_run, "configs": configs }));
    }
    let rows: Vec<_> = reports.iter().flat_map(cells).collect();
    let done = done.replace('_', " ");
    output.table(&["config", "kind", &done, "older than"], rows, "nothing to clean up")
}

fn as_json(report: &Report, done: &str) -> Value {
    let kinds = kinds(report)
        .map(|(kind, rows, cutoff)| json!({ "kind": kind, done: rows, "older_than": cutoff }));
    json!({ "config_key": report.config_key, "kinds": kinds.collect::<Vec<_>>() })
}

fn cells(report: &Report) -> impl Iterator<Item = Vec<Cell>> {
    kinds(report).map(|(kind, rows, cutoff)| {
        vec![
            Cell::new(&report.config_key),
            Cell::new(kind),
            Cell::new(rows),
            optional(cutoff.map(String::as_str).or(Some("never"))),
        ]
    })
}

/// Each kind with its rows and until when it is kept.
fn kinds(report: &Report) -> impl Iterator<Item = (&'static str, u64, Option<&String>)> {
    let OlderThan { published, processed, error, invalid, quarantined, dedupe } =
        &report.older_than;
    // In the order of `by_kind`.
    let cutoffs = [published, processed, error, invalid, quarantined, dedupe];
    let rows = report.rows.by_kind();
    rows.into_iter().zip(cutoffs).map(|((kind, rows), cutoff)| (kind, rows, cutoff.as_ref()))
}

fn verdict(reports: &[Report], busy: &[String]) -> Result<ExitCode> {
    for report in reports {
        let key = &report.config_key;
        match &report.end {
            RunEnd::Complete => {}
            RunEnd::Stopped => bail!("stopped before `{key}` was clean, a worker goes on with it"),
            RunEnd::LeaseLost => bail!("another process took over cleaning `{key}`"),
            RunEnd::Failed(why) => bail!("cannot clean up `{key}`: {why}"),
        }
    }
    if !busy.is_empty() {
        let keys = busy.join("`, `");
        bail!("another process is cleaning `{keys}` now: `postroad status` shows how that goes");
    }
    Ok(ExitCode::SUCCESS)
}
