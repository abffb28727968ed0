//! Hints that something was committed to a SQLite file.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sea_orm::sqlx::sqlite::SqliteConnectOptions;
use sea_orm::sqlx::{ConnectOptions, Error, query_scalar};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::wake::RETRY;

/// How often the file is looked at: a few words in memory that all processes share, no page of the file.
const LOOK: Duration = Duration::from_millis(20);
/// Where nothing was committed for [`CALM_AFTER`].
const CALM_LOOK: Duration = Duration::from_millis(100);
const CALM_AFTER: Duration = Duration::from_secs(1);

/// Watches a file for commits of whatever process.
pub(crate) struct Watcher {
    pub(crate) notify: watch::Sender<u64>,
    /// Whether it can.
    pub(crate) is_told: Arc<AtomicBool>,
}

impl Watcher {
    /// Watches for ever, on a connection of its own: the pool has only one.
    pub(crate) async fn run(self, file: SqliteConnectOptions) {
        loop {
            let Err(error) = self.watch(&file).await;
            if self.is_told.swap(false, Ordering::Relaxed) {
                tracing::warn!(%error, "the database file cannot be watched, polling for new rows");
            }
            sleep(RETRY).await;
        }
    }

    async fn watch(&self, file: &SqliteConnectOptions) -> Result<std::convert::Infallible, Error> {
        let mut connection = file.connect().await?;
        let mut seen = None;
        let mut changed_at = Instant::now();
        loop {
            // Differs once another connection than this one has committed (SQLite's documentation of `PRAGMA data_version`).
            let version: i64 =
                query_scalar("PRAGMA data_version").fetch_one(&mut connection).await?;
            if seen.replace(version).is_some_and(|seen| seen != version) {
                self.notify.send_modify(|count| *count += 1);
                changed_at = Instant::now();
            }
            self.is_told.store(true, Ordering::Relaxed);
            sleep(if changed_at.elapsed() < CALM_AFTER { LOOK } else { CALM_LOOK }).await;
        }
    }
}
