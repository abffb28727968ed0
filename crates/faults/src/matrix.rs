//! Runs cells, several at a time, and says what came of each as it ends.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::cell::{Applies, Cell, Fault};
use crate::cells;
use crate::options::Options;
use crate::report::{Outcome, Record, Report};
use crate::servers::{Db, Kind, Servers};
use crate::verdict::Verdict;
use crate::world::World;

/// No cell takes longer.
const LIMIT: Duration = Duration::from_mins(20);

/// Runs all cells that are wanted and writes the report. Whether none failed.
pub(crate) async fn run(options: Options, seed: u64) -> Result<bool> {
    let cells = wanted(&options)?;
    let options = Arc::new(options);
    let servers = Arc::new(Servers::default());
    let places = Arc::new(Semaphore::new(usize::from(options.jobs)));
    let mut report = Report::new(&options, seed);
    let mut running = JoinSet::new();
    for cell in cells {
        let seed = seed_of(seed, &cell);
        match (cell.fault.applies)(cell.db, cell.broker) {
            Applies::Yes => {}
            Applies::No(why) => {
                report.add(Record::without_run(&cell, seed, Outcome::NotApplicable, why));
                continue;
            }
            Applies::Skipped(why) => {
                report.add(Record::without_run(&cell, seed, Outcome::Skipped, &why));
                continue;
            }
            Applies::Covered(test) => {
                report.add(Record::without_run(&cell, seed, Outcome::Covered, test));
                continue;
            }
        }
        let (servers, options, places) = (servers.clone(), options.clone(), places.clone());
        // A thread for each, which may wait for a process that is being asked.
        let runtime = Handle::current();
        running.spawn(async move {
            let _place = places.acquire_owned().await.expect("it is never closed");
            let cell = move || runtime.block_on(guarded(cell, seed, &servers, options));
            tokio::task::spawn_blocking(cell).await
        });
    }
    while let Some(record) = running.join_next().await {
        report.add(record.and_then(|record| record).context("a cell was cancelled")?);
    }
    report.finish()
}

/// Each cell has dice of its own, so that it does the same alone.
fn seed_of(seed: u64, cell: &Cell) -> u64 {
    cell.to_string()
        .bytes()
        .fold(seed, |seed, byte| seed.wrapping_mul(0x0100_0000_01b3).wrapping_add(u64::from(byte)))
}

fn wanted(options: &Options) -> Result<Vec<Cell>> {
    let all = cells::all();
    for id in &options.only {
        ensure!(all.iter().any(|fault| fault.id == id), "there is no fault `{id}`");
    }
    let chosen = |fault: &&'static Fault| {
        let named = options.only.is_empty() || options.only.iter().any(|id| id == fault.id);
        named && options.subset.is_none_or(|subset| subset.faults().contains(&fault.id))
    };
    let mut cells = Vec::new();
    for fault in all.into_iter().filter(chosen) {
        for broker in [Kind::Rabbitmq, Kind::Mqtt] {
            for db in [Db::Sqlite, Db::Postgres, Db::Mariadb] {
                let db_wanted = options.db.is_empty() || options.db.contains(&db);
                let broker_wanted = options.broker.is_empty() || options.broker.contains(&broker);
                if db_wanted && broker_wanted {
                    cells.push(Cell { fault, db, broker });
                }
            }
        }
    }
    if cells.is_empty() {
        bail!("no cell is both in `--only` and in `--subset`");
    }
    Ok(cells)
}

/// Whatever panics in it, and however long it takes.
async fn guarded(cell: Cell, seed: u64, servers: &Servers, options: Arc<Options>) -> Record {
    let began = Instant::now();
    let run = AssertUnwindSafe(timeout(LIMIT, one(cell, seed, servers, options))).catch_unwind();
    let (verdict, notes) = match run.await {
        Ok(Ok(done)) => done,
        Ok(Err(_)) => failed(format!("it did not end within {} s", LIMIT.as_secs())),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("something");
            failed(format!("panic: {text}"))
        }
    };
    Record::of_run(&cell, seed, began.elapsed(), verdict, &notes)
}

async fn one(
    cell: Cell,
    seed: u64,
    servers: &Servers,
    options: Arc<Options>,
) -> (Verdict, Vec<String>) {
    let out = options.out.clone();
    let mut world = match World::open(cell, seed, servers, options).await {
        Ok(world) => world,
        Err(error) => return failed(format!("it could not begin: {error:#}")),
    };
    let outcome = live(&mut world).await;
    let quarantined = world.read_inbox().await.unwrap_or(0);
    let mut notes = std::mem::take(&mut world.notes);
    let strange = quarantined.saturating_sub(world.expected_quarantine);
    let mut verdict = Verdict::of(&world.ledger.lock(), world.terms, strange);
    match outcome {
        Ok(drained) => notes.push(format!("drained in {:.1} s", drained.as_secs_f64())),
        Err(error) => {
            if !world.settled {
                // Nobody waited for it to arrive.
                verdict.forget_lost();
            }
            verdict.failures.insert(0, format!("{error:#}"));
        }
    }
    if !verdict.is_good() {
        let folder = out.join(cell.to_string().replace(' ', "-"));
        if world.save_logs(&folder).is_ok() {
            notes.push(format!("logs in {}", folder.display()));
        }
    }
    world.close(servers).await;
    (verdict, notes)
}

async fn live(world: &mut World) -> Result<Duration> {
    (world.cell.fault.inject)(world).await?;
    world.settled = true;
    let drained = world.settle().await?;
    world.stop_workers().await?;
    Ok(drained)
}

fn failed(why: String) -> (Verdict, Vec<String>) {
    (Verdict { failures: vec![why], ..Verdict::default() }, Vec::new())
}
