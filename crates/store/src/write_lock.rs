//! A fair share of SQLite's write lock, beside programs that hardly ever let go of it.
//!
//! SQLite keeps no queue of those who wait. Its own wait, `busy_timeout`, looks every 100 ms once 200 ms are over, and beside a
//! program that commits in a loop the lock is free for microseconds at a time. So what the store does for itself waits here, in
//! short pauses, on a connection that does not wait at all. What others do on [`Database::connection`] waits as SQLite does.
//!
//! In a file with a write-ahead log only the beginning of a transaction can find the lock taken: `BEGIN IMMEDIATE`, or a
//! statement that is a transaction of its own. Nothing has been read or written by then, so to repeat it is right whichever kind
//! of `SQLITE_BUSY` it was, and where the future is dropped in a pause, nothing is held.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sea_orm::sqlx::{AssertSqlSafe, Error, Executor, Row, SqliteConnection, raw_sql};
use sea_orm::{
    ConnectionTrait, DatabaseTransaction, DbErr, QueryResult, SqliteTransactionMode, Statement,
    TransactionOptions, TransactionTrait,
};
use tokio::task_local;
use tokio::time::{Instant, sleep};

use crate::Database;
use crate::fault::is_busy;

/// How long the lock is waited for.
pub(crate) const WAIT: Duration = Duration::from_secs(10);
/// The pause after the first look.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
/// How much longer each one is than the one before: where many wait, each has to look often, and between them they would leave
/// the lock free too seldom for a program that waits as SQLite does.
const GROWTH: f64 = 1.25;
/// No pause is longer, but for the roll of the die.
const LONGEST_PAUSE: Duration = Duration::from_millis(10);

task_local! {
    /// There where the caller waits for the lock by itself.
    static WAITS_ITSELF: ();
}

/// For what the store does for itself. The other databases are asked once, they keep a queue.
impl Database {
    /// [`Database::begin`], but that in SQLite nothing in the transaction waits for a lock.
    pub(crate) async fn begin_own(&self) -> Result<DatabaseTransaction, DbErr> {
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        locked(|| self.connection().begin_with_options(options)).await
    }

    /// Runs a statement that is a transaction of its own, and returns how many rows it touched.
    pub(crate) async fn execute(&self, statement: Statement) -> Result<usize, DbErr> {
        let result = locked(|| self.connection().execute_raw(statement.clone())).await?;
        Ok(usize::try_from(result.rows_affected()).unwrap_or(usize::MAX))
    }

    /// The rows of such a statement.
    pub(crate) async fn query_all(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        locked(|| self.connection().query_all_raw(statement.clone())).await
    }

    /// The first row of such a statement.
    pub(crate) async fn query_one(
        &self,
        statement: Statement,
    ) -> Result<Option<QueryResult>, DbErr> {
        locked(|| self.connection().query_one_raw(statement.clone())).await
    }
}

/// Makes a call that begins a transaction, until the lock was free or [`WAIT`] is over since the first time it was not.
async fn locked<T, F>(mut call: impl FnMut() -> F) -> Result<T, DbErr>
where
    F: Future<Output = Result<T, DbErr>>,
{
    let mut found_taken_at = None;
    let mut nominal = FIRST_PAUSE;
    loop {
        let outcome = WAITS_ITSELF.scope((), call()).await;
        if !matches!(&outcome, Err(error) if is_busy(error)) {
            return outcome;
        }
        if found_taken_at.get_or_insert_with(Instant::now).elapsed() >= WAIT {
            return outcome;
        }
        sleep(rolled(nominal, fastrand::f64())).await;
        nominal = nominal.mul_f64(GROWTH).min(LONGEST_PAUSE);
    }
}

/// Half as long again or half as long by the roll of a die, so that those who wait do not come at once, and never in step with
/// the one who holds the lock.
fn rolled(pause: Duration, roll: f64) -> Duration {
    pause.mul_f64(0.5 + roll)
}

/// What the connection of a pool does about a lock that is taken: what it was told, unless the caller waits by itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Patience {
    /// The `busy_timeout` in milliseconds that the connection is to have again, while it has none.
    withheld: Arc<Mutex<Option<i64>>>,
    /// Nobody else is there, and the database would be gone with a connection whose caller gave up on it.
    in_memory: bool,
}

impl Patience {
    pub(crate) fn new(in_memory: bool) -> Self {
        Self { in_memory, ..Self::default() }
    }

    /// For a connection that was just made.
    pub(crate) async fn begin(&self, connection: &mut SqliteConnection) -> Result<(), Error> {
        *self.withheld() = None;
        self.fit(connection).await
    }

    /// For a connection on its way to a caller, in the caller's own task. One that is dropped on the way is closed by its pool.
    pub(crate) async fn fit(&self, connection: &mut SqliteConnection) -> Result<(), Error> {
        if self.in_memory {
            return Ok(());
        }
        let waits_itself = WAITS_ITSELF.try_with(|()| ()).is_ok();
        let withheld = *self.withheld();
        match withheld {
            None if waits_itself => {
                let taken = raw_sql("PRAGMA busy_timeout; PRAGMA busy_timeout = 0");
                let rows = taken.fetch_all(connection).await?;
                *self.withheld() = rows.first().map(|row| row.try_get(0)).transpose()?;
            }
            Some(timeout) if !waits_itself => {
                connection.execute(AssertSqlSafe(set(timeout))).await?;
                *self.withheld() = None;
            }
            None | Some(_) => {}
        }
        Ok(())
    }

    /// For a transaction that somebody else goes on with.
    pub(crate) async fn hand_over(&self, transaction: &DatabaseTransaction) -> Result<(), DbErr> {
        let withheld = *self.withheld();
        if let Some(timeout) = withheld {
            transaction.execute_unprepared(&set(timeout)).await?;
            *self.withheld() = None;
        }
        Ok(())
    }

    fn withheld(&self) -> MutexGuard<'_, Option<i64>> {
        self.withheld.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn set(timeout: i64) -> String {
    format!("PRAGMA busy_timeout = {timeout}")
}
