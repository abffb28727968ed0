//! Plain SQL, as a service in any language writes it.

use postroad_store::Database;
use postroad_testbed::until;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, FromQueryResult,
    JsonValue, Statement,
};
use serde_json::Value;

/// A connection beside those of the program.
pub(crate) struct Sql {
    database: Database,
}

impl Sql {
    pub(crate) async fn connect(url: &str) -> Self {
        Self { database: postroad_store::connect(url).await.unwrap() }
    }

    /// Runs a statement and returns how many rows it touched.
    pub(crate) async fn execute(&self, sql: &str) -> u64 {
        let result = self.connection().execute_unprepared(sql).await;
        result.unwrap_or_else(|error| panic!("{sql}: {error}")).rows_affected()
    }

    /// Begins a transaction of its own, which is taken back unless it is committed.
    pub(crate) async fn begin(&self) -> DatabaseTransaction {
        self.database.begin().await.unwrap()
    }

    /// Checks that the database does not let this user do it.
    pub(crate) async fn may_not(&self, sql: &str) {
        let error = self.connection().execute_unprepared(sql).await.expect_err(sql).to_string();
        let denied = ["permission denied", "must be owner", "command denied"];
        assert!(denied.iter().any(|words| error.contains(words)), "{sql}: {error}");
    }

    pub(crate) async fn rows(&self, sql: &str) -> Vec<Value> {
        let rows = JsonValue::find_by_statement(self.statement(sql)).all(self.connection()).await;
        let mut rows = rows.unwrap_or_else(|error| panic!("{sql}: {error}"));
        // MariaDB knows truth as a number.
        for row in &mut rows {
            for flag in ["published", "processed"] {
                if let Some(value @ Value::Number(_)) = row.get_mut(flag) {
                    *value = Value::Bool(*value == 1);
                }
            }
        }
        rows
    }

    /// The only row of a query.
    pub(crate) async fn row(&self, sql: &str) -> Value {
        let mut rows = self.rows(sql).await;
        assert_eq!(rows.len(), 1, "{sql}: {rows:?}");
        rows.remove(0)
    }

    /// The only value of a query that counts.
    pub(crate) async fn count(&self, sql: &str) -> i64 {
        let row = self.connection().query_one_raw(self.statement(sql)).await;
        let row = row.unwrap_or_else(|error| panic!("{sql}: {error}"));
        row.expect("a count has a row").try_get_by_index(0).unwrap()
    }

    pub(crate) async fn until_count(&self, expected: i64, sql: &str) {
        until(&format!("{expected} is {sql}"), async || self.count(sql).await == expected).await;
    }

    /// Waits until no row of the outbox is left to send.
    pub(crate) async fn until_sent(&self) {
        self.until_count(0, "SELECT count(*) FROM outbound_event WHERE status = 'pending'").await;
    }

    /// A table of numbers from 1 to `last` in its column `n`.
    pub(crate) fn numbers(&self, last: usize) -> String {
        match self.connection().get_database_backend() {
            DbBackend::Postgres => format!("generate_series(1, {last}) AS t (n)"),
            DbBackend::Sqlite => format!(
                "(WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < {last}) SELECT n FROM r)"
            ),
            _ => format!("(SELECT seq AS n FROM seq_1_to_{last}) AS t"),
        }
    }

    /// The JSON object `{"n": n}` of a row of [`Self::numbers`].
    pub(crate) fn object(&self) -> &'static str {
        if self.is_postgres() { "jsonb_build_object('n', n)" } else { "json_object('n', n)" }
    }

    /// The query for the only row's time in whole seconds since 1970.
    pub(crate) fn epoch_of(&self, column: &str) -> String {
        let epoch = if self.is_postgres() {
            format!("floor(extract(epoch FROM {column}))::bigint")
        } else {
            format!("timestampdiff(SECOND, '1970-01-01', {column})")
        };
        format!("SELECT {epoch} FROM outbound_event")
    }

    /// Seconds from one time to another.
    pub(crate) fn seconds(&self, from: &str, to: &str) -> String {
        if self.is_postgres() {
            format!("extract(epoch FROM {to} - {from})::float8")
        } else {
            format!("CAST(timestampdiff(MICROSECOND, {from}, {to}) AS double) / 1e6")
        }
    }

    /// Bytes of a column in hex.
    pub(crate) fn hex_of(&self, column: &str) -> String {
        if self.is_postgres() {
            format!("encode({column}, 'hex')")
        } else {
            format!("lower(hex({column}))")
        }
    }

    pub(crate) fn is_postgres(&self) -> bool {
        self.connection().get_database_backend() == DbBackend::Postgres
    }

    pub(crate) async fn close(self) {
        self.database.close().await;
    }

    fn connection(&self) -> &DatabaseConnection {
        self.database.connection()
    }

    fn statement(&self, sql: &str) -> Statement {
        Statement::from_string(self.connection().get_database_backend(), sql)
    }
}

/// The digits of a binary literal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}
