//! The ceilings of the database: the statements of the way alone, one after the other.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use postroad_store::{Database, SqlStore};
use postroad_worker_core::{InboxStore, OutboxStore, Outcome, Settlement};
use uuid::Uuid;

use crate::args::Args;
use crate::input;

/// Rows of one claim and one settle, as in the default config.
const BATCH: usize = 500;
/// Messages of one inbox transaction: half of the default prefetch.
const INBOX_BATCH: usize = 250;
const LEASE: Duration = Duration::from_secs(30);

/// Claims and settles rows; how long that took.
pub(crate) async fn claim_and_settle(database: &Database, args: &Args) -> Result<Duration> {
    let key = input::fill(database, args.messages, args.bytes).await?;
    let store = SqlStore::new(database.clone(), key);
    let started = Instant::now();
    let mut settled = 0;
    while settled < args.messages {
        let claim = store.claim(BATCH, LEASE).await?;
        let settle = |seq| Settlement { seq, outcome: Outcome::Published };
        let settlements: Vec<_> = claim.rows.iter().map(|row| settle(row.seq)).collect();
        ensure!(!settlements.is_empty(), "the outbox is empty too early");
        settled += store.settle(&claim.token, &settlements).await?;
    }
    Ok(started.elapsed())
}

/// Stores messages in the inbox; how long that took.
pub(crate) async fn store(database: &Database, args: &Args) -> Result<Duration> {
    let entries: Vec<_> = (0..args.messages).map(|n| input::entry(n, args.bytes)).collect();
    let store = SqlStore::new(database.clone(), Uuid::new_v4().to_string());
    let started = Instant::now();
    let mut stored = 0;
    for batch in entries.chunks(INBOX_BATCH) {
        let batch = store.store(batch).await.context("the inbox did not take a batch")?;
        stored += batch.inserted;
    }
    ensure!(stored == args.messages, "only {stored} rows were stored");
    Ok(started.elapsed())
}
