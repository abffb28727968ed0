//! Messages a second by the number of workers, and by the number of rows that wait.

use std::time::Duration;

use anyhow::{Context, Result};
use postroad_store::Database;
use serde::Serialize;
use uuid::Uuid;

use crate::args::{Args, BrokerKind};
use crate::bus::Bus;
use crate::ceilings::Ceiling;
use crate::engine::Goal;
use crate::input;
use crate::process;
use crate::report::Report;
use crate::servers::Store;
use crate::stats::{median, per_second};

/// So many of a long backlog are measured.
const SAMPLE: usize = 40_000;
/// A short one is measured so often at the most.
const MOST_TIMES: usize = 10;

/// In messages a second.
#[derive(Debug, Serialize)]
pub(crate) struct Workers {
    pub(crate) database: &'static str,
    pub(crate) broker: &'static str,
    pub(crate) number: usize,
    pub(crate) out: f64,
    pub(crate) into: f64,
    /// Of the same run.
    pub(crate) ceiling: Ceiling,
}

/// In messages a second.
#[derive(Debug, Serialize)]
pub(crate) struct Backlog {
    pub(crate) database: &'static str,
    pub(crate) broker: &'static str,
    pub(crate) waiting: usize,
    pub(crate) out: f64,
    /// Of the same run.
    pub(crate) ceiling: Ceiling,
}

/// Every number of workers on every database; each worker has connections of its own.
pub(crate) async fn workers(
    args: &Args,
    stores: &[Store],
    broker: BrokerKind,
) -> Result<Vec<Workers>> {
    let mut found = Vec::new();
    for store in stores {
        let numbers: Vec<_> = args.workers.iter().copied().filter(|number| *number > 0).collect();
        let mut rates = vec![Vec::new(); numbers.len()];
        let mut ceilings = Vec::new();
        // By turns, so that what else the machine does falls on all of them, and each of them first in its turn, since the
        // database fills up.
        for round in 1..=args.rounds.max(1) {
            ceilings.push(Ceiling::measure(args, store, broker).await?);
            for turn in 0..numbers.len() {
                let place = (round + turn) % numbers.len();
                let workers = numbers[place];
                eprintln!("workers: {}, {broker}, {workers}, round {round}", store.kind);
                let pair = with_workers(args, store, broker, workers).await;
                let pair =
                    pair.with_context(|| format!("{} with {workers} workers", store.kind))?;
                rates[place].push(pair);
            }
        }
        let ceiling = Ceiling::median(&ceilings);
        found.extend(numbers.into_iter().zip(rates).map(|(number, rates)| Workers {
            database: store.kind.name(),
            broker: broker.name(),
            number,
            out: median(rates.iter().map(|(out, _)| *out)),
            into: median(rates.iter().map(|(_, into)| *into)),
            ceiling,
        }));
    }
    Ok(found)
}

async fn with_workers(
    args: &Args,
    store: &Store,
    broker: BrokerKind,
    workers: usize,
) -> Result<(f64, f64)> {
    let mut databases: Vec<Database> = Vec::new();
    for _ in 0..workers {
        databases.push(postroad_store::connect(&store.url).await?);
    }
    let bus = Bus::open(broker).await?;
    let key = input::fill(&store.database, args.messages, args.bytes).await?;
    let goal = Goal { settled: args.messages, stored: 0 };
    let out = bus.work(&databases, &key, goal, Vec::new()).await.context("outbound")?;
    let goal = Goal { settled: 0, stored: args.messages };
    let key = Uuid::new_v4().to_string();
    let into = bus.work(&databases, &key, goal, Vec::new()).await.context("inbound")?;
    bus.remove().await?;
    for database in databases {
        database.close().await;
    }
    Ok((per_second(args.messages, out), per_second(args.messages, into)))
}

/// Every backlog on every database, and a process that works on the largest.
pub(crate) async fn backlogs(
    args: &Args,
    stores: &[Store],
    broker: BrokerKind,
    report: &mut Report,
) -> Result<()> {
    let largest = args.backlogs.iter().copied().max().unwrap_or_default();
    for store in stores {
        let backlogs: Vec<_> = args.backlogs.iter().copied().filter(|rows| *rows > 0).collect();
        let mut rates = vec![Vec::new(); backlogs.len()];
        let mut ceilings = Vec::new();
        let mut key = String::new();
        for round in 1..=args.rounds.max(1) {
            ceilings.push(Ceiling::measure(args, store, broker).await?);
            for (waiting, rates) in backlogs.iter().copied().zip(&mut rates) {
                eprintln!("backlog: {}, {broker}, {waiting} rows, round {round}", store.kind);
                let sample = waiting.min(SAMPLE);
                // Short ones are over before they can be measured well.
                for _ in 0..(SAMPLE / sample).min(MOST_TIMES) {
                    key = input::fill(&store.database, waiting, args.bytes).await?;
                    let time = first(store, broker, &key, sample).await;
                    let time =
                        time.with_context(|| format!("{} with {waiting} rows", store.kind))?;
                    rates.push(per_second(sample, time));
                }
            }
        }
        let ceiling = Ceiling::median(&ceilings);
        report.backlog.extend(backlogs.into_iter().zip(rates).map(|(waiting, rates)| Backlog {
            database: store.kind.name(),
            broker: broker.name(),
            waiting,
            out: median(rates.into_iter()),
            ceiling,
        }));
        eprintln!("process: {}, {broker}", store.kind);
        report.process.push(process::outbound(args, store, broker, &key, largest).await?);
        report.process.push(process::inbound(args, store, broker).await?);
    }
    Ok(())
}

/// Publishes the first rows of a backlog; how long that took.
async fn first(store: &Store, broker: BrokerKind, key: &str, rows: usize) -> Result<Duration> {
    let bus = Bus::open(broker).await?;
    let goal = Goal { settled: rows, stored: 0 };
    let time = bus.work(std::slice::from_ref(&store.database), key, goal, Vec::new()).await?;
    bus.remove().await?;
    Ok(time)
}
