//! Rows of the inbox.

use postroad_worker_core::StoreError;
use sea_orm::FromQueryResult;
use sea_orm::sea_query::{Expr, ExprTrait, Order, Query};
use serde::Serialize;

use super::outbox::Filter;
use super::{all, execute, id_is, json_text, now, optional_json_text, select};
use crate::Database;
use crate::dialect::Sql;
use crate::text::note;

const COLUMNS: Sql = Sql {
    sqlite: "\
seq, id, config_key, message_id, topic, request_id, message_type, message_status, event_type, reply_to,
source_service, parent_request_id, chain_depth, payload, headers, status, processed, processed_at, last_error,
retry_count, next_retry_at, created_at",
    postgres: "\
seq, id::text AS id, config_key, message_id, topic, request_id, message_type, message_status, event_type, reply_to,
source_service, parent_request_id, chain_depth, payload::text AS payload, headers::text AS headers, status, processed,
to_char(processed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') AS processed_at, last_error, retry_count,
to_char(next_retry_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') AS next_retry_at,
to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') AS created_at",
    mysql: "\
seq, id, config_key, message_id, topic, request_id, message_type, message_status, event_type, reply_to,
source_service, parent_request_id, chain_depth, payload, headers, status, processed,
concat(left(date_format(processed_at, '%Y-%m-%dT%H:%i:%s.%f'), 23), 'Z') AS processed_at, last_error, retry_count,
concat(left(date_format(next_retry_at, '%Y-%m-%dT%H:%i:%s.%f'), 23), 'Z') AS next_retry_at,
concat(left(date_format(created_at, '%Y-%m-%dT%H:%i:%s.%f'), 23), 'Z') AS created_at",
};

/// A row of `inbound_event`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromQueryResult)]
#[expect(missing_docs, reason = "they are the columns")]
pub struct InboxRecord {
    pub seq: i64,
    pub id: String,
    pub config_key: String,
    pub message_id: String,
    pub topic: String,
    pub request_id: Option<String>,
    pub message_type: String,
    pub message_status: Option<String>,
    pub event_type: Option<String>,
    pub reply_to: Option<String>,
    pub source_service: Option<String>,
    pub parent_request_id: Option<String>,
    pub chain_depth: i64,
    #[serde(serialize_with = "json_text")]
    pub payload: String,
    #[serde(serialize_with = "optional_json_text")]
    pub headers: Option<String>,
    pub status: String,
    pub processed: bool,
    pub processed_at: Option<String>,
    pub last_error: Option<String>,
    pub retry_count: i32,
    pub next_retry_at: Option<String>,
    pub created_at: String,
}

/// Rows, newest first.
pub async fn list(db: &Database, filter: &Filter) -> Result<Vec<InboxRecord>, StoreError> {
    let mut query = select(db, COLUMNS, "inbound_event");
    query.and_where_option(filter.config_key.as_ref().map(|key| Expr::col("config_key").eq(key)));
    query.and_where_option(filter.status.as_ref().map(|status| Expr::col("status").eq(status)));
    all(db, query.order_by("seq", Order::Desc).limit(filter.limit)).await
}

/// One row, by its id.
pub async fn get(db: &Database, id: &str) -> Result<Option<InboxRecord>, StoreError> {
    let Some(condition) = id_is(db, id) else { return Ok(None) };
    Ok(all(db, select(db, COLUMNS, "inbound_event").and_where(condition)).await?.pop())
}

/// Marks a message as processed. Returns whether there is such a row; doing it again changes nothing.
pub async fn done(db: &Database, id: &str) -> Result<bool, StoreError> {
    let Some(condition) = id_is(db, id) else { return Ok(false) };
    let processed_at = Expr::col("processed_at").if_null(now(db));
    let mut update = Query::update().table("inbound_event").and_where(condition).take();
    update
        .value("status", "processed")
        .value("processed", true)
        .value("processed_at", processed_at)
        .value("last_error", Expr::cust("NULL"));
    Ok(execute(db, &update).await? > 0)
}

/// Marks a message as one that could not be processed, with why. Returns whether there is such a row.
pub async fn fail(db: &Database, id: &str, error: &str) -> Result<bool, StoreError> {
    let Some(condition) = id_is(db, id) else { return Ok(false) };
    let mut update = Query::update().table("inbound_event").and_where(condition).take();
    update
        .value("status", "error")
        .value("processed", false)
        .value("processed_at", Expr::cust("NULL"))
        .value("last_error", note(error));
    Ok(execute(db, &update).await? > 0)
}
