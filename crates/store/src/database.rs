//! Opening a database.

use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use postroad_tls::TlsError;
use postroad_worker_core::StoreError;
use sea_orm::sqlx::mysql::MySqlPoolOptions;
use sea_orm::sqlx::postgres::{PgPool, PgPoolOptions};
use sea_orm::sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sea_orm::sqlx::{ConnectOptions, Connection, Executor};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbErr, IsolationLevel,
    SqlxMySqlConnector, SqlxPostgresConnector, SqlxSqliteConnector, TransactionOptions,
    TransactionTrait,
};

use crate::database_url::{Permitted, mysql_options, postgres_options};
use crate::dialect::Dialect;
use crate::fault::ask;
use crate::write_lock::{self, Patience};

/// How long a statement waits for the connection to a SQLite file.
const SQLITE_WAIT: Duration = write_lock::WAIT;
/// How long a statement waits for a connection of a server.
const SERVER_WAIT: Duration = Duration::from_secs(5);
/// A connection that lay idle for longer is tried before it is used.
const STALE_AFTER: Duration = Duration::from_secs(5);
/// Enough for outbound, inbound, heartbeats and a few callers of `enqueue`.
const SERVER_CONNECTIONS: u32 = 10;

/// Why a database URL cannot be used. Never holds the password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// None of `sqlite:`, `postgres:` and `mysql:`.
    #[error("the database URL begins with none of `sqlite:`, `postgres:` and `mysql:`")]
    UnknownDatabase,
    /// It begins well, and goes wrong later.
    #[error("the database URL cannot be read: {0}")]
    InvalidUrl(String),
    /// The database is on another machine, and nothing would tell who answers there.
    #[error(
        "the database URL has to verify who answers at `{host}`, which is not this machine: \
         write `{verified}` (and `ssl-ca=FILE` unless the system trusts its authority), \
         or `allow_plaintext=true` if plain text is wanted"
    )]
    Plaintext {
        /// Where the database is.
        host: String,
        /// The parameter that would do.
        verified: &'static str,
    },
    /// The files of the URL cannot be used for TLS.
    #[error("the database URL cannot be used for TLS: {0}")]
    Tls(TlsError),
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
    patience: Patience,
}

/// Opens the database of a URL such as `sqlite://postroad.db?mode=rwc`, `postgres://user:password@host/name` or
/// `mysql://user:password@host/name`, which is MariaDB too, as is `mariadb:`.
///
/// Nothing is connected yet: a database that is down shows in the first statement, as [`StoreError::Unavailable`], and
/// the pool serves again as soon as it is up. Where `mode=rwc` makes a new file, only its owner can read it.
/// In PostgreSQL and MariaDB a transaction on this pool in which nothing is said for ten seconds is ended by the server.
///
/// A database on another machine is reached by TLS with its name verified, `sslmode=verify-full` or
/// `ssl-mode=VERIFY_IDENTITY`, which is the default there; less needs `allow_plaintext=true` in the URL. `ssl-ca`,
/// `ssl-cert` and `ssl-key` name files in PEM, which are read anew for each connection; the authorities in `ssl-ca` are
/// trusted beside the system's.
pub async fn connect(url: &str) -> Result<Database, ConnectError> {
    if url.starts_with("sqlite:") {
        connect_sqlite(url)
    } else if url.starts_with("postgres:") || url.starts_with("postgresql:") {
        connect_postgres(url)
    } else if url.starts_with("mysql:") || url.starts_with("mariadb:") {
        connect_mysql(url)
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
    /// takes it later fails at once where another writer is at work; it waits for that lock for ten seconds.
    pub async fn begin(&self) -> Result<DatabaseTransaction, DbErr> {
        let transaction = self.begin_own().await?;
        self.patience.hand_over(&transaction).await?;
        Ok(transaction)
    }

    /// The same, where `sees_uncommitted` one that reads what others have not committed. Its locking reads, and what it
    /// changes, are committed all the same.
    pub(crate) async fn begin_claim(
        &self,
        sees_uncommitted: bool,
    ) -> Result<DatabaseTransaction, DbErr> {
        let isolation_level = sees_uncommitted.then_some(IsolationLevel::ReadUncommitted);
        let options = TransactionOptions { isolation_level, ..TransactionOptions::default() };
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

    /// The pool, where it is one of PostgreSQL's.
    pub(crate) fn postgres_pool(&self) -> Option<&PgPool> {
        match self.dialect {
            Dialect::Postgres => Some(self.connection.get_postgres_connection_pool()),
            Dialect::Sqlite | Dialect::MySql => None,
        }
    }

    /// How to open its file once more, where it is SQLite's and there is one.
    pub(crate) fn sqlite_file(&self) -> Option<SqliteConnectOptions> {
        if self.dialect != Dialect::Sqlite {
            return None;
        }
        let options = self.connection.get_sqlite_connection_pool().connect_options();
        let is_file = options.get_filename().exists();
        is_file.then(|| options.as_ref().clone().create_if_missing(false))
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
    let in_memory = url.contains(":memory:") || url.contains("mode=memory");
    if url.contains("mode=rwc") && !in_memory {
        create_private(options.get_filename())?;
    }
    let options = options
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(write_lock::WAIT)
        .foreign_keys(true)
        .disable_statement_logging();
    // SQLite has one writer at a time anyway; on one connection writers queue fairly instead of polling for the lock,
    // and a database in memory lives as long as its only connection.
    let patience = Patience::new(in_memory);
    let (begun, fitted) = (patience.clone(), patience.clone());
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(SQLITE_WAIT)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .after_connect(move |connection, _| {
            let patience = begun.clone();
            Box::pin(async move { patience.begin(connection).await })
        })
        // Where SQLite has taken a transaction back by itself, as on a full disk, sqlx fails to roll it back and goes on
        // counting it: what is begun next is a savepoint, whose release commits nothing.
        .before_acquire(move |connection, _| {
            let patience = fitted.clone();
            Box::pin(async move {
                let is_free = !connection.is_in_transaction();
                if is_free {
                    patience.fit(connection).await?;
                }
                Ok(is_free)
            })
        })
        .connect_lazy_with(options);
    Ok(Database {
        connection: SqlxSqliteConnector::from_sqlx_sqlite_pool(pool),
        dialect: Dialect::Sqlite,
        patience,
    })
}

fn connect_postgres(url: &str) -> Result<Database, ConnectError> {
    let mut options = postgres_options(&Permitted::parse(url)?)?.disable_statement_logging();
    if options.get_application_name().is_none() {
        options = options.application_name("postroad");
    }
    let pool = PgPoolOptions::new()
        .max_connections(SERVER_CONNECTIONS)
        .acquire_timeout(SERVER_WAIT)
        .test_before_acquire(false)
        .after_connect(|connection, _| {
            Box::pin(async move { connection.execute(POSTGRES_SESSION).await.map(drop) })
        })
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
        patience: Patience::default(),
    })
}

/// What each connection begins with: short statements that lock rows, not the gaps between them; values that do not fit are
/// refused rather than cut; and a transaction in which nothing is said for ten seconds is ended, so that a process that is
/// stopped, or whose machine is gone without a word, keeps its rows locked no longer. MySQL cannot do that and takes it for a
/// comment.
const MYSQL_SESSION: [&str; 2] = [
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "SET SESSION sql_mode = concat(@@SESSION.sql_mode, ',STRICT_TRANS_TABLES'), \
     SESSION innodb_lock_wait_timeout = 10 /*M!100300 , SESSION idle_transaction_timeout = 10 */",
];

/// The same for PostgreSQL.
const POSTGRES_SESSION: &str = "SET idle_in_transaction_session_timeout = '10s'";

fn connect_mysql(url: &str) -> Result<Database, ConnectError> {
    let options = mysql_options(&Permitted::parse(&url.replacen("mariadb:", "mysql:", 1))?)?
        .charset("utf8mb4")
        .disable_statement_logging();
    let pool = MySqlPoolOptions::new()
        .max_connections(SERVER_CONNECTIONS)
        .acquire_timeout(SERVER_WAIT)
        .test_before_acquire(false)
        .after_connect(|connection, _| {
            Box::pin(async move {
                for statement in MYSQL_SESSION {
                    connection.execute(statement).await?;
                }
                Ok(())
            })
        })
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
        connection: SqlxMySqlConnector::from_sqlx_mysql_pool(pool),
        dialect: Dialect::MySql,
        patience: Patience::default(),
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
