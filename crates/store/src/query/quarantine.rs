//! Messages in quarantine.

use std::time::Duration;

use postroad_worker_core::StoreError;
use sea_orm::FromQueryResult;
use sea_orm::sea_query::{Expr, ExprTrait, Order, Query, SimpleExpr};
use serde::{Serialize, Serializer};

use super::{all, execute, id_is, optional_json_text, select};
use crate::Database;
use crate::dialect::{Dialect, Sql};

const COLUMNS: Sql = Sql {
    sqlite: "id, config_key, topic, reason, detail, body, headers, received_at",
    postgres: "\
id::text AS id, config_key, topic, reason, detail, body, headers::text AS headers,
to_char(received_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') AS received_at",
    mysql: "\
id, config_key, topic, reason, detail, body, headers, concat(left(date_format(received_at, '%Y-%m-%dT%H:%i:%s.%f'), 23), 'Z') AS received_at",
};

/// A row of `quarantined_message`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromQueryResult)]
#[expect(missing_docs, reason = "they are the columns")]
pub struct QuarantineRecord {
    pub id: String,
    pub config_key: String,
    pub topic: String,
    pub reason: String,
    pub detail: String,
    /// Exact bytes; serialized as text where they are UTF-8, else as `{"hex": ".."}`.
    #[serde(serialize_with = "body")]
    pub body: Vec<u8>,
    #[serde(serialize_with = "optional_json_text")]
    pub headers: Option<String>,
    pub received_at: String,
}

/// Which messages to throw away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purge<'a> {
    /// One.
    Id(&'a str),
    /// Those received longer ago, by the database's clock.
    OlderThan(Duration),
    /// All.
    All,
}

/// The newest `limit` messages of one config or of all, newest first.
pub async fn list(
    db: &Database,
    config_key: Option<&str>,
    limit: u64,
) -> Result<Vec<QuarantineRecord>, StoreError> {
    let mut query = select(db, COLUMNS, "quarantined_message");
    query.and_where_option(config_key.map(|key| Expr::col("config_key").eq(key)));
    all(db, query.order_by("received_at", Order::Desc).order_by("id", Order::Asc).limit(limit))
        .await
}

/// One message, by its id.
pub async fn get(db: &Database, id: &str) -> Result<Option<QuarantineRecord>, StoreError> {
    let Some(condition) = id_is(db, id) else { return Ok(None) };
    Ok(all(db, select(db, COLUMNS, "quarantined_message").and_where(condition)).await?.pop())
}

/// Throws messages of one config or of all away, and returns how many there were.
pub async fn purge(
    db: &Database,
    which: Purge<'_>,
    config_key: Option<&str>,
) -> Result<u64, StoreError> {
    let mut delete = Query::delete().from_table("quarantined_message").take();
    delete.and_where_option(config_key.map(|key| Expr::col("config_key").eq(key)));
    match which {
        Purge::Id(id) => {
            let Some(condition) = id_is(db, id) else { return Ok(0) };
            delete.and_where(condition);
        }
        Purge::OlderThan(age) => {
            delete.and_where(Expr::col("received_at").lt(before_now(db, age)));
        }
        Purge::All => {}
    }
    execute(db, &delete).await
}

/// Takes one message out, as when it was replayed. Returns whether it was there.
pub async fn remove(db: &Database, id: &str) -> Result<bool, StoreError> {
    Ok(purge(db, Purge::Id(id), None).await? > 0)
}

fn before_now(db: &Database, age: Duration) -> SimpleExpr {
    let seconds = age.as_secs();
    match db.dialect() {
        Dialect::Sqlite => Expr::cust_with_values(
            "strftime('%Y-%m-%dT%H:%M:%fZ', 'now', ?)",
            [format!("-{seconds} seconds")],
        ),
        Dialect::Postgres => {
            let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
            Expr::cust_with_values("now() - $1 * interval '1 second'", [seconds])
        }
        Dialect::MySql => {
            let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
            Expr::cust_with_values("utc_timestamp(6) - INTERVAL ? SECOND", [seconds])
        }
    }
}

fn body<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Hex {
        hex: String,
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => serializer.serialize_str(text),
        Err(_) => Hex { hex: crate::text::hex(bytes) }.serialize(serializer),
    }
}
