//! The statements of cleaning up.
//!
//! A row is done with since it was published or, where it never was, since it was written last; a message since it was
//! processed or, where no column says when, since it came.

use crate::dialect::Sql;

/// Times before which each kind is deleted, by the database's clock; null where it is kept for ever. Parameter: config key.
pub(crate) const CUTOFFS: Sql = Sql {
    sqlite: "\
SELECT strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-' || retention_days_published || ' days') AS published,
    strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-' || retention_days_processed || ' days') AS processed,
    strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-' || retention_days_error || ' days') AS error,
    strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-' || retention_days_invalid || ' days') AS invalid,
    strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-' || retention_days_quarantined || ' days') AS quarantined,
    strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-' || retention_days_dedupe || ' days') AS dedupe
FROM event_bus_runtime_config WHERE config_key = $1",
    postgres: "\
SELECT to_char(utc - retention_days_published * interval '1 day', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') AS published,
    to_char(utc - retention_days_processed * interval '1 day', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') AS processed,
    to_char(utc - retention_days_error * interval '1 day', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') AS error,
    to_char(utc - retention_days_invalid * interval '1 day', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') AS invalid,
    to_char(utc - retention_days_quarantined * interval '1 day', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') AS quarantined,
    to_char(utc - retention_days_dedupe * interval '1 day', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') AS dedupe
FROM event_bus_runtime_config CROSS JOIN (SELECT now() AT TIME ZONE 'UTC' AS utc) AS clock WHERE config_key = $1",
    mysql: "\
SELECT date_format(utc_timestamp(6) - INTERVAL retention_days_published DAY, '%Y-%m-%dT%H:%i:%s.%f') AS published,
    date_format(utc_timestamp(6) - INTERVAL retention_days_processed DAY, '%Y-%m-%dT%H:%i:%s.%f') AS processed,
    date_format(utc_timestamp(6) - INTERVAL retention_days_error DAY, '%Y-%m-%dT%H:%i:%s.%f') AS error,
    date_format(utc_timestamp(6) - INTERVAL retention_days_invalid DAY, '%Y-%m-%dT%H:%i:%s.%f') AS invalid,
    date_format(utc_timestamp(6) - INTERVAL retention_days_quarantined DAY, '%Y-%m-%dT%H:%i:%s.%f') AS quarantined,
    date_format(utc_timestamp(6) - INTERVAL retention_days_dedupe DAY, '%Y-%m-%dT%H:%i:%s.%f') AS dedupe
FROM event_bus_runtime_config WHERE config_key = $1",
};

/// The next rows of a walk along the primary key: which are due, by the state that makes them so, and which are old enough to
/// be. Parameters: config key, last row seen, limit, cutoffs of published, invalid and error, the latest of them.
pub(crate) const LOOK_OUTBOX: Sql = Sql {
    sqlite: "\
SELECT seq,
    CASE WHEN config_key = $1 AND strftime('%Y-%m-%dT%H:%M:%fZ', coalesce(published_at, updated_at))
        < CASE status WHEN 'published' THEN $4 WHEN 'invalid' THEN $5 WHEN 'error' THEN $6 END THEN status END AS due,
    strftime('%Y-%m-%dT%H:%M:%fZ', enqueued_at) < $7 AS is_old
FROM outbound_event WHERE seq > $2 ORDER BY seq LIMIT $3",
    postgres: "\
SELECT seq,
    CASE WHEN config_key = $1 AND coalesce(published_at, updated_at) < CASE status
        WHEN 'published' THEN $4::timestamptz WHEN 'invalid' THEN $5::timestamptz WHEN 'error' THEN $6::timestamptz
    END THEN status END AS due,
    enqueued_at < $7::timestamptz AS is_old
FROM outbound_event WHERE seq > $2 ORDER BY seq LIMIT $3",
    mysql: "\
SELECT seq,
    CASE WHEN config_key = $1 AND coalesce(published_at, updated_at) < CASE status
        WHEN 'published' THEN CAST($4 AS datetime(6)) WHEN 'invalid' THEN CAST($5 AS datetime(6))
        WHEN 'error' THEN CAST($6 AS datetime(6))
    END THEN status END AS due,
    enqueued_at < CAST($7 AS datetime(6)) AS is_old
FROM outbound_event WHERE seq > $2 ORDER BY seq LIMIT $3",
};

/// The same of the inbox. Parameters: config key, last row seen, limit, cutoffs of processed and error, the later one.
pub(crate) const LOOK_INBOX: Sql = Sql {
    sqlite: "\
SELECT seq,
    CASE WHEN config_key = $1 AND strftime('%Y-%m-%dT%H:%M:%fZ', coalesce(processed_at, enqueued_at))
        < CASE status WHEN 'processed' THEN $4 WHEN 'error' THEN $5 END THEN status END AS due,
    strftime('%Y-%m-%dT%H:%M:%fZ', enqueued_at) < $6 AS is_old
FROM inbound_event WHERE seq > $2 ORDER BY seq LIMIT $3",
    postgres: "\
SELECT seq,
    CASE WHEN config_key = $1 AND coalesce(processed_at, enqueued_at) < CASE status
        WHEN 'processed' THEN $4::timestamptz WHEN 'error' THEN $5::timestamptz
    END THEN status END AS due,
    enqueued_at < $6::timestamptz AS is_old
FROM inbound_event WHERE seq > $2 ORDER BY seq LIMIT $3",
    mysql: "\
SELECT seq,
    CASE WHEN config_key = $1 AND coalesce(processed_at, enqueued_at) < CASE status
        WHEN 'processed' THEN CAST($4 AS datetime(6)) WHEN 'error' THEN CAST($5 AS datetime(6))
    END THEN status END AS due,
    enqueued_at < CAST($6 AS datetime(6)) AS is_old
FROM inbound_event WHERE seq > $2 ORDER BY seq LIMIT $3",
};

/// Deletes rows that were found due, unless somebody changed them meanwhile. Parameters: primary keys, state, its cutoff.
pub(crate) const DELETE_OUTBOX: Sql = Sql {
    sqlite: "\
DELETE FROM outbound_event
WHERE seq IN (SELECT value FROM json_each($1)) AND status = $2
  AND strftime('%Y-%m-%dT%H:%M:%fZ', coalesce(published_at, updated_at)) < $3",
    postgres: "\
DELETE FROM outbound_event
WHERE seq = ANY($1) AND status = $2 AND coalesce(published_at, updated_at) < $3::timestamptz",
    mysql: "\
DELETE o FROM JSON_TABLE($1, '$[*]' COLUMNS (seq bigint PATH '$')) AS due
STRAIGHT_JOIN outbound_event AS o ON o.seq = due.seq
WHERE o.status = $2 AND coalesce(o.published_at, o.updated_at) < CAST($3 AS datetime(6))",
};

/// The same of the inbox.
pub(crate) const DELETE_INBOX: Sql = Sql {
    sqlite: "\
DELETE FROM inbound_event
WHERE seq IN (SELECT value FROM json_each($1)) AND status = $2
  AND strftime('%Y-%m-%dT%H:%M:%fZ', coalesce(processed_at, enqueued_at)) < $3",
    postgres: "\
DELETE FROM inbound_event
WHERE seq = ANY($1) AND status = $2 AND coalesce(processed_at, enqueued_at) < $3::timestamptz",
    mysql: "\
DELETE o FROM JSON_TABLE($1, '$[*]' COLUMNS (seq bigint PATH '$')) AS due
STRAIGHT_JOIN inbound_event AS o ON o.seq = due.seq
WHERE o.status = $2 AND coalesce(o.processed_at, o.enqueued_at) < CAST($3 AS datetime(6))",
};

/// Parameters: config key, cutoff, limit.
pub(crate) const DELETE_QUARANTINED: Sql = Sql {
    sqlite: "\
DELETE FROM quarantined_message WHERE id IN (
    SELECT id FROM quarantined_message WHERE config_key = $1 AND received_at < $2 ORDER BY received_at LIMIT $3)",
    postgres: "\
DELETE FROM quarantined_message WHERE id IN (
    SELECT id FROM quarantined_message WHERE config_key = $1 AND received_at < $2::timestamptz
    ORDER BY received_at LIMIT $3)",
    mysql: "\
DELETE FROM quarantined_message WHERE config_key = $1 AND received_at < CAST($2 AS datetime(6))
ORDER BY received_at LIMIT $3",
};

/// The next notes of messages that came, oldest first, and whether their row is gone. Parameters: config key, cutoff, time and
/// key (in hex) of the last one seen, limit. A value for each note, since for `EXISTS` PostgreSQL may read the whole inbox.
pub(crate) const LOOK_DEDUPE: Sql = Sql {
    sqlite: "\
SELECT lower(hex(d.dedupe_key)) AS k, d.created_at AS created,
    (SELECT e.seq FROM inbound_event AS e WHERE e.id = d.inbound_id) IS NULL AS is_due
FROM inbound_dedupe AS d
WHERE d.config_key = $1 AND d.created_at < $2 AND d.created_at >= $3
  AND (d.created_at > $3 OR d.dedupe_key > unhex($4))
ORDER BY d.created_at, d.dedupe_key LIMIT $5",
    postgres: "\
SELECT encode(d.dedupe_key, 'hex') AS k,
    to_char(d.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') AS created,
    (SELECT e.seq FROM inbound_event AS e WHERE e.id = d.inbound_id) IS NULL AS is_due
FROM inbound_dedupe AS d
WHERE d.config_key = $1 AND d.created_at < $2::timestamptz AND d.created_at >= $3::timestamptz
  AND (d.created_at > $3::timestamptz OR d.dedupe_key > decode($4, 'hex'))
ORDER BY d.created_at, d.dedupe_key LIMIT $5",
    mysql: "\
SELECT lower(hex(d.dedupe_key)) AS k, date_format(d.created_at, '%Y-%m-%dT%H:%i:%s.%f') AS created,
    (SELECT e.seq FROM inbound_event AS e WHERE e.id = d.inbound_id) IS NULL AS is_due
FROM inbound_dedupe AS d
WHERE d.config_key = $1 AND d.created_at < CAST($2 AS datetime(6)) AND d.created_at >= CAST($3 AS datetime(6))
  AND (d.created_at > CAST($3 AS datetime(6)) OR d.dedupe_key > unhex($4))
ORDER BY d.created_at, d.dedupe_key LIMIT $5",
};

/// Parameter: JSON list of keys in hex, sorted, so that a cleaner and an intake wait for each other in one order. A note whose
/// row is there stays: it was made anew meanwhile.
pub(crate) const DELETE_DEDUPE: Sql = Sql {
    sqlite: "\
DELETE FROM inbound_dedupe
WHERE dedupe_key IN (SELECT unhex(value) FROM json_each($1))
  AND NOT EXISTS (SELECT 1 FROM inbound_event AS e WHERE e.id = inbound_dedupe.inbound_id)",
    postgres: "\
DELETE FROM inbound_dedupe AS d
WHERE d.dedupe_key IN (SELECT decode(value, 'hex') FROM json_array_elements_text($1::json))
  AND NOT EXISTS (SELECT 1 FROM inbound_event AS e WHERE e.id = d.inbound_id)",
    mysql: "\
DELETE d FROM JSON_TABLE($1, '$[*]' COLUMNS (k varchar(64) CHARACTER SET utf8mb4 PATH '$')) AS due
STRAIGHT_JOIN inbound_dedupe AS d ON d.dedupe_key = unhex(due.k)
WHERE NOT EXISTS (SELECT 1 FROM inbound_event AS e WHERE e.id = d.inbound_id)",
};
