//! Rows written at a fixed rate, each in a transaction of its own, by this process or by another one.

use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use postroad_store::{Database, enqueue};
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval_at};

use crate::args::Args;
use crate::input;

/// Writers take turns, so that one slow commit does not hold up the next row.
const WRITERS: u32 = 4;

/// How many rows, how fast.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) key: String,
    /// Rows a second.
    pub(crate) rate: u32,
    pub(crate) seconds: u64,
    /// Of a payload.
    pub(crate) bytes: usize,
}

/// A row that is committed.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) id: String,
    /// When its writer heard of the commit, since the Unix epoch: processes of one machine share that clock.
    pub(crate) committed_at: Duration,
    /// How long writing it took.
    pub(crate) took: Duration,
}

/// The wall clock.
pub(crate) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970")
}

/// Writes the rows of a plan.
pub(crate) async fn write(database: &Database, plan: &Plan) -> Result<Vec<Written>> {
    let gap = Duration::from_secs(1) / plan.rate;
    let start = tokio::time::Instant::now();
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (database, plan) = (database.clone(), plan.clone());
        writers.spawn(async move {
            let mut due = interval_at(start + gap * writer, gap * WRITERS);
            due.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let mut rows = Vec::new();
            for n in 0..u64::from(plan.rate) * plan.seconds / u64::from(WRITERS) {
                due.tick().await;
                let row = input::row(usize::try_from(n)?, plan.bytes, &plan.key);
                let began = Instant::now();
                let id = enqueue(database.connection(), row).await?;
                rows.push(Written { id, committed_at: now(), took: began.elapsed() });
            }
            anyhow::Ok(rows)
        });
    }
    let mut rows = Vec::new();
    while let Some(some) = writers.join_next().await {
        rows.extend(some??);
    }
    Ok(rows)
}

/// The same by another process.
pub(crate) async fn write_elsewhere(url: &str, plan: &Plan) -> Result<Vec<Written>> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--feed").arg(format!("{url},{}", plan.key));
    command.args(["--rates", &plan.rate.to_string(), "--seconds", &plan.seconds.to_string()]);
    command.args(["--bytes", &plan.bytes.to_string()]);
    let output = command.stderr(Stdio::inherit()).output().await?;
    ensure!(output.status.success(), "the process that writes rows ended: {}", output.status);
    let text = String::from_utf8(output.stdout)?;
    text.lines().map(|line| parse(line).context("a row is not told as expected")).collect()
}

/// What the other process does.
pub(crate) async fn serve(target: &str, args: &Args) -> Result<()> {
    let (url, key) = target.rsplit_once(',').context("--feed takes URL,CONFIG_KEY")?;
    let rate = *args.rates.first().context("--rates is empty")?;
    let database = postroad_store::connect(url).await?;
    database.ping().await?;
    let plan = Plan { key: key.to_owned(), rate, seconds: args.seconds, bytes: args.bytes };
    for Written { id, committed_at, took } in write(&database, &plan).await? {
        println!("{id} {} {}", committed_at.as_nanos(), took.as_nanos());
    }
    Ok(())
}

fn parse(line: &str) -> Option<Written> {
    let mut words = line.split(' ');
    let id = words.next()?.to_owned();
    let mut time = || Some(Duration::from_nanos(words.next()?.parse().ok()?));
    Some(Written { id, committed_at: time()?, took: time()? })
}
