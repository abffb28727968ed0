//! What the inbox holds at the end, and what of the rest a broker has lost.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::ids::{self, Way};
use crate::ledger::UNWRITTEN_MS;
use crate::servers::Db;
use crate::world::World;

/// When nothing has come for so long, nothing will.
const QUIET: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(200);
/// More than any broker loses when it is killed.
const EXCUSED: usize = 10_000;
/// Rows of the inbox that are read in one go.
const PAGE: usize = 20_000;

impl World {
    /// Waits until the inbox holds all that it must, or nothing more comes; the verdict names what is missing then.
    pub(crate) async fn arrive(&self) -> Result<()> {
        let quiet = QUIET.min(self.drain) * self.launch.options.patience;
        let (mut left, mut since) = (u64::MAX, Instant::now());
        while since.elapsed() < quiet {
            self.note_inbox().await?;
            let missing = self.ledger.missing_in_inbox();
            if missing == 0 {
                break;
            }
            if missing < left {
                (left, since) = (missing, Instant::now());
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Notes all that the inbox holds, and returns how much is in quarantine.
    pub(crate) async fn read_inbox(&mut self) -> Result<u64> {
        self.note_inbox().await?;
        self.excuse().await?;
        self.sql.count("SELECT count(*) FROM quarantined_message").await
    }

    pub(crate) async fn note_inbox(&self) -> Result<()> {
        self.ledger.forget_inbox();
        let mut last = 0;
        loop {
            let page = self
                .sql
                .rows(&format!(
                    "SELECT seq, message_id, payload FROM inbound_event WHERE seq > {last} ORDER BY seq LIMIT {PAGE}"
                ))
                .await?;
            for row in &page {
                last = row["seq"].as_i64().context("seq is a number")?;
                let id = row["message_id"].as_str().context("an id is text")?;
                self.ledger.stored(id, &json(&row["payload"]));
            }
            if page.len() < PAGE {
                return Ok(());
            }
        }
    }

    /// Finds out what of that which is missing the broker had acknowledged right before it was killed.
    async fn excuse(&mut self) -> Result<()> {
        if self.ledger.lock().kills.is_empty() {
            return Ok(());
        }
        let within = UNWRITTEN_MS * u64::from(self.launch.options.patience);
        for number in self.ledger.missing(Way::Sender) {
            let time = self.ledger.time(Way::Sender, number);
            self.notes.extend(self.ledger.excuse(Way::Sender, number, time, within));
        }
        let time = match self.cell.db {
            Db::Sqlite => "CAST((julianday(published_at) - 2440587.5) * 86400000 AS integer)",
            Db::Postgres => "floor(extract(epoch FROM published_at) * 1000)::bigint",
            Db::Mariadb => "timestampdiff(MICROSECOND, '1970-01-01', published_at) DIV 1000",
        };
        for number in self.ledger.missing(Way::Outbox).into_iter().take(EXCUSED) {
            let id = ids::id(Way::Outbox, number);
            let published = format!(
                "SELECT {time} FROM outbound_event WHERE message_id = '{id}' AND status = 'published'"
            );
            if let Ok(published) = self.sql.count(&published).await {
                self.notes.extend(self.ledger.excuse(Way::Outbox, number, published, within));
            }
        }
        Ok(())
    }
}

/// SQLite and MariaDB give JSON as text.
fn json(value: &Value) -> Value {
    match value {
        Value::String(text) => serde_json::from_str(text).unwrap_or_else(|_| value.clone()),
        other => other.clone(),
    }
}
