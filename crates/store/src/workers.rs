//! The list of live workers.

use postroad_worker_core::{Heartbeat, Others, StoreError, WorkerRegistry};
use sea_orm::{ConnectionTrait, DbErr, Value};

use crate::dialect::{Dialect, Sql};
use crate::fault::ask_again;
use crate::sql_store::SqlStore;
use crate::text::note;

/// Parameters: id, status, error, the counts.
const BEAT: Sql = Sql {
    sqlite: "\
UPDATE event_bus_worker
SET status = $2, last_error = $3, published = $4, refused = $5, invalid = $6, received = $7, duplicates = $8,
    quarantined = $9, lease_lost = $10, disconnects = $11, spool_messages = $12, spool_bytes = $13,
    possible_gaps = $14, last_heartbeat_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
WHERE id = $1",
    postgres: "\
UPDATE event_bus_worker
SET status = $2, last_error = $3, published = $4, refused = $5, invalid = $6, received = $7, duplicates = $8,
    quarantined = $9, lease_lost = $10, disconnects = $11, spool_messages = $12, spool_bytes = $13,
    possible_gaps = $14, last_heartbeat_at = now()
WHERE id = $1::uuid",
    mysql: "\
UPDATE event_bus_worker
SET status = $2, last_error = $3, published = $4, refused = $5, invalid = $6, received = $7, duplicates = $8,
    quarantined = $9, lease_lost = $10, disconnects = $11, spool_messages = $12, spool_bytes = $13,
    possible_gaps = $14, last_heartbeat_at = utc_timestamp(6)
WHERE id = $1",
};

/// [`BEAT`] and [`MIRROR`] at once, one question for a worker that has nothing else to ask; it touches nothing where the worker
/// is not known. Parameters: those of `BEAT`, config key. SQLite changes one table at a time.
const BEAT_AND_MIRROR_IN_POSTGRES: &str = "\
WITH mirror AS (
    UPDATE event_bus_runtime_config SET worker_status = $2, last_error = $3, last_heartbeat_at = now()
    WHERE config_key = $15 AND EXISTS (SELECT 1 FROM event_bus_worker WHERE id = $1::uuid)
)
UPDATE event_bus_worker
SET status = $2, last_error = $3, published = $4, refused = $5, invalid = $6, received = $7, duplicates = $8,
    quarantined = $9, lease_lost = $10, disconnects = $11, spool_messages = $12, spool_bytes = $13,
    possible_gaps = $14, last_heartbeat_at = now()
WHERE id = $1::uuid";

/// The same.
const BEAT_AND_MIRROR_IN_MYSQL: &str = "\
UPDATE event_bus_worker AS w LEFT JOIN event_bus_runtime_config AS c ON c.config_key = $15
SET w.status = $2, w.last_error = $3, w.published = $4, w.refused = $5, w.invalid = $6, w.received = $7,
    w.duplicates = $8, w.quarantined = $9, w.lease_lost = $10, w.disconnects = $11, w.spool_messages = $12,
    w.spool_bytes = $13, w.possible_gaps = $14, w.last_heartbeat_at = utc_timestamp(6),
    c.worker_status = $2, c.last_error = $3, c.last_heartbeat_at = utc_timestamp(6)
WHERE w.id = $1";

/// Parameters: id, status, config key, host, pid, version.
const REGISTER: Sql = Sql {
    sqlite: "\
INSERT INTO event_bus_worker (id, status, config_key, host, pid, version) VALUES ($1, $2, $3, $4, $5, $6)",
    postgres: "\
INSERT INTO event_bus_worker (id, status, config_key, host, pid, version) VALUES ($1::uuid, $2, $3, $4, $5, $6)",
    mysql: "\
INSERT INTO event_bus_worker (id, status, config_key, host, pid, version) VALUES ($1, $2, $3, $4, $5, $6)",
};

const CLEAR_AWAY: Sql = Sql {
    sqlite: "\
DELETE FROM event_bus_worker
WHERE status = 'stopped' OR last_heartbeat_at < strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-1 day')",
    postgres: "\
DELETE FROM event_bus_worker WHERE status = 'stopped' OR last_heartbeat_at < now() - interval '1 day'",
    mysql: "\
DELETE FROM event_bus_worker WHERE status = 'stopped' OR last_heartbeat_at < utc_timestamp(6) - INTERVAL 1 DAY",
};

/// Parameters: config key, status, error.
const MIRROR: Sql = Sql {
    sqlite: "\
UPDATE event_bus_runtime_config
SET worker_status = $2, last_error = $3, last_heartbeat_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
WHERE config_key = $1",
    postgres: "\
UPDATE event_bus_runtime_config SET worker_status = $2, last_error = $3, last_heartbeat_at = now()
WHERE config_key = $1",
    mysql: "\
UPDATE event_bus_runtime_config SET worker_status = $2, last_error = $3, last_heartbeat_at = utc_timestamp(6)
WHERE config_key = $1",
};

/// The other workers that go on, and the last heartbeat of those of them that take messages in as far as it tells. One that was
/// stopped says so itself, one that was killed says nothing for three heartbeats. Parameters: config key, id.
const OTHERS: Sql = Sql {
    sqlite: "\
SELECT count(*) AS others,
    max(CASE WHEN w.status = 'running' AND w.received + w.duplicates + w.quarantined > 0
        THEN w.last_heartbeat_at END) AS latest
FROM event_bus_worker AS w JOIN event_bus_runtime_config AS c ON c.config_key = w.config_key
WHERE w.config_key = $1 AND w.id <> $2 AND w.status IN ('starting', 'running', 'reconnecting')
  AND w.last_heartbeat_at >= strftime('%Y-%m-%dT%H:%M:%fZ', 'now',
    printf('-%d seconds', 3 * c.heartbeat_interval_seconds))",
    postgres: "\
SELECT count(*) AS others,
    max(CASE WHEN w.status = 'running' AND w.received + w.duplicates + w.quarantined > 0
        THEN w.last_heartbeat_at END)::text AS latest
FROM event_bus_worker AS w JOIN event_bus_runtime_config AS c ON c.config_key = w.config_key
WHERE w.config_key = $1 AND w.id <> $2::uuid AND w.status IN ('starting', 'running', 'reconnecting')
  AND w.last_heartbeat_at >= now() - 3 * c.heartbeat_interval_seconds * interval '1 second'",
    mysql: "\
SELECT count(*) AS others,
    CAST(max(CASE WHEN w.status = 'running' AND w.received + w.duplicates + w.quarantined > 0
        THEN w.last_heartbeat_at END) AS char) AS latest
FROM event_bus_worker AS w JOIN event_bus_runtime_config AS c ON c.config_key = w.config_key
WHERE w.config_key = $1 AND w.id <> $2 AND w.status IN ('starting', 'running', 'reconnecting')
  AND w.last_heartbeat_at >= utc_timestamp(6) - INTERVAL 3 * c.heartbeat_interval_seconds SECOND",
};

impl WorkerRegistry for SqlStore {
    async fn heartbeat(&self, heartbeat: &Heartbeat) -> Result<(), StoreError> {
        ask_again(|| self.try_heartbeat(heartbeat)).await
    }

    async fn others(&self, worker_id: &str) -> Result<Others, StoreError> {
        let ask = || async {
            let values = [self.config_key().into(), worker_id.into()];
            let statement = OTHERS.bind(self.database().dialect(), values);
            let row = self.database().query_one(statement).await?;
            let Some(row) = row else { return Ok(Others::default()) };
            let others: i64 = row.try_get("", "others")?;
            Ok(Others { any: others > 0, last_sign: row.try_get("", "latest")? })
        };
        ask_again(ask).await
    }
}

impl SqlStore {
    async fn try_heartbeat(&self, heartbeat: &Heartbeat) -> Result<(), DbErr> {
        let dialect = self.database().dialect();
        let at_once = match dialect {
            Dialect::Sqlite => None,
            Dialect::Postgres => Some(BEAT_AND_MIRROR_IN_POSTGRES),
            Dialect::MySql => Some(BEAT_AND_MIRROR_IN_MYSQL),
        };
        if let Some(text) = at_once {
            let mut values = beat(heartbeat).to_vec();
            values.push(self.config_key().into());
            let statement = dialect.statement(text, values);
            if self.database().execute(statement).await? > 0 {
                return Ok(());
            }
        }
        let transaction = self.database().begin_own().await?;
        let known =
            transaction.execute_raw(BEAT.bind(dialect, beat(heartbeat))).await?.rows_affected() > 0;
        if !known {
            transaction.execute_raw(CLEAR_AWAY.bind(dialect, [])).await?;
            transaction.execute_raw(REGISTER.bind(dialect, self.registration(heartbeat))).await?;
            transaction.execute_raw(BEAT.bind(dialect, beat(heartbeat))).await?;
        }
        let mirrored =
            [self.config_key().into(), heartbeat.status.as_str().into(), error(heartbeat)];
        transaction.execute_raw(MIRROR.bind(dialect, mirrored)).await?;
        transaction.commit().await
    }

    fn registration(&self, heartbeat: &Heartbeat) -> [Value; 6] {
        let worker = &heartbeat.worker;
        [
            worker.id.as_str().into(),
            heartbeat.status.as_str().into(),
            self.config_key().into(),
            note(&worker.host).into(),
            i64::from(worker.pid).into(),
            note(&worker.version).into(),
        ]
    }
}

fn beat(heartbeat: &Heartbeat) -> [Value; 14] {
    let counts = heartbeat.counts;
    [
        heartbeat.worker.id.as_str().into(),
        heartbeat.status.as_str().into(),
        error(heartbeat),
        count(counts.published),
        count(counts.refused),
        count(counts.invalid),
        count(counts.received),
        count(counts.duplicates),
        count(counts.quarantined),
        count(counts.lease_lost),
        count(counts.disconnects),
        count(counts.spool_messages),
        count(counts.spool_bytes),
        count(counts.possible_gaps),
    ]
}

fn error(heartbeat: &Heartbeat) -> Value {
    heartbeat.last_error.as_deref().map(note).into()
}

fn count(total: u64) -> Value {
    i64::try_from(total).unwrap_or(i64::MAX).into()
}
