//! How the bus is doing, from the database alone.

use std::collections::BTreeMap;

use postroad_worker_core::StoreError;
use sea_orm::FromQueryResult;
use serde::Serialize;

use super::found;
use super::retention::{MaintenanceStatus, maintenance};
use super::stretch::{INBOX, OUTBOX, Stretches};
use crate::Database;
use crate::dialect::Sql;

const CONFIGS: Sql = Sql {
    sqlite: "\
SELECT config_key, broker_type, is_active, worker_status, last_heartbeat_at, last_error
FROM event_bus_runtime_config ORDER BY config_key",
    postgres: "\
SELECT config_key, broker_type, is_active, worker_status,
    to_char(last_heartbeat_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') AS last_heartbeat_at, last_error
FROM event_bus_runtime_config ORDER BY config_key",
    mysql: "\
SELECT config_key, broker_type, is_active, worker_status,
    concat(left(date_format(last_heartbeat_at, '%Y-%m-%dT%H:%i:%s.%f'), 23), 'Z') AS last_heartbeat_at, last_error
FROM event_bus_runtime_config ORDER BY config_key",
};

/// A worker is stale when it did not say for three intervals that it lives, and did not say goodbye either.
const WORKERS: Sql = Sql {
    sqlite: "\
SELECT w.config_key, w.id, w.host, w.pid, w.version, w.status, w.started_at, w.last_heartbeat_at, w.last_error,
    w.status <> 'stopped' AND w.last_heartbeat_at < strftime('%Y-%m-%dT%H:%M:%fZ', 'now',
        printf('-%d seconds', 3 * c.heartbeat_interval_seconds)) AS stale,
    w.published, w.refused, w.invalid, w.received, w.duplicates, w.quarantined, w.lease_lost, w.disconnects,
    w.spool_messages, w.spool_bytes, w.possible_gaps
FROM event_bus_worker AS w JOIN event_bus_runtime_config AS c ON c.config_key = w.config_key
ORDER BY w.started_at, w.id",
    postgres: "\
SELECT w.config_key, w.id::text AS id, w.host, w.pid, w.version, w.status,
    to_char(w.started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') AS started_at,
    to_char(w.last_heartbeat_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') AS last_heartbeat_at,
    w.last_error,
    w.status <> 'stopped'
        AND w.last_heartbeat_at < now() - 3 * c.heartbeat_interval_seconds * interval '1 second' AS stale,
    w.published, w.refused, w.invalid, w.received, w.duplicates, w.quarantined, w.lease_lost, w.disconnects,
    w.spool_messages, w.spool_bytes, w.possible_gaps
FROM event_bus_worker AS w JOIN event_bus_runtime_config AS c ON c.config_key = w.config_key
ORDER BY w.started_at, w.id",
    mysql: "\
SELECT w.config_key, w.id, w.host, w.pid, w.version, w.status,
    concat(left(date_format(w.started_at, '%Y-%m-%dT%H:%i:%s.%f'), 23), 'Z') AS started_at,
    concat(left(date_format(w.last_heartbeat_at, '%Y-%m-%dT%H:%i:%s.%f'), 23), 'Z') AS last_heartbeat_at,
    w.last_error,
    w.status <> 'stopped'
        AND w.last_heartbeat_at < utc_timestamp(6) - INTERVAL 3 * c.heartbeat_interval_seconds SECOND AS stale,
    w.published, w.refused, w.invalid, w.received, w.duplicates, w.quarantined, w.lease_lost, w.disconnects,
    w.spool_messages, w.spool_bytes, w.possible_gaps
FROM event_bus_worker AS w JOIN event_bus_runtime_config AS c ON c.config_key = w.config_key
ORDER BY w.started_at, w.id",
};

const OUTBOUND: Sql = Sql {
    sqlite: "\
SELECT config_key,
    count(*) FILTER (WHERE status = 'pending') AS pending,
    count(*) FILTER (WHERE status = 'published') AS published,
    count(*) FILTER (WHERE status = 'invalid') AS invalid,
    count(*) FILTER (WHERE status = 'error') AS error,
    max(0, CAST(strftime('%s', 'now') AS INTEGER)
        - min(CAST(strftime('%s', created_at) AS INTEGER)) FILTER (WHERE status = 'pending')) AS oldest_pending_seconds,
    min(next_retry_at) FILTER (WHERE status = 'pending') AS next_retry_at
FROM outbound_event GROUP BY config_key",
    postgres: "\
SELECT config_key,
    count(*) FILTER (WHERE status = 'pending') AS pending,
    count(*) FILTER (WHERE status = 'published') AS published,
    count(*) FILTER (WHERE status = 'invalid') AS invalid,
    count(*) FILTER (WHERE status = 'error') AS error,
    CASE WHEN count(*) FILTER (WHERE status = 'pending') > 0 THEN greatest(0,
        extract(epoch FROM now() - min(created_at) FILTER (WHERE status = 'pending'))::bigint)
    END AS oldest_pending_seconds,
    to_char(min(next_retry_at) FILTER (WHERE status = 'pending') AT TIME ZONE 'UTC',
        'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') AS next_retry_at
FROM outbound_event GROUP BY config_key",
    mysql: "\
SELECT config_key,
    count(CASE WHEN status = 'pending' THEN 1 END) AS pending,
    count(CASE WHEN status = 'published' THEN 1 END) AS published,
    count(CASE WHEN status = 'invalid' THEN 1 END) AS invalid,
    count(CASE WHEN status = 'error' THEN 1 END) AS error,
    greatest(0, timestampdiff(SECOND, min(CASE WHEN status = 'pending' THEN created_at END), utc_timestamp(6)))
        AS oldest_pending_seconds,
    concat(left(date_format(min(CASE WHEN status = 'pending' THEN next_retry_at END), '%Y-%m-%dT%H:%i:%s.%f'), 23), 'Z')
        AS next_retry_at
FROM outbound_event GROUP BY config_key",
};

const INBOUND: Sql = Sql::same(
    "\
SELECT config_key,
    count(CASE WHEN status = 'pending' THEN 1 END) AS pending,
    count(CASE WHEN status = 'processed' THEN 1 END) AS processed,
    count(CASE WHEN status = 'error' THEN 1 END) AS error
FROM inbound_event GROUP BY config_key",
);

/// The same of a long table: what waits, by its indexes.
const WAITING: Sql = Sql {
    sqlite: "\
SELECT config_key, count(*) AS pending, 0 AS published, 0 AS invalid, 0 AS error,
    max(0, CAST(strftime('%s', 'now') AS INTEGER) - min(CAST(strftime('%s', created_at) AS INTEGER)))
        AS oldest_pending_seconds, min(next_retry_at) AS next_retry_at
FROM (
    SELECT config_key, created_at, next_retry_at FROM outbound_event WHERE status = 'pending' AND ordering_key IS NULL
    UNION ALL
    SELECT config_key, created_at, next_retry_at FROM outbound_event WHERE status = 'pending' AND ordering_key IS NOT NULL
) GROUP BY config_key",
    postgres: "\
SELECT config_key, count(*) AS pending, 0::bigint AS published, 0::bigint AS invalid, 0::bigint AS error,
    greatest(0, extract(epoch FROM now() - min(created_at))::bigint) AS oldest_pending_seconds,
    to_char(min(next_retry_at) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') AS next_retry_at
FROM (
    SELECT config_key, created_at, next_retry_at FROM outbound_event WHERE status = 'pending' AND ordering_key IS NULL
    UNION ALL
    SELECT config_key, created_at, next_retry_at FROM outbound_event WHERE status = 'pending' AND ordering_key IS NOT NULL
) AS waiting GROUP BY config_key",
    mysql: "\
SELECT config_key, count(*) AS pending, 0 AS published, 0 AS invalid, 0 AS error,
    greatest(0, timestampdiff(SECOND, min(created_at), utc_timestamp(6))) AS oldest_pending_seconds,
    concat(left(date_format(min(next_retry_at), '%Y-%m-%dT%H:%i:%s.%f'), 23), 'Z') AS next_retry_at
FROM (
    SELECT config_key, created_at, next_retry_at FROM outbound_event FORCE INDEX (outbound_event_due)
    WHERE due_config IS NOT NULL
    UNION ALL
    SELECT config_key, created_at, next_retry_at FROM outbound_event FORCE INDEX (outbound_event_ordering)
    WHERE ordering_turn IS NOT NULL
) AS waiting GROUP BY config_key",
};

const FAILED: Sql = Sql {
    sqlite: "\
SELECT config_key, count(*) FILTER (WHERE status = 'invalid') AS invalid, count(*) FILTER (WHERE status = 'error') AS error
FROM outbound_event WHERE status IN ('invalid', 'error') GROUP BY config_key",
    postgres: "\
SELECT config_key, count(*) FILTER (WHERE status = 'invalid') AS invalid, count(*) FILTER (WHERE status = 'error') AS error
FROM outbound_event WHERE status IN ('invalid', 'error') GROUP BY config_key",
    mysql: "\
SELECT failed_config AS config_key, count(CASE WHEN status = 'invalid' THEN 1 END) AS invalid,
    count(CASE WHEN status = 'error' THEN 1 END) AS error
FROM outbound_event FORCE INDEX (outbound_event_failed) WHERE failed_config IS NOT NULL GROUP BY failed_config",
};

/// Parameters: the ends of a stretch.
const PUBLISHED: Sql = Sql::same(
    "\
SELECT config_key, count(*) AS rows_found FROM outbound_event
WHERE seq >= $1 AND seq < $2 AND status = 'published' GROUP BY config_key",
);

const WAITING_MESSAGES: Sql = Sql {
    mysql:
        "\
SELECT due_config AS config_key, count(*) AS rows_found
FROM inbound_event FORCE INDEX (inbound_event_due) WHERE due_config IS NOT NULL GROUP BY due_config",
    ..Sql::same(
        "SELECT config_key, count(*) AS rows_found FROM inbound_event WHERE status = 'pending' GROUP BY config_key",
    )
};

const FAILED_MESSAGES: Sql = Sql {
    mysql: "\
SELECT failed_config AS config_key, count(*) AS rows_found
FROM inbound_event FORCE INDEX (inbound_event_failed) WHERE failed_config IS NOT NULL GROUP BY failed_config",
    ..Sql::same(
        "SELECT config_key, count(*) AS rows_found FROM inbound_event WHERE status = 'error' GROUP BY config_key",
    )
};

/// Parameters: the ends of a stretch.
const PROCESSED: Sql = Sql::same(
    "\
SELECT config_key, count(*) AS rows_found FROM inbound_event
WHERE seq >= $1 AND seq < $2 AND status = 'processed' GROUP BY config_key",
);

const QUARANTINED: Sql = Sql::same(
    "SELECT config_key, count(*) AS quarantined FROM quarantined_message GROUP BY config_key",
);

/// Everything at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// By name.
    pub configs: Vec<ConfigStatus>,
}

/// One config.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConfigStatus {
    /// Its name.
    pub config_key: String,
    /// `rabbitmq`, `mqtt` or `memory`.
    pub broker_type: String,
    /// Whether a worker is expected to run.
    pub is_active: bool,
    /// What the worker said that spoke last; `stale` where no worker lives that could mean it.
    pub worker_status: Option<String>,
    /// When it did.
    pub last_heartbeat_at: Option<String>,
    /// The fault that lasts, if one does.
    pub last_error: Option<String>,
    /// In the order in which they started.
    pub workers: Vec<WorkerEntry>,
    /// Rows of the outbox.
    pub outbound: OutboundCounts,
    /// Rows of the inbox.
    pub inbound: InboundCounts,
    /// Messages in quarantine.
    pub quarantined: i64,
    /// How cleaning up goes.
    pub maintenance: MaintenanceStatus,
}

impl ConfigStatus {
    /// Whether some worker is at it, one that lives by its heartbeats.
    pub fn has_live_worker(&self) -> bool {
        self.workers.iter().any(|worker| !worker.stale && worker.status != "stopped")
    }

    /// A worker that died could not say so; what it said last is not true any more.
    fn or_stale(mut self) -> Self {
        let said = self.worker_status.as_deref().is_some_and(|status| status != "stopped");
        if said && !self.has_live_worker() {
            self.worker_status = Some("stale".to_owned());
        }
        self
    }

    /// Whether nothing is missing: an active config has a live worker.
    pub fn is_healthy(&self) -> bool {
        !self.is_active || self.has_live_worker()
    }
}

/// One worker, as in `event_bus_worker`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromQueryResult)]
#[expect(missing_docs, reason = "they are the columns")]
pub struct WorkerEntry {
    #[serde(skip)]
    pub config_key: String,
    pub id: String,
    pub host: String,
    pub pid: i64,
    pub version: String,
    pub status: String,
    pub started_at: String,
    pub last_heartbeat_at: String,
    pub last_error: Option<String>,
    /// No heartbeat for three intervals, by the database's clock, and no goodbye.
    pub stale: bool,
    pub published: i64,
    pub refused: i64,
    pub invalid: i64,
    pub received: i64,
    pub duplicates: i64,
    pub quarantined: i64,
    pub lease_lost: i64,
    pub disconnects: i64,
    pub spool_messages: i64,
    pub spool_bytes: i64,
    pub possible_gaps: i64,
}

/// Rows of the outbox by state.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, FromQueryResult)]
#[expect(missing_docs, reason = "they are the states")]
pub struct OutboundCounts {
    #[serde(skip)]
    pub config_key: String,
    pub pending: i64,
    pub published: i64,
    pub invalid: i64,
    pub error: i64,
    /// Age of the oldest pending row, by the database's clock.
    pub oldest_pending_seconds: Option<i64>,
    /// The earliest of all pending rows.
    pub next_retry_at: Option<String>,
    /// Whether the table is so long that `published` is an estimate, by samples.
    #[sea_orm(skip)]
    pub published_estimated: bool,
}

/// Rows of the inbox by state.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, FromQueryResult)]
#[expect(missing_docs, reason = "they are the states")]
pub struct InboundCounts {
    #[serde(skip)]
    pub config_key: String,
    pub pending: i64,
    pub processed: i64,
    pub error: i64,
    /// Whether the table is so long that `processed` is an estimate, by samples.
    #[sea_orm(skip)]
    pub processed_estimated: bool,
}

#[derive(FromQueryResult)]
struct ConfigRow {
    config_key: String,
    broker_type: String,
    is_active: bool,
    worker_status: Option<String>,
    last_heartbeat_at: Option<String>,
    last_error: Option<String>,
}

#[derive(FromQueryResult)]
struct QuarantineCount {
    config_key: String,
    quarantined: i64,
}

#[derive(FromQueryResult)]
struct FailedRows {
    config_key: String,
    invalid: i64,
    error: i64,
}

#[derive(FromQueryResult)]
struct Found {
    config_key: String,
    rows_found: i64,
}

/// How the configs are doing, one or all of them. Reads only, and of a long table not every row that is done with.
pub async fn status(db: &Database, config_key: Option<&str>) -> Result<Status, StoreError> {
    let mut workers: BTreeMap<String, Vec<WorkerEntry>> = BTreeMap::new();
    for worker in rows::<WorkerEntry>(db, WORKERS).await? {
        workers.entry(worker.config_key.clone()).or_default().push(worker);
    }
    let (outbox, inbox) =
        (Stretches::spread(db, OUTBOX).await?, Stretches::spread(db, INBOX).await?);
    let mut outbound = outbound(db, &outbox).await?;
    let mut inbound = inbound(db, &inbox).await?;
    let quarantined =
        by_key(rows(db, QUARANTINED).await?, |count: &QuarantineCount| count.config_key.clone());
    let mut maintenance = maintenance(db, &outbox, &inbox).await?;
    let mut configs = rows::<ConfigRow>(db, CONFIGS).await?;
    configs.retain(|config| config_key.is_none_or(|key| key == config.config_key));
    let configs = configs.into_iter().map(|config| ConfigStatus {
        workers: workers.remove(&config.config_key).unwrap_or_default(),
        outbound: outbound.remove(&config.config_key).unwrap_or_default(),
        inbound: inbound.remove(&config.config_key).unwrap_or_default(),
        quarantined: quarantined.get(&config.config_key).map_or(0, |count| count.quarantined),
        maintenance: maintenance
            .remove(&config.config_key)
            .unwrap_or_default()
            .where_expected(config.is_active),
        config_key: config.config_key,
        broker_type: config.broker_type,
        is_active: config.is_active,
        worker_status: config.worker_status,
        last_heartbeat_at: config.last_heartbeat_at,
        last_error: config.last_error,
    });
    Ok(Status { configs: configs.map(ConfigStatus::or_stale).collect() })
}

/// In one look at a table that is short enough for that.
async fn outbound(
    db: &Database,
    stretches: &Stretches,
) -> Result<BTreeMap<String, OutboundCounts>, StoreError> {
    let key = |counts: &OutboundCounts| counts.config_key.clone();
    if !stretches.are_samples() {
        return Ok(by_key(rows(db, OUTBOUND).await?, key));
    }
    let mut counts = by_key(rows(db, WAITING).await?, key);
    for FailedRows { config_key, invalid, error } in rows(db, FAILED).await? {
        let counts = counts.entry(config_key).or_default();
        (counts.invalid, counts.error) = (invalid, error);
    }
    for (Found { config_key, rows_found }, times) in stretches.rows(db, PUBLISHED).await? {
        counts.entry(config_key).or_default().published += rows_found * times;
    }
    for counts in counts.values_mut() {
        counts.published_estimated = true;
    }
    Ok(counts)
}

async fn inbound(
    db: &Database,
    stretches: &Stretches,
) -> Result<BTreeMap<String, InboundCounts>, StoreError> {
    if !stretches.are_samples() {
        return Ok(by_key(rows(db, INBOUND).await?, |counts: &InboundCounts| {
            counts.config_key.clone()
        }));
    }
    let mut counts: BTreeMap<String, InboundCounts> = BTreeMap::new();
    for Found { config_key, rows_found } in rows(db, WAITING_MESSAGES).await? {
        counts.entry(config_key).or_default().pending = rows_found;
    }
    for Found { config_key, rows_found } in rows(db, FAILED_MESSAGES).await? {
        counts.entry(config_key).or_default().error = rows_found;
    }
    for (Found { config_key, rows_found }, times) in stretches.rows(db, PROCESSED).await? {
        counts.entry(config_key).or_default().processed += rows_found * times;
    }
    for counts in counts.values_mut() {
        counts.processed_estimated = true;
    }
    Ok(counts)
}

async fn rows<T: FromQueryResult>(db: &Database, sql: Sql) -> Result<Vec<T>, StoreError> {
    found(db, sql.bind(db.dialect(), [])).await
}

fn by_key<T>(rows: Vec<T>, key: impl Fn(&T) -> String) -> BTreeMap<String, T> {
    rows.into_iter().map(|row| (key(&row), row)).collect()
}
