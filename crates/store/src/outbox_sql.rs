//! The statements of the outbox that are the same in every database.

use crate::dialect::Sql;

/// Whether a claim might find something: a row that is due, or one with an ordering key, due or not. Parameter: config key.
pub(crate) const PEEK: Sql = Sql {
    sqlite: "\
SELECT EXISTS (
    SELECT 1 FROM outbound_event
    WHERE config_key = $1 AND status = 'pending' AND ordering_key IS NULL
      AND due_at <= strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
) OR EXISTS (
    SELECT 1 FROM outbound_event WHERE config_key = $1 AND status = 'pending' AND ordering_key IS NOT NULL
) AS found",
    postgres: "\
SELECT (EXISTS (
    SELECT 1 FROM outbound_event
    WHERE config_key = $1 AND status = 'pending' AND ordering_key IS NULL AND due_at <= now()
) OR EXISTS (
    SELECT 1 FROM outbound_event WHERE config_key = $1 AND status = 'pending' AND ordering_key IS NOT NULL
))::integer::bigint AS found",
    mysql: "\
SELECT EXISTS (
    SELECT 1 FROM outbound_event FORCE INDEX (outbound_event_due)
    WHERE due_config = $1 AND due_at <= utc_timestamp(6)
) OR EXISTS (
    SELECT 1 FROM outbound_event FORCE INDEX (outbound_event_ordering)
    WHERE ordering_turn > $1 AND ordering_turn < concat($1, char(1 USING utf8mb4))
) AS found",
};

/// Parameters: token, lease in milliseconds.
pub(crate) const RENEW: Sql = Sql {
    sqlite: "\
UPDATE outbound_event
SET claimed_until = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', printf('+%.3f seconds', $2 / 1000.0))
WHERE claim_token = $1 AND status = 'pending'",
    postgres: "\
UPDATE outbound_event SET claimed_until = now() + $2 * interval '1 millisecond'
WHERE claim_token = $1 AND status = 'pending'",
    mysql: "\
UPDATE outbound_event SET claimed_until = utc_timestamp(6) + INTERVAL $2 * 1000 MICROSECOND
WHERE claim_token = $1 AND status = 'pending'",
};

/// Parameters: token, primary keys, remark.
pub(crate) const SETTLE_PUBLISHED: Sql = Sql {
    sqlite: "\
UPDATE outbound_event
SET status = 'published', published = 1, published_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), next_retry_at = NULL,
    last_error = $3, claim_token = NULL, claimed_until = NULL, updated_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
WHERE claim_token = $1 AND status = 'pending' AND seq IN (SELECT value FROM json_each($2))",
    postgres: "\
UPDATE outbound_event
SET status = 'published', published = true, published_at = now(), next_retry_at = NULL,
    last_error = $3::text, claim_token = NULL, claimed_until = NULL, updated_at = now()
WHERE claim_token = $1 AND status = 'pending' AND seq = ANY($2)",
    mysql: "\
UPDATE JSON_TABLE($2, '$[*]' COLUMNS (seq bigint PATH '$')) AS sent
STRAIGHT_JOIN outbound_event AS o FORCE INDEX (PRIMARY) ON o.seq = sent.seq
SET o.status = 'published', o.published = true, o.published_at = utc_timestamp(6), o.next_retry_at = NULL,
    o.last_error = $3, o.claim_token = NULL, o.claimed_until = NULL, o.updated_at = utc_timestamp(6)
WHERE o.claim_token = $1 AND o.status = 'pending'",
};

/// Instead of [`SETTLE_PUBLISHED`], where published rows are not kept. Parameters: token, primary keys.
pub(crate) const SETTLE_DELETED: Sql = Sql {
    sqlite: "\
DELETE FROM outbound_event
WHERE claim_token = $1 AND status = 'pending' AND seq IN (SELECT value FROM json_each($2))",
    postgres: "DELETE FROM outbound_event WHERE claim_token = $1 AND status = 'pending' AND seq = ANY($2)",
    mysql: "\
DELETE o FROM JSON_TABLE($2, '$[*]' COLUMNS (seq bigint PATH '$')) AS sent
STRAIGHT_JOIN outbound_event AS o ON o.seq = sent.seq
WHERE o.claim_token = $1 AND o.status = 'pending'",
};

/// Parameters: token, JSON list of `seq`, `status` and `error`.
pub(crate) const SETTLE_ENDED: Sql = Sql {
    sqlite: "\
UPDATE outbound_event
SET status = ended.value ->> 'status', last_error = ended.value ->> 'error', next_retry_at = NULL,
    claim_token = NULL, claimed_until = NULL, updated_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
FROM json_each($2) AS ended
WHERE claim_token = $1 AND outbound_event.status = 'pending' AND seq = ended.value ->> 'seq'",
    postgres: "\
UPDATE outbound_event AS o
SET status = ended.status, last_error = ended.error,
    next_retry_at = NULL, claim_token = NULL, claimed_until = NULL, updated_at = now()
FROM json_to_recordset($2::json) AS ended (seq bigint, status text, error text)
WHERE o.claim_token = $1 AND o.status = 'pending' AND o.seq = ended.seq",
    mysql: "\
UPDATE JSON_TABLE($2, '$[*]' COLUMNS (seq bigint PATH '$.seq',
    status varchar(16) CHARACTER SET utf8mb4 PATH '$.status',
    error text CHARACTER SET utf8mb4 PATH '$.error')) AS ended
STRAIGHT_JOIN outbound_event AS o FORCE INDEX (PRIMARY) ON o.seq = ended.seq
SET o.status = ended.status, o.last_error = ended.error, o.next_retry_at = NULL,
    o.claim_token = NULL, o.claimed_until = NULL, o.updated_at = utc_timestamp(6)
WHERE o.claim_token = $1 AND o.status = 'pending'",
};

/// Parameters: token, JSON list of `seq`, `delay_ms` and `error`. A row with a delay was tried, one without was not.
pub(crate) const SETTLE_PENDING: Sql = Sql {
    sqlite: "\
UPDATE outbound_event
SET retry_count = retry_count + (again.value ->> 'delay_ms' IS NOT NULL),
    next_retry_at = CASE WHEN again.value ->> 'delay_ms' IS NULL THEN next_retry_at ELSE strftime(
        '%Y-%m-%dT%H:%M:%fZ', 'now', printf('+%.3f seconds', (again.value ->> 'delay_ms') / 1000.0)) END,
    last_error = coalesce(again.value ->> 'error', last_error),
    claim_token = NULL, claimed_until = NULL, updated_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
FROM json_each($2) AS again
WHERE claim_token = $1 AND status = 'pending' AND seq = again.value ->> 'seq'",
    postgres: "\
UPDATE outbound_event AS o
SET retry_count = o.retry_count + (again.delay_ms IS NOT NULL)::integer,
    next_retry_at = coalesce(now() + again.delay_ms * interval '1 millisecond', o.next_retry_at),
    last_error = coalesce(again.error, o.last_error),
    claim_token = NULL, claimed_until = NULL, updated_at = now()
FROM json_to_recordset($2::json) AS again (seq bigint, delay_ms bigint, error text)
WHERE o.claim_token = $1 AND o.status = 'pending' AND o.seq = again.seq",
    mysql: "\
UPDATE JSON_TABLE($2, '$[*]' COLUMNS (seq bigint PATH '$.seq', delay_ms bigint PATH '$.delay_ms',
    error text CHARACTER SET utf8mb4 PATH '$.error')) AS again
STRAIGHT_JOIN outbound_event AS o FORCE INDEX (PRIMARY) ON o.seq = again.seq
SET o.retry_count = o.retry_count + (again.delay_ms IS NOT NULL),
    o.next_retry_at = coalesce(utc_timestamp(6) + INTERVAL again.delay_ms * 1000 MICROSECOND, o.next_retry_at),
    o.last_error = coalesce(again.error, o.last_error),
    o.claim_token = NULL, o.claimed_until = NULL, o.updated_at = utc_timestamp(6)
WHERE o.claim_token = $1 AND o.status = 'pending'",
};
