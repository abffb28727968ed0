//! Ceilings: the statements of the way alone, one after the other, and the client alone.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use postroad_store::{Database, SqlStore};
use postroad_worker_core::{InboxStore, OutboxStore, Outcome, Settlement};
use serde::Serialize;
use uuid::Uuid;

use crate::args::{Args, BrokerKind};
use crate::bus::Bus;
use crate::input;
use crate::servers::Store;
use crate::stats::{in_series, median, per_second};

/// Rows of one claim and one settle, as in the default config.
const BATCH: usize = 500;
/// Messages of one inbox transaction: half of the default prefetch.
const INBOX_BATCH: usize = 250;
const LEASE: Duration = Duration::from_secs(30);

/// What client and database alone would do in series, in messages a second.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Ceiling {
    pub(crate) out: f64,
    pub(crate) into: f64,
}

impl Ceiling {
    /// Measures all four.
    pub(crate) async fn measure(args: &Args, store: &Store, broker: BrokerKind) -> Result<Self> {
        eprintln!("ceilings: {}, {broker}", store.kind);
        let rate = |time| per_second(args.messages, time);
        let bodies = || input::bodies(args.messages, args.bytes);
        let bus = Bus::open(broker).await?;
        let client_out = bus.publish_alone(bodies()).await?;
        let client_in = bus.receive_alone(bodies()).await?;
        bus.remove().await?;
        let database_out = claim_and_settle(&store.database, args).await?;
        let database_in = self::store(&store.database, args).await?;
        Ok(Self {
            out: in_series(rate(client_out), rate(database_out)),
            into: in_series(rate(client_in), rate(database_in)),
        })
    }

    /// Of several rounds.
    pub(crate) fn median(rounds: &[Self]) -> Self {
        Self {
            out: median(rounds.iter().map(|round| round.out)),
            into: median(rounds.iter().map(|round| round.into)),
        }
    }
}

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
