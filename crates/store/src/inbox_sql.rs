//! The statements of the inbox and of quarantine.

use crate::dialect::Sql;

/// Notes messages as seen, and returns the ids of those that were not seen before; MySQL returns nothing from an insert,
/// there [`CLAIMED_KEYS`] tells. Parameters: config key, JSON list of `key`, `digest` (both in hex) and `id`, sorted by
/// key, so that two workers wait for each other in one order.
pub(crate) const CLAIM_KEYS: Sql = Sql {
    sqlite: "\
INSERT INTO inbound_dedupe (dedupe_key, payload_digest, inbound_id, config_key)
SELECT unhex(seen.value ->> 'key'), unhex(seen.value ->> 'digest'), seen.value ->> 'id', $1
FROM json_each($2) AS seen
WHERE true
ON CONFLICT (dedupe_key) DO NOTHING
RETURNING inbound_id AS id",
    postgres: "\
INSERT INTO inbound_dedupe (dedupe_key, payload_digest, inbound_id, config_key)
SELECT decode(seen.key, 'hex'), decode(seen.digest, 'hex'), seen.id, $1
FROM json_to_recordset($2::json) AS seen (key text, digest text, id uuid)
ON CONFLICT (dedupe_key) DO NOTHING
RETURNING inbound_id::text AS id",
    mysql: "\
INSERT INTO inbound_dedupe (dedupe_key, payload_digest, inbound_id, config_key)
SELECT unhex(seen.k), unhex(seen.digest), seen.id, $1
FROM JSON_TABLE($2, '$[*]' COLUMNS (
    k varchar(64) CHARACTER SET utf8mb4 PATH '$.key', digest varchar(64) CHARACTER SET utf8mb4 PATH '$.digest',
    id varchar(36) CHARACTER SET utf8mb4 PATH '$.id')) AS seen
ON DUPLICATE KEY UPDATE dedupe_key = inbound_dedupe.dedupe_key",
};

/// Where an insert returns nothing: the ids of the messages as they were noted, to be compared with one's own.
/// Parameter: the same list.
pub(crate) const CLAIMED_KEYS: &str = "\
SELECT d.inbound_id AS id
FROM JSON_TABLE($1, '$[*]' COLUMNS (k varchar(64) CHARACTER SET utf8mb4 PATH '$.key')) AS seen
STRAIGHT_JOIN inbound_dedupe AS d ON d.dedupe_key = unhex(seen.k)";

/// Parameters: config key, JSON list of rows in the order in which they came.
pub(crate) const INSERT_ROWS: Sql = Sql {
    sqlite: "\
INSERT INTO inbound_event (config_key, id, message_id, topic, request_id, message_type, message_status, event_type,
    reply_to, source_service, parent_request_id, chain_depth, payload, headers)
SELECT $1, r.value ->> 'id', r.value ->> 'message_id', r.value ->> 'topic', r.value ->> 'request_id',
    r.value ->> 'message_type', r.value ->> 'message_status', r.value ->> 'event_type', r.value ->> 'reply_to',
    r.value ->> 'source_service', r.value ->> 'parent_request_id', r.value ->> 'chain_depth',
    r.value ->> 'payload', r.value ->> 'headers'
FROM json_each($2) AS r",
    postgres: "\
INSERT INTO inbound_event (config_key, id, message_id, topic, request_id, message_type, message_status, event_type,
    reply_to, source_service, parent_request_id, chain_depth, payload, headers)
SELECT $1, r.id, r.message_id, r.topic, r.request_id, r.message_type, r.message_status, r.event_type,
    r.reply_to, r.source_service, r.parent_request_id, r.chain_depth, r.payload::jsonb, r.headers::jsonb
FROM json_to_recordset($2::json) AS r (id uuid, message_id text, topic text, request_id text, message_type text,
    message_status text, event_type text, reply_to text, source_service text, parent_request_id text,
    chain_depth bigint, payload text, headers text)",
    mysql: "\
INSERT INTO inbound_event (config_key, id, message_id, topic, request_id, message_type, message_status, event_type,
    reply_to, source_service, parent_request_id, chain_depth, payload, headers)
SELECT $1, r.id, r.message_id, r.topic, r.request_id, r.message_type, r.message_status, r.event_type,
    r.reply_to, r.source_service, r.parent_request_id, r.chain_depth, r.payload, r.headers
FROM JSON_TABLE($2, '$[*]' COLUMNS (
    id varchar(36) CHARACTER SET utf8mb4 PATH '$.id', message_id text CHARACTER SET utf8mb4 PATH '$.message_id',
    topic mediumtext CHARACTER SET utf8mb4 PATH '$.topic', request_id text CHARACTER SET utf8mb4 PATH '$.request_id',
    message_type varchar(16) CHARACTER SET utf8mb4 PATH '$.message_type',
    message_status varchar(16) CHARACTER SET utf8mb4 PATH '$.message_status',
    event_type text CHARACTER SET utf8mb4 PATH '$.event_type', reply_to text CHARACTER SET utf8mb4 PATH '$.reply_to',
    source_service text CHARACTER SET utf8mb4 PATH '$.source_service',
    parent_request_id text CHARACTER SET utf8mb4 PATH '$.parent_request_id', chain_depth bigint PATH '$.chain_depth',
    payload longtext CHARACTER SET utf8mb4 PATH '$.payload', headers longtext CHARACTER SET utf8mb4 PATH '$.headers'
)) AS r",
};

/// What is known of messages seen before. Parameter: JSON list of keys in hex. `payload` is null where the row is gone.
pub(crate) const KNOWN: Sql = Sql {
    sqlite: "\
SELECT lower(hex(d.dedupe_key)) AS key, lower(hex(d.payload_digest)) AS digest, e.payload AS payload
FROM inbound_dedupe AS d LEFT JOIN inbound_event AS e ON e.id = d.inbound_id
WHERE d.dedupe_key IN (SELECT unhex(value) FROM json_each($1))",
    postgres: "\
SELECT encode(d.dedupe_key, 'hex') AS key, encode(d.payload_digest, 'hex') AS digest, e.payload::text AS payload
FROM inbound_dedupe AS d LEFT JOIN inbound_event AS e ON e.id = d.inbound_id
WHERE d.dedupe_key IN (SELECT decode(value, 'hex') FROM json_array_elements_text($1::json))",
    mysql: "\
SELECT lower(hex(d.dedupe_key)) AS `key`, lower(hex(d.payload_digest)) AS digest, e.payload AS payload
FROM JSON_TABLE($1, '$[*]' COLUMNS (k varchar(64) CHARACTER SET utf8mb4 PATH '$')) AS seen
STRAIGHT_JOIN inbound_dedupe AS d ON d.dedupe_key = unhex(seen.k)
LEFT JOIN inbound_event AS e ON e.id = d.inbound_id",
};

/// A row where a message is in quarantine already. Parameter: its digest.
pub(crate) const IS_KEPT: Sql =
    Sql::same("SELECT id FROM quarantined_message WHERE arrival_digest = $1 LIMIT 1");

/// Parameter: the id of a row of `quarantined_message`.
pub(crate) const DELETE_KEPT: Sql = Sql {
    sqlite: "DELETE FROM quarantined_message WHERE id = $1",
    postgres: "DELETE FROM quarantined_message WHERE id = $1::uuid",
    mysql: "DELETE FROM quarantined_message WHERE id = $1",
};

/// Parameters: config key, topic, reason, detail, body, headers, digest.
pub(crate) const QUARANTINE: Sql = Sql {
    sqlite: "\
INSERT INTO quarantined_message (config_key, topic, reason, detail, body, headers, arrival_digest)
VALUES ($1, $2, $3, $4, $5, $6, $7)",
    postgres: "\
INSERT INTO quarantined_message (config_key, topic, reason, detail, body, headers, arrival_digest)
VALUES ($1, $2, $3, $4, $5, $6::jsonb, $7)",
    mysql: "\
INSERT INTO quarantined_message (config_key, topic, reason, detail, body, headers, arrival_digest)
VALUES ($1, $2, $3, $4, $5, $6, $7)",
};
