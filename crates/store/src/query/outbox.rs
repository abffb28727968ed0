//! Rows of the outbox.

use postroad_worker_core::StoreError;
use sea_orm::sea_query::{Expr, ExprTrait, Order, Query};
use sea_orm::{ConnectionTrait, FromQueryResult};
use serde::Serialize;

use super::{all, execute, id_is, json_text, now, optional_json_text, select};
use crate::Database;
use crate::dialect::Sql;
use crate::fault::ask;
use crate::wake;

const COLUMNS: Sql = Sql {
    sqlite: "\
seq, id, config_key, message_id, topic, request_id, event_type, message_type, message_status, source_service,
parent_request_id, chain_depth, reply_to, payload, headers, ordering_key, status, published, published_at,
retry_count, next_retry_at, last_error, created_at, updated_at",
    postgres: "\
seq, id::text AS id, config_key, message_id, topic, request_id, event_type, message_type, message_status,
source_service, parent_request_id, chain_depth, reply_to, payload::text AS payload, headers::text AS headers,
ordering_key, status, published,
to_char(published_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') AS published_at, retry_count,
to_char(next_retry_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') AS next_retry_at, last_error,
to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') AS created_at,
to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') AS updated_at",
    mysql: "\
seq, id, config_key, message_id, topic, request_id, event_type, message_type, message_status, source_service,
parent_request_id, chain_depth, reply_to, payload, headers, ordering_key, status, published,
concat(left(date_format(published_at, '%Y-%m-%dT%H:%i:%s.%f'), 23), 'Z') AS published_at, retry_count,
concat(left(date_format(next_retry_at, '%Y-%m-%dT%H:%i:%s.%f'), 23), 'Z') AS next_retry_at, last_error,
concat(left(date_format(created_at, '%Y-%m-%dT%H:%i:%s.%f'), 23), 'Z') AS created_at,
concat(left(date_format(updated_at, '%Y-%m-%dT%H:%i:%s.%f'), 23), 'Z') AS updated_at",
};

/// Ends a pending row that no worker holds. Parameter: id.
const SKIP: Sql = Sql {
    sqlite: "\
UPDATE outbound_event
SET status = 'error', last_error = 'skipped by a person' || coalesce('; before: ' || last_error, ''), next_retry_at = NULL,
    claim_token = NULL, claimed_until = NULL, updated_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
WHERE id = $1 AND status = 'pending'
  AND (claimed_until IS NULL OR strftime('%Y-%m-%dT%H:%M:%fZ', claimed_until) <= strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))",
    postgres: "\
UPDATE outbound_event
SET status = 'error', last_error = 'skipped by a person' || coalesce('; before: ' || last_error, ''), next_retry_at = NULL,
    claim_token = NULL, claimed_until = NULL, updated_at = now()
WHERE id = $1::uuid AND status = 'pending' AND (claimed_until IS NULL OR claimed_until <= now())",
    mysql: "\
UPDATE outbound_event
SET status = 'error', last_error = concat('skipped by a person', coalesce(concat('; before: ', last_error), '')),
    next_retry_at = NULL, claim_token = NULL, claimed_until = NULL, updated_at = utc_timestamp(6)
WHERE id = $1 AND status = 'pending' AND (claimed_until IS NULL OR claimed_until <= utc_timestamp(6))",
};

const CLAIM: Sql = Sql {
    sqlite: "status, claimed_until",
    postgres: "\
status, to_char(claimed_until AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') AS claimed_until",
    mysql: "\
status, concat(left(date_format(claimed_until, '%Y-%m-%dT%H:%i:%s.%f'), 23), 'Z') AS claimed_until",
};

#[derive(FromQueryResult)]
struct ClaimState {
    status: String,
    claimed_until: Option<String>,
}

/// A row of `outbound_event`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromQueryResult)]
#[expect(missing_docs, reason = "they are the columns")]
pub struct OutboxRecord {
    pub seq: i64,
    pub id: String,
    pub config_key: String,
    pub message_id: Option<String>,
    pub topic: String,
    pub request_id: Option<String>,
    pub event_type: Option<String>,
    pub message_type: Option<String>,
    pub message_status: Option<String>,
    pub source_service: Option<String>,
    pub parent_request_id: Option<String>,
    pub chain_depth: Option<i64>,
    pub reply_to: Option<String>,
    #[serde(serialize_with = "json_text")]
    pub payload: String,
    #[serde(serialize_with = "optional_json_text")]
    pub headers: Option<String>,
    pub ordering_key: Option<String>,
    pub status: String,
    pub published: bool,
    pub published_at: Option<String>,
    pub retry_count: i32,
    pub next_retry_at: Option<String>,
    pub last_error: Option<String>,
    pub created_at: String,
    pub updated_at: String,
}

/// Which rows to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Of one config, or of all.
    pub config_key: Option<String>,
    /// In one state, or in any.
    pub status: Option<String>,
    /// The most there will be.
    pub limit: u64,
}

impl Default for Filter {
    /// The newest hundred.
    fn default() -> Self {
        Self { config_key: None, status: None, limit: 100 }
    }
}

/// Which rows to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry<'a> {
    /// One, whatever its state, unless it is published.
    Id(&'a str),
    /// All in a state, of one config or of all. Published rows are never sent again.
    Status {
        /// `error`, `invalid` or `pending`.
        status: &'a str,
        /// `None` for every config.
        config_key: Option<&'a str>,
    },
}

/// Rows, newest first.
pub async fn list(db: &Database, filter: &Filter) -> Result<Vec<OutboxRecord>, StoreError> {
    let mut query = select(db, COLUMNS, "outbound_event");
    query.and_where_option(filter.config_key.as_ref().map(|key| Expr::col("config_key").eq(key)));
    query.and_where_option(filter.status.as_ref().map(|status| Expr::col("status").eq(status)));
    all(db, query.order_by("seq", Order::Desc).limit(filter.limit)).await
}

/// One row, by its id.
pub async fn get(db: &Database, id: &str) -> Result<Option<OutboxRecord>, StoreError> {
    let Some(condition) = id_is(db, id) else { return Ok(None) };
    Ok(all(db, select(db, COLUMNS, "outbound_event").and_where(condition)).await?.pop())
}

/// Makes rows due at once, as if they had never been tried, and returns how many there were.
pub async fn retry(db: &Database, which: Retry<'_>) -> Result<u64, StoreError> {
    let mut update = Query::update().table("outbound_event").take();
    match which {
        Retry::Id(id) => {
            let Some(condition) = id_is(db, id) else { return Ok(0) };
            update.and_where(condition);
        }
        Retry::Status { status, config_key } => {
            update.and_where(Expr::col("status").eq(status));
            update.and_where_option(config_key.map(|key| Expr::col("config_key").eq(key)));
        }
    }
    update
        .and_where(Expr::col("status").ne("published"))
        .value("status", "pending")
        .value("retry_count", 0)
        .value("next_retry_at", Expr::cust("NULL"))
        .value("updated_at", now(db));
    let rows = execute(db, &update).await?;
    if rows > 0 {
        wake::announce(db).await?;
    }
    Ok(rows)
}

/// What came of the wish to skip a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Skipped {
    /// It is `error` now, and the next row of its ordering key is due.
    Done,
    /// There is no such row.
    Unknown,
    /// It holds nothing back: it is `published`, `invalid` or `error`.
    Ended(String),
    /// A worker is sending it, and will have settled it or lost it by this time.
    Held(String),
}

/// Ends a pending row as `error`, unsent, so that those behind it go on. A row that a worker holds under a live lease is
/// left alone: it may be on the wire, and what was released now could arrive before it.
pub async fn skip(db: &Database, id: &str) -> Result<Skipped, StoreError> {
    let Some(condition) = id_is(db, id) else { return Ok(Skipped::Unknown) };
    let Some(row) = get(db, id).await? else { return Ok(Skipped::Unknown) };
    let skip = SKIP.bind(db.dialect(), [row.id.into()]);
    if ask(db.connection().execute_raw(skip)).await?.rows_affected() > 0 {
        wake::announce(db).await?;
        return Ok(Skipped::Done);
    }
    let claim = select(db, CLAIM, "outbound_event").and_where(condition).take();
    Ok(match all::<ClaimState>(db, &claim).await?.pop() {
        None => Skipped::Unknown,
        Some(ClaimState { status, claimed_until: Some(until) }) if status == "pending" => {
            Skipped::Held(until)
        }
        Some(row) => Skipped::Ended(row.status),
    })
}
