//! Plain SQL beside the program's, on a database that may be away.

use std::time::Duration;

use anyhow::{Context, Result};
use postroad_store::Database;
use sea_orm::{ConnectionTrait, FromQueryResult, JsonValue, Statement};
use serde_json::Value;
use tokio::time::timeout;

use crate::ids::{self, Way};

/// A database that is away may also be silent.
const ANSWER: Duration = Duration::from_secs(15);

/// Before a query is given up.
const ATTEMPTS: usize = 4;
const PAUSE: Duration = Duration::from_millis(100);

/// A connection that no fault is put into.
#[derive(Debug, Clone)]
pub(crate) struct Sql {
    database: Database,
}

/// What became of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Committed {
    /// Its COMMIT returned.
    Yes,
    /// It was rolled back, or failed before its COMMIT.
    No,
    /// Its COMMIT did not return.
    Unknown,
}

impl Sql {
    /// Connects with the first statement.
    pub(crate) async fn connect(url: &str) -> Result<Self> {
        Ok(Self { database: postroad_store::connect(url).await? })
    }

    /// Runs a statement and returns how many rows it touched.
    pub(crate) async fn execute(&self, sql: &str) -> Result<u64> {
        let done = timeout(ANSWER, self.database.connection().execute_unprepared(sql));
        let done = done.await.context("the database does not answer")?;
        Ok(done.with_context(|| sql.to_owned())?.rows_affected())
    }

    /// All rows of a query. A connection that has ended meanwhile is replaced.
    pub(crate) async fn rows(&self, sql: &str) -> Result<Vec<Value>> {
        again(async || self.try_rows(sql).await).await
    }

    async fn try_rows(&self, sql: &str) -> Result<Vec<Value>> {
        let query = JsonValue::find_by_statement(self.statement(sql));
        let rows = timeout(ANSWER, query.all(self.database.connection()));
        rows.await.context("the database does not answer")?.with_context(|| sql.to_owned())
    }

    /// The only value of a query that counts. A connection that has ended meanwhile is replaced.
    pub(crate) async fn count(&self, sql: &str) -> Result<u64> {
        again(async || self.try_count(sql).await).await
    }

    async fn try_count(&self, sql: &str) -> Result<u64> {
        let row = timeout(ANSWER, self.database.connection().query_one_raw(self.statement(sql)));
        let row = row.await.context("the database does not answer")?;
        let row = row.with_context(|| sql.to_owned())?.context("a count has a row")?;
        let count: i64 = row.try_get_by_index(0)?;
        Ok(u64::try_from(count)?)
    }

    /// Writes rows of the outbox in one transaction, and takes it back where that is wanted.
    pub(crate) async fn write(
        &self,
        tag: &str,
        seed: u64,
        numbers: std::ops::Range<u64>,
        keep: bool,
    ) -> Committed {
        let Ok(Ok(transaction)) = timeout(ANSWER, self.database.begin()).await else {
            return Committed::No;
        };
        let insert = insert(tag, seed, numbers);
        let inserted = timeout(ANSWER, transaction.execute_unprepared(&insert)).await;
        if !matches!(inserted, Ok(Ok(_))) || !keep {
            // What is dropped with its connection is rolled back too.
            timeout(ANSWER, transaction.rollback()).await.ok();
            return Committed::No;
        }
        match timeout(ANSWER, transaction.commit()).await {
            Ok(Ok(())) => Committed::Yes,
            _ => Committed::Unknown,
        }
    }

    /// Ends its connections.
    pub(crate) async fn close(self) {
        // A frozen server would hold it up.
        timeout(ANSWER, self.database.close()).await.ok();
    }

    fn statement(&self, sql: &str) -> Statement {
        Statement::from_string(self.database.connection().get_database_backend(), sql)
    }
}

/// A pool has several connections, each of which may have to fail once.
async fn again<T>(attempt: impl AsyncFn() -> Result<T>) -> Result<T> {
    for _ in 0..ATTEMPTS {
        if let Ok(found) = attempt().await {
            return Ok(found);
        }
        tokio::time::sleep(PAUSE).await;
    }
    attempt().await
}

fn insert(tag: &str, seed: u64, numbers: std::ops::Range<u64>) -> String {
    let topic = Way::Outbox.topic(tag);
    let rows: Vec<_> = numbers
        .map(|number| {
            let (id, payload) =
                (ids::id(Way::Outbox, number), ids::payload(seed, Way::Outbox, number));
            format!("('{id}', '{topic}', 'event', 'written', '{payload}')")
        })
        .collect();
    format!(
        "INSERT INTO outbound_event (message_id, topic, message_type, event_type, payload) VALUES {}",
        rows.join(", ")
    )
}
