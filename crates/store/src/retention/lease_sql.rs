//! The statements of the lease by which one cleaner works at a time.

use crate::dialect::Sql;

/// Makes the row of a config that has none. Parameters: config key, time to its first run in milliseconds.
pub(crate) const CREATE: Sql = Sql {
    sqlite: "\
INSERT INTO event_bus_maintenance (config_key, next_run_at)
SELECT config_key, strftime('%Y-%m-%dT%H:%M:%fZ', 'now', printf('+%.3f seconds', $2 / 1000.0))
FROM event_bus_runtime_config WHERE config_key = $1
ON CONFLICT (config_key) DO NOTHING",
    postgres: "\
INSERT INTO event_bus_maintenance (config_key, next_run_at)
SELECT config_key, now() + $2 * interval '1 millisecond' FROM event_bus_runtime_config WHERE config_key = $1
ON CONFLICT (config_key) DO NOTHING",
    mysql: "\
INSERT IGNORE INTO event_bus_maintenance (config_key, next_run_at)
SELECT config_key, utc_timestamp(6) + INTERVAL $2 * 1000 MICROSECOND
FROM event_bus_runtime_config WHERE config_key = $1",
};

/// Parameters: config key, token, lease in milliseconds, whether it need not be due.
pub(crate) const TAKE: Sql = Sql {
    sqlite: "\
UPDATE event_bus_maintenance
SET lease_token = $2, leased_until = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', printf('+%.3f seconds', $3 / 1000.0)),
    last_started_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), last_result = 'running', deleted_published = 0,
    deleted_processed = 0, deleted_error = 0, deleted_invalid = 0, deleted_quarantined = 0, deleted_dedupe = 0
WHERE config_key = $1 AND ($4 OR next_run_at <= strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
  AND (leased_until IS NULL OR leased_until <= strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))",
    postgres: "\
UPDATE event_bus_maintenance
SET lease_token = $2, leased_until = now() + $3 * interval '1 millisecond',
    last_started_at = now(), last_result = 'running', deleted_published = 0,
    deleted_processed = 0, deleted_error = 0, deleted_invalid = 0, deleted_quarantined = 0, deleted_dedupe = 0
WHERE config_key = $1 AND ($4 OR next_run_at <= now()) AND (leased_until IS NULL OR leased_until <= now())",
    mysql: "\
UPDATE event_bus_maintenance
SET lease_token = $2, leased_until = utc_timestamp(6) + INTERVAL $3 * 1000 MICROSECOND,
    last_started_at = utc_timestamp(6), last_result = 'running', deleted_published = 0,
    deleted_processed = 0, deleted_error = 0, deleted_invalid = 0, deleted_quarantined = 0, deleted_dedupe = 0
WHERE config_key = $1 AND ($4 OR next_run_at <= utc_timestamp(6))
  AND (leased_until IS NULL OR leased_until <= utc_timestamp(6))",
};

/// Whole seconds until the lease may be there to take, rounded up. Parameter: config key.
pub(crate) const WAIT: Sql = Sql {
    sqlite: "\
SELECT 1 + max(0, CAST(strftime('%s', max(next_run_at, coalesce(leased_until, next_run_at))) AS INTEGER)
    - CAST(strftime('%s', 'now') AS INTEGER)) AS seconds
FROM event_bus_maintenance WHERE config_key = $1",
    postgres: "\
SELECT 1 + greatest(0, floor(extract(epoch FROM greatest(next_run_at, leased_until) - now())))::bigint AS seconds
FROM event_bus_maintenance WHERE config_key = $1",
    mysql: "\
SELECT 1 + greatest(0, timestampdiff(SECOND, utc_timestamp(6),
    greatest(next_run_at, coalesce(leased_until, next_run_at)))) AS seconds
FROM event_bus_maintenance WHERE config_key = $1",
};

/// Extends the lease and counts what is gone, unless the lease is somebody else's. Parameters: config key, token, lease in
/// milliseconds, rows of each kind.
pub(crate) const RENEW: Sql = Sql {
    sqlite: "\
UPDATE event_bus_maintenance
SET leased_until = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', printf('+%.3f seconds', $3 / 1000.0)),
    deleted_published = deleted_published + $4, deleted_processed = deleted_processed + $5,
    deleted_error = deleted_error + $6, deleted_invalid = deleted_invalid + $7,
    deleted_quarantined = deleted_quarantined + $8, deleted_dedupe = deleted_dedupe + $9
WHERE config_key = $1 AND lease_token = $2",
    postgres: "\
UPDATE event_bus_maintenance
SET leased_until = now() + $3 * interval '1 millisecond',
    deleted_published = deleted_published + $4, deleted_processed = deleted_processed + $5,
    deleted_error = deleted_error + $6, deleted_invalid = deleted_invalid + $7,
    deleted_quarantined = deleted_quarantined + $8, deleted_dedupe = deleted_dedupe + $9
WHERE config_key = $1 AND lease_token = $2",
    mysql: "\
UPDATE event_bus_maintenance
SET leased_until = utc_timestamp(6) + INTERVAL $3 * 1000 MICROSECOND,
    deleted_published = deleted_published + $4, deleted_processed = deleted_processed + $5,
    deleted_error = deleted_error + $6, deleted_invalid = deleted_invalid + $7,
    deleted_quarantined = deleted_quarantined + $8, deleted_dedupe = deleted_dedupe + $9
WHERE config_key = $1 AND lease_token = $2",
};

/// Parameters: config key, token, result, time to the next run in milliseconds or null to leave it.
pub(crate) const END: Sql = Sql {
    sqlite: "\
UPDATE event_bus_maintenance
SET lease_token = NULL, leased_until = NULL, last_finished_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), last_result = $3,
    next_run_at = coalesce(strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '+' || ($4 / 1000.0) || ' seconds'), next_run_at)
WHERE config_key = $1 AND lease_token = $2",
    postgres: "\
UPDATE event_bus_maintenance
SET lease_token = NULL, leased_until = NULL, last_finished_at = now(), last_result = $3,
    next_run_at = coalesce(now() + $4 * interval '1 millisecond', next_run_at)
WHERE config_key = $1 AND lease_token = $2",
    mysql: "\
UPDATE event_bus_maintenance
SET lease_token = NULL, leased_until = NULL, last_finished_at = utc_timestamp(6), last_result = $3,
    next_run_at = coalesce(utc_timestamp(6) + INTERVAL $4 * 1000 MICROSECOND, next_run_at)
WHERE config_key = $1 AND lease_token = $2",
};
