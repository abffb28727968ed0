//! What the command line shows and changes: plain rows, times as RFC 3339 text in UTC, JSON as it is.

pub mod inbox;
pub mod outbox;
pub mod quarantine;
pub mod retention;
pub mod status;
mod stretch;
pub mod trace;

use postroad_worker_core::StoreError;
use sea_orm::sea_query::{Expr, ExprTrait, Query, SelectStatement, SimpleExpr};
use sea_orm::{ConnectionTrait, FromQueryResult, Statement, StatementBuilder};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::Database;
use crate::dialect::{Dialect, Sql};
use crate::fault::ask;

/// `SELECT columns FROM table`, to be narrowed.
fn select(db: &Database, columns: Sql, table: &'static str) -> SelectStatement {
    Query::select().expr(Expr::cust(columns.text(db.dialect()))).from(table).take()
}

/// The condition for one row, `None` where no row can have such an id.
fn id_is(db: &Database, id: &str) -> Option<SimpleExpr> {
    match db.dialect() {
        // They keep text, which is in lower case unless a service wrote it otherwise.
        Dialect::Sqlite | Dialect::MySql => {
            Some(Expr::col("id").is_in([id.to_owned(), id.to_ascii_lowercase()]))
        }
        Dialect::Postgres => Uuid::parse_str(id).ok().map(|id| Expr::col("id").eq(id)),
    }
}

async fn all<T: FromQueryResult>(
    db: &Database,
    query: &SelectStatement,
) -> Result<Vec<T>, StoreError> {
    found(db, db.connection().get_database_backend().build(query)).await
}

/// The rows that one statement finds.
async fn found<T: FromQueryResult>(
    db: &Database,
    statement: Statement,
) -> Result<Vec<T>, StoreError> {
    let rows = async {
        let rows = db.connection().query_all_raw(statement).await?;
        rows.iter().map(|row| T::from_query_result(row, "")).collect()
    };
    ask(rows).await
}

/// Runs a statement and returns how many rows it touched.
async fn execute(db: &Database, statement: &impl StatementBuilder) -> Result<u64, StoreError> {
    let statement = db.connection().get_database_backend().build(statement);
    Ok(ask(db.connection().execute_raw(statement)).await?.rows_affected())
}

/// The database's now, as a value to write.
fn now(db: &Database) -> SimpleExpr {
    Expr::cust(match db.dialect() {
        Dialect::Sqlite => "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')",
        Dialect::Postgres => "now()",
        Dialect::MySql => "utc_timestamp(6)",
    })
}

/// JSON text as JSON, byte for byte.
fn json_text<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    match RawValue::from_string(text.to_owned()) {
        Ok(json) => json.serialize(serializer),
        Err(_) => serializer.serialize_str(text),
    }
}

#[expect(clippy::ref_option, reason = "serde calls it so")]
fn optional_json_text<S: Serializer>(
    text: &Option<String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match text {
        Some(text) => json_text(text, serializer),
        None => serializer.serialize_none(),
    }
}
