//! A fresh database for one test, and a few ways to look into it.

use std::future::Future;

use postroad_store::{Database, SqlStore, connect};
use sea_orm::{ConnectionTrait, DbBackend, FromQueryResult, JsonValue, Statement};

/// Where a test lives.
#[derive(Clone)]
pub(crate) struct Home {
    pub(crate) url: String,
    pub(crate) database: Database,
}

impl Home {
    /// A new database at `url`, with all tables.
    pub(crate) async fn new(url: String) -> Self {
        let home = Self::at(url).await;
        postroad_migration::up(home.database.connection()).await.unwrap();
        home
    }

    /// What there is at `url`.
    pub(crate) async fn at(url: String) -> Self {
        Self { database: connect(&url).await.unwrap(), url }
    }

    /// Another pool on the same database, as another process has.
    pub(crate) async fn neighbour(&self) -> Database {
        connect(&self.url).await.unwrap()
    }

    pub(crate) fn store(&self) -> SqlStore {
        SqlStore::new(self.database.clone(), "default")
    }

    /// Runs a statement and returns how many rows it touched.
    #[track_caller]
    pub(crate) fn execute(&self, sql: &str) -> impl Future<Output = u64> {
        let sql = sql.to_owned();
        async move {
            let result = self.database.connection().execute_unprepared(&sql).await;
            result.unwrap_or_else(|error| panic!("{sql}: {error}")).rows_affected()
        }
    }

    /// The rows of a query, as JSON.
    pub(crate) async fn rows(&self, sql: &str) -> Vec<JsonValue> {
        let connection = self.database.connection();
        let statement = Statement::from_string(connection.get_database_backend(), sql);
        JsonValue::find_by_statement(statement).all(connection).await.unwrap()
    }

    /// The only value of a query that counts.
    pub(crate) async fn count(&self, sql: &str) -> i64 {
        let connection = self.database.connection();
        let statement = Statement::from_string(connection.get_database_backend(), sql);
        connection.query_one_raw(statement).await.unwrap().unwrap().try_get_by_index(0).unwrap()
    }

    pub(crate) fn is_sqlite(&self) -> bool {
        self.backend() == DbBackend::Sqlite
    }

    pub(crate) fn is_mysql(&self) -> bool {
        self.backend() == DbBackend::MySql
    }

    fn backend(&self) -> DbBackend {
        self.database.connection().get_database_backend()
    }

    /// A table of numbers from 1 to `last`, in its column `n`.
    pub(crate) fn numbers(&self, last: u32) -> String {
        if self.is_mysql() {
            format!("(SELECT seq AS n FROM seq_1_to_{last})")
        } else {
            format!(
                "(WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < {last}) SELECT n FROM r)"
            )
        }
    }

    /// A time in UTC as the database reads it.
    pub(crate) fn time<'t>(&self, time: &'t str) -> &'t str {
        if self.is_mysql() { time.trim_end_matches('Z') } else { time }
    }

    /// An expression for a time so many seconds from the database's now.
    pub(crate) fn seconds_from_now(&self, seconds: i64) -> String {
        if self.is_sqlite() {
            format!("strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '{seconds} seconds')")
        } else if self.is_mysql() {
            format!("utc_timestamp(6) + INTERVAL {seconds} SECOND")
        } else {
            format!("now() + {seconds} * interval '1 second'")
        }
    }
}
