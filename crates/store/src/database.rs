//! Opening a database.

use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use postroad_worker_core::StoreError;
use sea_orm::sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sea_orm::sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sea_orm::sqlx::{ConnectOptions, Connection};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbErr, SqliteTransactionMode,
    SqlxPostgresConnector, SqlxSqliteConnector, TransactionOptions, TransactionTrait,
};

use crate::dialect::Dialect;
use crate::fault::ask;

/// How long a statement waits for a connection, or in SQLite for the lock of another writer.
const SQLITE_WAIT: Duration = Duration::from_secs(10);
/// How long a statement waits for a connection.
const POSTGRES_WAIT: Duration = Duration::from_secs(5);
/// A connection that lay idle for longer is tried before it is used.
const STALE_AFTER: Duration = Duration::from_secs(5);
/// Enough for outbound, inbound, heartbeats and a few callers of `enqueue`.
const POSTGRES_CONNECTIONS: u32 = 10;

/// Why a database URL cannot be used. Never holds the password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Neither `sqlite:` nor `postgres:`.
    #[error("the database URL begins with neither `sqlite:` nor `postgres:`")]
    UnknownDatabase,
    /// It begins well, and goes wrong later.
    #[error("the database URL cannot be read: {0}")]
    InvalidUrl(String),
    /// A new database file could not be made.
    #[error("cannot create the database file `{path}`")]
    CreateFile {
        /// Where it was to be.
        path: String,
        /// Why not.
        source: io::Error,
    },
}

/// A pool of connections to one database. Clones share it.
#[derive(Clone)]
pub struct Database {
    connection: DatabaseConnection,
    dialect: Dialect,
}

/// Opens the database of a URL such as `sqlite://postroad.db?mode=rwc` or `postgres://user:password@host/name`.
///
/// Nothing is connected yet: a database that is down shows in the first statement, as [`StoreError::Unavailable`], and
/// the pool serves again as soon as it is up. Where `mode=rwc` makes a new file, only its owner can read it.
pub async fn connect(url: &str) -> Result<Database, ConnectError> {
    if url.starts_with("sqlite:") {
        connect_sqlite(url)
    } else if url.starts_with("postgres:") || url.starts_with("postgresql:") {
        connect_postgres(url)
    } else {
        Err(ConnectError::UnknownDatabase)
    }
}

impl Database {
    /// For statements of one's own and for sea-orm's queries.
    pub fn connection(&self) -> &DatabaseConnection {
        &self.connection
    }

    /// Begins a transaction that is going to write. In SQLite it holds the write lock from the start, because one that
    /// takes it later fails at once where another writer is at work.
    pub async fn begin(&self) -> Result<DatabaseTransaction, DbErr> {
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        self.connection.begin_with_options(options).await
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        ask(self.connection.execute_unprepared("SELECT 1")).await.map(drop)
    }

    /// Closes every connection, once each has finished what it is at.
    pub async fn close(self) {
        // Closing a pool cannot fail; the error is there for other drivers.
        self.connection.close().await.ok();
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.dialect
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("dialect", &self.dialect).finish_non_exhaustive()
    }
}

fn connect_sqlite(url: &str) -> Result<Database, ConnectError> {
    let options = SqliteConnectOptions::from_str(url)
        .map_err(|error| ConnectError::InvalidUrl(error.to_string()))?;
    if url.contains("mode=rwc") && !url.contains(":memory:") {
        create_private(options.get_filename())?;
    }
    let options = options
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(SQLITE_WAIT)
        .foreign_keys(true)
        .disable_statement_logging();
    // SQLite has one writer at a time anyway; on one connection writers queue fairly instead of polling for the lock,
    // and a database in memory lives as long as its only connection.
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(SQLITE_WAIT)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_lazy_with(options);
    Ok(Database {
        connection: SqlxSqliteConnector::from_sqlx_sqlite_pool(pool),
        dialect: Dialect::Sqlite,
    })
}

fn connect_postgres(url: &str) -> Result<Database, ConnectError> {
    let mut options = PgConnectOptions::from_str(url)
        .map_err(|error| ConnectError::InvalidUrl(error.to_string()))?
        .disable_statement_logging();
    if options.get_application_name().is_none() {
        options = options.application_name("postroad");
    }
    let pool = PgPoolOptions::new()
        .max_connections(POSTGRES_CONNECTIONS)
        .acquire_timeout(POSTGRES_WAIT)
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for > STALE_AFTER {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_lazy_with(options);
    Ok(Database {
        connection: SqlxPostgresConnector::from_sqlx_postgres_pool(pool),
        dialect: Dialect::Postgres,
    })
}

/// Makes the file, readable for its owner only, where it is not there yet. SQLite gives its side files the same mode.
fn create_private(path: &Path) -> Result<(), ConnectError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(source) => Err(ConnectError::CreateFile { path: path.display().to_string(), source }),
    }
}
