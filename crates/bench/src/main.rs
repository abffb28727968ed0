//! Benchmarks of the whole way, beside the ceilings of the same run: the broker's client alone and the database alone.

#![expect(clippy::print_stdout, reason = "a benchmark prints what it found")]
#![expect(clippy::print_stderr, reason = "and how far it is")]

mod client;
mod counting;
mod input;
mod measure;
mod memory;
mod paho;
mod report;
mod transport;

use std::fs;

use anyhow::{Context, Result};
use clap::Parser;

use crate::input::{Args, Rabbit};
use crate::measure::Bench;
use crate::report::Report;

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let database = postroad_store::connect(&input::database_url()?).await?;
    postroad_migration::up(database.connection()).await.context("cannot make the tables")?;
    let bench = Bench { args, rabbit: Rabbit::from_env()?, mqtt_url: input::mqtt_url()?, database };
    let mut rounds = Vec::new();
    for round in 1..=bench.args.rounds {
        eprintln!("round {round} of {}", bench.args.rounds);
        rounds.push(bench.round().await?);
    }
    let peak = match bench.args.backlog {
        0 => None,
        rows => {
            eprintln!("memory with {rows} rows waiting");
            Some(memory::peak(&bench).await?)
        }
    };
    let report = Report::of(bench.args.messages, bench.args.bytes, rounds, peak);
    println!("{}", report.markdown());
    if let Some(file) = &bench.args.json {
        fs::write(file, serde_json::to_string_pretty(&report)?)
            .with_context(|| format!("cannot write `{}`", file.display()))?;
    }
    Ok(())
}
