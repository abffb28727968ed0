//! Messages in quarantine.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postroad_worker_core::StoreError;
use sea_orm::FromQueryResult;
use sea_orm::sea_query::{Expr, ExprTrait, Order, Query, SimpleExpr};
use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::{all, execute, id_is, json_text, select};
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
///
/// Serialized with `body` as text where it is UTF-8, else as `{"hex": ".."}`, and with `body_base64` in any case.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
#[expect(missing_docs, reason = "they are the columns")]
pub struct QuarantineRecord {
    pub id: String,
    pub config_key: String,
    pub topic: String,
    pub reason: String,
    pub detail: String,
    /// Exact bytes.
    pub body: Vec<u8>,
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

impl Serialize for QuarantineRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const MEMBERS: usize = 9;
        let mut record = serializer.serialize_struct("QuarantineRecord", MEMBERS)?;
        record.serialize_field("id", &self.id)?;
        record.serialize_field("config_key", &self.config_key)?;
        record.serialize_field("topic", &self.topic)?;
        record.serialize_field("reason", &self.reason)?;
        record.serialize_field("detail", &self.detail)?;
        record.serialize_field("body", &Body(&self.body))?;
        record.serialize_field("body_base64", &STANDARD.encode(&self.body))?;
        record.serialize_field("headers", &Json(self.headers.as_ref()))?;
        record.serialize_field("received_at", &self.received_at)?;
        record.end()
    }
}

struct Json<'a>(Option<&'a String>);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(text) => json_text(text, serializer),
            None => serializer.serialize_none(),
        }
    }
}

struct Body<'a>(&'a [u8]);

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(serde::Serialize)]
        struct Hex {
            hex: String,
        }
        match std::str::from_utf8(self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => Hex { hex: crate::text::hex(self.0) }.serialize(serializer),
        }
    }
}
