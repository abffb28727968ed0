//! What is due for deletion, and how the last cleaning went.

use std::collections::BTreeMap;

use postroad_worker_core::{RowsByKind, StoreError};
use sea_orm::FromQueryResult;
use serde::Serialize;

use crate::Database;
use crate::dialect::Sql;
use crate::fault::ask;
use crate::retention;

use super::found;
use super::stretch::{INBOX, OUTBOX, Stretches};

/// Where there are very many messages, no more notes of old ones are looked at for the status.
const NOTES: i64 = 100_000;

/// Parameters of this and the next: the ends of a stretch.
const DUE_OUTBOUND: Sql = Sql {
    sqlite: "\
SELECT o.config_key, sum(o.status = 'published') AS published, sum(o.status = 'invalid') AS invalid,
    sum(o.status = 'error') AS error
FROM outbound_event AS o JOIN event_bus_runtime_config AS c ON c.config_key = o.config_key
WHERE o.seq >= $1 AND o.seq < $2 AND o.status <> 'pending'
    AND strftime('%Y-%m-%dT%H:%M:%fZ', coalesce(o.published_at, o.updated_at))
    < strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-' || CASE o.status WHEN 'published' THEN c.retention_days_published
        WHEN 'invalid' THEN c.retention_days_invalid WHEN 'error' THEN c.retention_days_error END || ' days')
GROUP BY o.config_key",
    postgres: "\
SELECT o.config_key, count(*) FILTER (WHERE o.status = 'published') AS published,
    count(*) FILTER (WHERE o.status = 'invalid') AS invalid, count(*) FILTER (WHERE o.status = 'error') AS error
FROM outbound_event AS o JOIN event_bus_runtime_config AS c ON c.config_key = o.config_key
WHERE o.seq >= $1 AND o.seq < $2 AND o.status <> 'pending' AND coalesce(o.published_at, o.updated_at)
    < now() - interval '1 day' * CASE o.status WHEN 'published' THEN c.retention_days_published
        WHEN 'invalid' THEN c.retention_days_invalid WHEN 'error' THEN c.retention_days_error END
GROUP BY o.config_key",
    mysql: "\
SELECT o.config_key, count(CASE WHEN o.status = 'published' THEN 1 END) AS published,
    count(CASE WHEN o.status = 'invalid' THEN 1 END) AS invalid, count(CASE WHEN o.status = 'error' THEN 1 END) AS error
FROM outbound_event AS o JOIN event_bus_runtime_config AS c ON c.config_key = o.config_key
WHERE o.seq >= $1 AND o.seq < $2 AND o.status <> 'pending' AND coalesce(o.published_at, o.updated_at)
    < utc_timestamp(6) - INTERVAL CASE o.status WHEN 'published' THEN c.retention_days_published
        WHEN 'invalid' THEN c.retention_days_invalid WHEN 'error' THEN c.retention_days_error END DAY
GROUP BY o.config_key",
};

const DUE_INBOUND: Sql = Sql {
    sqlite: "\
SELECT e.config_key, sum(e.status = 'processed') AS processed, sum(e.status = 'error') AS error
FROM inbound_event AS e JOIN event_bus_runtime_config AS c ON c.config_key = e.config_key
WHERE e.seq >= $1 AND e.seq < $2 AND e.status <> 'pending'
    AND strftime('%Y-%m-%dT%H:%M:%fZ', coalesce(e.processed_at, e.enqueued_at))
    < strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-' || CASE e.status WHEN 'processed' THEN c.retention_days_processed
        WHEN 'error' THEN c.retention_days_error END || ' days')
GROUP BY e.config_key",
    postgres: "\
SELECT e.config_key, count(*) FILTER (WHERE e.status = 'processed') AS processed,
    count(*) FILTER (WHERE e.status = 'error') AS error
FROM inbound_event AS e JOIN event_bus_runtime_config AS c ON c.config_key = e.config_key
WHERE e.seq >= $1 AND e.seq < $2 AND e.status <> 'pending' AND coalesce(e.processed_at, e.enqueued_at)
    < now() - interval '1 day' * CASE e.status WHEN 'processed' THEN c.retention_days_processed
        WHEN 'error' THEN c.retention_days_error END
GROUP BY e.config_key",
    mysql: "\
SELECT e.config_key, count(CASE WHEN e.status = 'processed' THEN 1 END) AS processed,
    count(CASE WHEN e.status = 'error' THEN 1 END) AS error
FROM inbound_event AS e JOIN event_bus_runtime_config AS c ON c.config_key = e.config_key
WHERE e.seq >= $1 AND e.seq < $2 AND e.status <> 'pending' AND coalesce(e.processed_at, e.enqueued_at)
    < utc_timestamp(6) - INTERVAL CASE e.status WHEN 'processed' THEN c.retention_days_processed
        WHEN 'error' THEN c.retention_days_error END DAY
GROUP BY e.config_key",
};

const DUE_QUARANTINED: Sql = Sql {
    sqlite: "\
SELECT q.config_key, count(*) AS quarantined
FROM quarantined_message AS q JOIN event_bus_runtime_config AS c ON c.config_key = q.config_key
WHERE q.received_at < strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-' || c.retention_days_quarantined || ' days')
GROUP BY q.config_key",
    postgres: "\
SELECT q.config_key, count(*) AS quarantined
FROM quarantined_message AS q JOIN event_bus_runtime_config AS c ON c.config_key = q.config_key
WHERE q.received_at < now() - interval '1 day' * c.retention_days_quarantined
GROUP BY q.config_key",
    mysql: "\
SELECT q.config_key, count(*) AS quarantined
FROM quarantined_message AS q JOIN event_bus_runtime_config AS c ON c.config_key = q.config_key
WHERE q.received_at < utc_timestamp(6) - INTERVAL c.retention_days_quarantined DAY
GROUP BY q.config_key",
};

/// Notes of messages whose row is gone, or due itself and so gone before them. Parameter: how many old ones to look at.
const DUE_DEDUPE: Sql = Sql {
    sqlite: "\
SELECT d.config_key, count(*) AS dedupe
FROM (
    SELECT c.config_key, c.retention_days_processed, c.retention_days_error, d.inbound_id
    FROM event_bus_runtime_config AS c JOIN inbound_dedupe AS d ON d.config_key = c.config_key
        AND d.created_at < strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-' || c.retention_days_dedupe || ' days')
    LIMIT $1
) AS d LEFT JOIN inbound_event AS e ON e.id = d.inbound_id
WHERE e.id IS NULL OR strftime('%Y-%m-%dT%H:%M:%fZ', coalesce(e.processed_at, e.enqueued_at))
    < strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-' || CASE e.status WHEN 'processed' THEN d.retention_days_processed
        WHEN 'error' THEN d.retention_days_error END || ' days')
GROUP BY d.config_key",
    postgres: "\
SELECT d.config_key, count(*) AS dedupe
FROM (
    SELECT c.config_key, c.retention_days_processed, c.retention_days_error, d.inbound_id
    FROM event_bus_runtime_config AS c JOIN inbound_dedupe AS d ON d.config_key = c.config_key
        AND d.created_at < now() - interval '1 day' * c.retention_days_dedupe
    LIMIT $1
) AS d LEFT JOIN inbound_event AS e ON e.id = d.inbound_id
WHERE e.id IS NULL OR coalesce(e.processed_at, e.enqueued_at)
    < now() - interval '1 day' * CASE e.status WHEN 'processed' THEN d.retention_days_processed
        WHEN 'error' THEN d.retention_days_error END
GROUP BY d.config_key",
    mysql: "\
SELECT d.config_key, count(*) AS dedupe
FROM (
    SELECT c.config_key, c.retention_days_processed, c.retention_days_error, d.inbound_id
    FROM event_bus_runtime_config AS c JOIN inbound_dedupe AS d ON d.config_key = c.config_key
        AND d.created_at < utc_timestamp(6) - INTERVAL c.retention_days_dedupe DAY
    LIMIT $1
) AS d LEFT JOIN inbound_event AS e ON e.id = d.inbound_id
WHERE e.id IS NULL OR coalesce(e.processed_at, e.enqueued_at)
    < utc_timestamp(6) - INTERVAL CASE e.status WHEN 'processed' THEN d.retention_days_processed
        WHEN 'error' THEN d.retention_days_error END DAY
GROUP BY d.config_key",
};

/// A run whose lease ended was cut off. One that is an hour late is overdue.
const RUNS: Sql = Sql {
    sqlite: "\
SELECT config_key, last_started_at, last_finished_at, next_run_at,
    CASE WHEN leased_until <= strftime('%Y-%m-%dT%H:%M:%fZ', 'now') THEN 'cut off' ELSE last_result END AS last_result,
    coalesce(leased_until, next_run_at) < strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-1 hour')
        AND next_run_at < strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-1 hour') AS overdue,
    deleted_published, deleted_processed, deleted_error, deleted_invalid, deleted_quarantined, deleted_dedupe
FROM event_bus_maintenance",
    postgres: "\
SELECT config_key,
    to_char(last_started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') AS last_started_at,
    to_char(last_finished_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') AS last_finished_at,
    to_char(next_run_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') AS next_run_at,
    CASE WHEN leased_until <= now() THEN 'cut off' ELSE last_result END AS last_result,
    greatest(leased_until, next_run_at) < now() - interval '1 hour' AS overdue,
    deleted_published, deleted_processed, deleted_error, deleted_invalid, deleted_quarantined, deleted_dedupe
FROM event_bus_maintenance",
    mysql: "\
SELECT config_key,
    concat(left(date_format(last_started_at, '%Y-%m-%dT%H:%i:%s.%f'), 23), 'Z') AS last_started_at,
    concat(left(date_format(last_finished_at, '%Y-%m-%dT%H:%i:%s.%f'), 23), 'Z') AS last_finished_at,
    concat(left(date_format(next_run_at, '%Y-%m-%dT%H:%i:%s.%f'), 23), 'Z') AS next_run_at,
    CASE WHEN leased_until <= utc_timestamp(6) THEN 'cut off' ELSE last_result END AS last_result,
    greatest(coalesce(leased_until, next_run_at), next_run_at) < utc_timestamp(6) - INTERVAL 1 HOUR AS overdue,
    deleted_published, deleted_processed, deleted_error, deleted_invalid, deleted_quarantined, deleted_dedupe
FROM event_bus_maintenance",
};

/// How cleaning one config goes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct MaintenanceStatus {
    /// When the last run began.
    pub last_started_at: Option<String>,
    /// When a run ended last.
    pub last_finished_at: Option<String>,
    /// `running`, `complete`, `stopped`, `cut off` where its worker died, or `failed: ` and why.
    pub last_result: Option<String>,
    /// When the next one is due.
    pub next_run_at: Option<String>,
    /// Whether that was more than an hour ago, and nobody is at it.
    pub overdue: bool,
    /// What the last run deleted.
    pub deleted: RowsByKind,
    /// Rows that are due for deletion now.
    pub rows_left: u64,
    /// Whether the tables are so long that this is an estimate.
    pub rows_left_estimated: bool,
}

impl MaintenanceStatus {
    /// Nothing is overdue where no worker is expected to run.
    pub(super) fn where_expected(mut self, is_active: bool) -> Self {
        self.overdue &= is_active;
        self
    }
}

/// Until when each kind is kept: what is older goes. Times as RFC 3339, `None` where it is kept for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "they are the kinds")]
pub struct OlderThan {
    pub published: Option<String>,
    pub processed: Option<String>,
    pub error: Option<String>,
    pub invalid: Option<String>,
    pub quarantined: Option<String>,
    pub dedupe: Option<String>,
}

/// The rows of each config that are due for deletion now. Reads only; a config without any is left out. It looks at every row,
/// which takes its time where there are many: some seconds a million.
pub async fn due(db: &Database) -> Result<BTreeMap<String, RowsByKind>, StoreError> {
    let (outbox, inbox) = (Stretches::all(db, OUTBOX).await?, Stretches::all(db, INBOX).await?);
    count_due(db, &outbox, &inbox, i64::MAX).await
}

/// Until when a config keeps each kind, by the database's clock; `None` where there is no such config.
pub async fn older_than(db: &Database, config_key: &str) -> Result<Option<OlderThan>, StoreError> {
    let cutoffs = ask(retention::cutoffs(db, config_key)).await?;
    Ok(cutoffs.map(|cutoffs| OlderThan {
        published: cutoffs.published.as_deref().map(rfc3339),
        processed: cutoffs.processed.as_deref().map(rfc3339),
        error: cutoffs.error.as_deref().map(rfc3339),
        invalid: cutoffs.invalid.as_deref().map(rfc3339),
        quarantined: cutoffs.quarantined.as_deref().map(rfc3339),
        dedupe: cutoffs.dedupe.as_deref().map(rfc3339),
    }))
}

/// How cleaning goes, by config.
pub(super) async fn maintenance(
    db: &Database,
    outbox: &Stretches,
    inbox: &Stretches,
) -> Result<BTreeMap<String, MaintenanceStatus>, StoreError> {
    let mut status: BTreeMap<String, MaintenanceStatus> = BTreeMap::new();
    for run in found::<Run>(db, RUNS.bind(db.dialect(), [])).await? {
        status.insert(run.config_key.clone(), run.into());
    }
    let notes = if inbox.are_samples() { NOTES } else { i64::MAX };
    let due = count_due(db, outbox, inbox, notes).await?;
    for (config_key, due) in due {
        let status = status.entry(config_key).or_default();
        status.rows_left = due.total();
        status.rows_left_estimated = outbox.are_samples() || inbox.are_samples();
    }
    Ok(status)
}

/// `notes`: as in [`DUE_DEDUPE`].
async fn count_due(
    db: &Database,
    outbox: &Stretches,
    inbox: &Stretches,
    notes: i64,
) -> Result<BTreeMap<String, RowsByKind>, StoreError> {
    let mut due: BTreeMap<String, RowsByKind> = BTreeMap::new();
    for (row, times) in outbox.rows::<DueOutbound>(db, DUE_OUTBOUND).await? {
        let rows = due.entry(row.config_key).or_default();
        rows.published += (row.published * times).unsigned_abs();
        rows.invalid += (row.invalid * times).unsigned_abs();
        rows.error += (row.error * times).unsigned_abs();
    }
    for (row, times) in inbox.rows::<DueInbound>(db, DUE_INBOUND).await? {
        let rows = due.entry(row.config_key).or_default();
        rows.processed += (row.processed * times).unsigned_abs();
        rows.error += (row.error * times).unsigned_abs();
    }
    for row in found::<DueQuarantined>(db, DUE_QUARANTINED.bind(db.dialect(), [])).await? {
        due.entry(row.config_key).or_default().quarantined += row.quarantined.unsigned_abs();
    }
    let old = DUE_DEDUPE.bind(db.dialect(), [notes.into()]);
    for row in found::<DueDedupe>(db, old).await? {
        due.entry(row.config_key).or_default().dedupe += row.dedupe.unsigned_abs();
    }
    Ok(due)
}

/// To the millisecond, whatever the database gave.
fn rfc3339(time: &str) -> String {
    format!("{}Z", &time[..23])
}

#[derive(FromQueryResult)]
struct DueOutbound {
    config_key: String,
    published: i64,
    invalid: i64,
    error: i64,
}

#[derive(FromQueryResult)]
struct DueInbound {
    config_key: String,
    processed: i64,
    error: i64,
}

#[derive(FromQueryResult)]
struct DueQuarantined {
    config_key: String,
    quarantined: i64,
}

#[derive(FromQueryResult)]
struct DueDedupe {
    config_key: String,
    dedupe: i64,
}

#[derive(FromQueryResult)]
struct Run {
    config_key: String,
    last_started_at: Option<String>,
    last_finished_at: Option<String>,
    last_result: Option<String>,
    next_run_at: String,
    overdue: bool,
    deleted_published: i64,
    deleted_processed: i64,
    deleted_error: i64,
    deleted_invalid: i64,
    deleted_quarantined: i64,
    deleted_dedupe: i64,
}

impl From<Run> for MaintenanceStatus {
    fn from(run: Run) -> Self {
        Self {
            last_started_at: run.last_started_at,
            last_finished_at: run.last_finished_at,
            last_result: run.last_result,
            next_run_at: Some(run.next_run_at),
            overdue: run.overdue,
            deleted: RowsByKind {
                published: run.deleted_published.unsigned_abs(),
                processed: run.deleted_processed.unsigned_abs(),
                error: run.deleted_error.unsigned_abs(),
                invalid: run.deleted_invalid.unsigned_abs(),
                quarantined: run.deleted_quarantined.unsigned_abs(),
                dedupe: run.deleted_dedupe.unsigned_abs(),
            },
            rows_left: 0,
            rows_left_estimated: false,
        }
    }
}
