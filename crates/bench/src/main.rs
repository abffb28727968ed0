//! Benchmarks of the whole way, beside the ceilings of the same run: the broker's client alone and the database alone.

#![expect(clippy::print_stdout, reason = "a benchmark prints what it found")]
#![expect(clippy::print_stderr, reason = "and how far it is")]

mod args;
mod bus;
mod ceilings;
mod cleaning;
mod client;
mod counting;
mod engine;
mod feed;
mod input;
mod latency;
mod machine;
mod paho;
mod picture;
mod process;
mod report;
mod scale;
mod servers;
mod spool;
mod stats;
mod throughput;
mod timed;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use clap::Parser;

use crate::args::{Args, Part};
use crate::machine::Machine;
use crate::report::Report;
use crate::servers::Store;

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse().sized();
    if let Some(target) = &args.feed {
        return feed::serve(target, &args).await;
    }
    let folder = tempfile::tempdir()?;
    let mut stores = Vec::new();
    for kind in &args.databases {
        stores.push(Store::open(*kind, folder.path()).await?);
    }
    let mut report = Report {
        machine: Machine::look(&stores).await,
        messages: args.messages,
        payload_bytes: args.bytes,
        rounds: args.rounds,
        throughput: Vec::new(),
        latency: Vec::new(),
        spool: Vec::new(),
        workers: Vec::new(),
        cleaning: Vec::new(),
        backlog: Vec::new(),
        process: Vec::new(),
    };
    let outcome = run(&args, &stores, &mut report).await;
    // What was measured is told, also where something went wrong later.
    println!("{}", report.markdown());
    if let Some(file) = &args.json {
        write(file, &serde_json::to_string_pretty(&report)?)?;
    }
    if let Some(folder) = &args.out {
        save(folder, &report)?;
    }
    outcome
}

async fn run(args: &Args, stores: &[Store], report: &mut Report) -> Result<()> {
    let first = *args.brokers.first().context("--brokers is empty")?;
    if args.wants(Part::Throughput) {
        report.throughput = throughput::measure(args, stores).await?;
    }
    if args.wants(Part::Latency) {
        report.latency = latency::measure(args, stores, first).await?;
    }
    if args.wants(Part::Spool) {
        report.spool = spool::measure(args).await?;
    }
    if args.wants(Part::Workers) {
        report.workers = scale::workers(args, stores, first).await?;
    }
    // Last, because they leave rows behind.
    if args.wants(Part::Cleaning) {
        report.cleaning = cleaning::measure(args, stores, first).await?;
    }
    if args.wants(Part::Backlog) {
        scale::backlogs(args, stores, first, report).await?;
    }
    Ok(())
}

fn save(folder: &Path, report: &Report) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make `{}`", folder.display()))?;
    write(&folder.join("results.json"), &serde_json::to_string_pretty(report)?)?;
    write(&folder.join("results.md"), &report.markdown())?;
    if let Some(picture) = picture::svg(report)? {
        write(&folder.join("results.svg"), &picture)?;
    }
    Ok(())
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("cannot write `{}`", file.display()))
}
