//! The messages that one request led to, and those that led to it.

use std::collections::BTreeSet;

use postroad_worker_core::StoreError;
use sea_orm::FromQueryResult;
use sea_orm::sea_query::{Condition, Expr, ExprTrait};
use serde::Serialize;

use super::{all, select};
use crate::Database;
use crate::dialect::Sql;

/// More requests than this in one chain are cut off.
const MOST_REQUESTS: usize = 1_000;

const OUTBOUND: Sql = Sql {
    sqlite: "\
'outbound' AS direction, seq, id, config_key, topic, message_type, message_status, event_type, request_id,
parent_request_id, chain_depth, source_service, status, last_error, created_at",
    postgres: "\
'outbound' AS direction, seq, id::text AS id, config_key, topic, message_type, message_status, event_type, request_id,
parent_request_id, chain_depth, source_service, status, last_error,
to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') AS created_at",
    mysql: "\
'outbound' AS direction, seq, id, config_key, topic, message_type, message_status, event_type, request_id,
parent_request_id, chain_depth, source_service, status, last_error,
concat(left(date_format(created_at, '%Y-%m-%dT%H:%i:%s.%f'), 23), 'Z') AS created_at",
};

const INBOUND: Sql = Sql {
    sqlite: "\
'inbound' AS direction, seq, id, config_key, topic, message_type, message_status, event_type, request_id,
parent_request_id, chain_depth, source_service, status, last_error, created_at",
    postgres: "\
'inbound' AS direction, seq, id::text AS id, config_key, topic, message_type, message_status, event_type, request_id,
parent_request_id, chain_depth, source_service, status, last_error,
to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') AS created_at",
    mysql: "\
'inbound' AS direction, seq, id, config_key, topic, message_type, message_status, event_type, request_id,
parent_request_id, chain_depth, source_service, status, last_error,
concat(left(date_format(created_at, '%Y-%m-%dT%H:%i:%s.%f'), 23), 'Z') AS created_at",
};

/// A message of the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromQueryResult)]
#[expect(missing_docs, reason = "they are the columns")]
pub struct TraceRecord {
    /// `outbound` or `inbound`.
    pub direction: String,
    pub seq: i64,
    pub id: String,
    pub config_key: String,
    pub topic: String,
    pub message_type: Option<String>,
    pub message_status: Option<String>,
    pub event_type: Option<String>,
    pub request_id: Option<String>,
    pub parent_request_id: Option<String>,
    pub chain_depth: Option<i64>,
    pub source_service: Option<String>,
    pub status: String,
    pub last_error: Option<String>,
    pub created_at: String,
}

/// Every message of the chain that `request_id` is part of, as far as this database has seen it, oldest first. A chain
/// of more than a thousand requests is cut off.
pub async fn trace(db: &Database, request_id: &str) -> Result<Vec<TraceRecord>, StoreError> {
    let mut known = BTreeSet::new();
    let mut unknown = BTreeSet::from([request_id.to_owned()]);
    let mut found: Vec<TraceRecord> = Vec::new();
    while !unknown.is_empty() && known.len() < MOST_REQUESTS {
        let asked: Vec<String> = std::mem::take(&mut unknown).into_iter().collect();
        known.extend(asked.iter().cloned());
        for (columns, table) in [(OUTBOUND, "outbound_event"), (INBOUND, "inbound_event")] {
            let related = Condition::any()
                .add(Expr::col("request_id").is_in(asked.iter().cloned()))
                .add(Expr::col("parent_request_id").is_in(asked.iter().cloned()));
            for record in
                all::<TraceRecord>(db, select(db, columns, table).cond_where(related)).await?
            {
                let ids = [&record.request_id, &record.parent_request_id].into_iter().flatten();
                unknown.extend(ids.filter(|id| !known.contains(*id)).cloned());
                if !found
                    .iter()
                    .any(|other| other.direction == record.direction && other.seq == record.seq)
                {
                    found.push(record);
                }
            }
        }
    }
    found.sort_by(|a, b| {
        (&a.created_at, &a.direction, a.seq).cmp(&(&b.created_at, &b.direction, b.seq))
    });
    Ok(found)
}
