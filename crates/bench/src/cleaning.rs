//! Messages a second beside a cleaner at work, and without one.

use std::process::{Child, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};
use postroad_store::Database;
use sea_orm::ConnectionTrait;
use serde::Serialize;
use serde_json::Value;

use crate::args::{Args, BrokerKind};
use crate::input;
use crate::process::{self, MESSAGES, stop};
use crate::servers::Store;
use crate::stats::{median, per_second};

/// No worker publishes more in the time that it is watched; the rest of a pair finds rows too.
const ROWS_A_WATCH: usize = 5 * MESSAGES;

/// In messages and rows a second.
#[derive(Debug, Serialize)]
pub(crate) struct Cleaning {
    pub(crate) database: &'static str,
    pub(crate) broker: &'static str,
    /// Rows to be deleted, published 100 days ago.
    pub(crate) old_rows: usize,
    pub(crate) alone: f64,
    pub(crate) beside: f64,
    /// Median of the pairs.
    pub(crate) reached: f64,
    pub(crate) deleted: f64,
}

/// On every database, a worker that publishes, by turns alone and beside `postroad prune`, which cleans as a worker does.
pub(crate) async fn measure(
    args: &Args,
    stores: &[Store],
    broker: BrokerKind,
) -> Result<Vec<Cleaning>> {
    let mut found = Vec::new();
    for store in stores {
        let old_rows = args.backlogs.iter().copied().max().unwrap_or_default();
        eprintln!("cleaning: {}, {broker}, {old_rows} rows", store.kind);
        let key = input::fill(&store.database, old_rows, args.bytes).await?;
        age(&store.database, &key).await.context("cannot age the rows")?;
        let (mut alone, mut beside, mut reached, mut deleted) = (vec![], vec![], vec![], vec![]);
        for _ in 0..args.rounds.max(1) {
            let without = publish(args, store, broker, &key).await?;
            let cleaner = Cleaner::start(store, &key)?;
            let with = publish(args, store, broker, &key).await?;
            deleted.push(cleaner.end().await?);
            alone.push(without);
            beside.push(with);
            reached.push(with / without);
        }
        found.push(Cleaning {
            database: store.kind.name(),
            broker: broker.name(),
            old_rows,
            alone: median(alone.into_iter()),
            beside: median(beside.into_iter()),
            reached: median(reached.into_iter()),
            deleted: median(deleted.into_iter()),
        });
    }
    Ok(found)
}

/// Published rows that nobody wants to keep any longer.
async fn age(database: &Database, key: &str) -> Result<()> {
    let update = format!(
        "UPDATE outbound_event SET status = 'published', published = true, published_at = '2020-01-01 00:00:00', \
         updated_at = '2020-01-01 00:00:00' WHERE config_key = '{key}'"
    );
    database.connection().execute_unprepared(&update).await?;
    Ok(())
}

async fn publish(args: &Args, store: &Store, broker: BrokerKind, key: &str) -> Result<f64> {
    input::fill_for(&store.database, ROWS_A_WATCH, args.bytes, key).await?;
    Ok(process::outbound(args, store, broker, key, ROWS_A_WATCH).await?.per_second)
}

/// `postroad prune`, killed when dropped.
struct Cleaner {
    child: Child,
    began: Instant,
}

impl Cleaner {
    fn start(store: &Store, key: &str) -> Result<Self> {
        let mut prune = process::postroad(&store.url)?;
        prune.args(["prune", "--json", "--config-key", key]);
        let child = prune.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        Ok(Self { child, began: Instant::now() })
    }

    /// Rows that it deleted a second.
    async fn end(mut self) -> Result<f64> {
        let time = self.began.elapsed();
        stop(&mut self.child).await?;
        let said = self.child.stdout.take().context("its output is a pipe")?;
        let said: Value = serde_json::from_reader(said).context("what `postroad prune` said")?;
        let kinds = said["configs"][0]["kinds"].as_array().context("no kinds")?;
        let deleted: u64 = kinds.iter().filter_map(|kind| kind["deleted"].as_u64()).sum();
        Ok(per_second(usize::try_from(deleted)?, time))
    }
}

impl Drop for Cleaner {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
