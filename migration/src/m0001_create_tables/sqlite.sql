CREATE TABLE outbound_event (
    seq integer PRIMARY KEY AUTOINCREMENT,
    id text NOT NULL UNIQUE DEFAULT (
        lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-'
            || substr('89ab', 1 + (random() & 3), 1) || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))
    ),
    config_key text NOT NULL DEFAULT 'default',
    message_id text,
    topic text NOT NULL,
    request_id text,
    event_type text,
    message_type text,
    message_status text,
    source_service text,
    parent_request_id text,
    chain_depth integer,
    reply_to text,
    payload text NOT NULL CHECK (typeof(payload) = 'text' AND json_valid(payload)),
    headers text CHECK (headers IS NULL OR (typeof(headers) = 'text' AND json_valid(headers))),
    ordering_key text,
    status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'published', 'invalid', 'error')),
    published boolean NOT NULL DEFAULT 0 CHECK (published IN (0, 1)),
    published_at text CHECK (published_at IS NULL OR julianday(published_at) IS NOT NULL),
    retry_count integer NOT NULL DEFAULT 0 CHECK (retry_count >= 0),
    next_retry_at text CHECK (next_retry_at IS NULL OR julianday(next_retry_at) IS NOT NULL),
    last_error text,
    created_at text NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
        CHECK (julianday(created_at) IS NOT NULL),
    updated_at text NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    -- The engine's own: the lease, and when the row may be claimed. `created_at` is what a person says it is.
    enqueued_at text NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    claim_token text,
    claimed_until text CHECK (claimed_until IS NULL OR julianday(claimed_until) IS NOT NULL),
    due_at text GENERATED ALWAYS AS (
        max(
            strftime('%Y-%m-%dT%H:%M:%fZ', coalesce(next_retry_at, enqueued_at)),
            strftime('%Y-%m-%dT%H:%M:%fZ', coalesce(claimed_until, enqueued_at))
        )
    ) STORED,
    -- SQLite takes any value in any column otherwise, and a row that nobody can read would stop the worker.
    CHECK (typeof(id) IN ('text', 'null') AND
        typeof(config_key) IN ('text', 'null') AND
        typeof(message_id) IN ('text', 'null') AND
        typeof(topic) IN ('text', 'null') AND
        typeof(request_id) IN ('text', 'null') AND
        typeof(event_type) IN ('text', 'null') AND
        typeof(message_type) IN ('text', 'null') AND
        typeof(message_status) IN ('text', 'null') AND
        typeof(source_service) IN ('text', 'null') AND
        typeof(parent_request_id) IN ('text', 'null') AND
        typeof(reply_to) IN ('text', 'null') AND
        typeof(last_error) IN ('text', 'null') AND
        typeof(created_at) IN ('text', 'null') AND
        typeof(ordering_key) IN ('text', 'null') AND
        typeof(chain_depth) IN ('integer', 'null') AND
        typeof(retry_count) IN ('integer', 'null'))
);
-- A pending row is in one of the next two, each in the order in which a claim walks it.
CREATE INDEX outbound_event_due ON outbound_event (config_key, due_at, seq)
    WHERE status = 'pending' AND ordering_key IS NULL;
CREATE INDEX outbound_event_ordering ON outbound_event (config_key, ordering_key, seq)
    WHERE status = 'pending' AND ordering_key IS NOT NULL;
CREATE INDEX outbound_event_claim ON outbound_event (claim_token) WHERE claim_token IS NOT NULL;
CREATE INDEX outbound_event_failed ON outbound_event (config_key, status, seq) WHERE status IN ('invalid', 'error');
CREATE INDEX outbound_event_request ON outbound_event (request_id) WHERE request_id IS NOT NULL;
CREATE INDEX outbound_event_parent_request ON outbound_event (parent_request_id) WHERE parent_request_id IS NOT NULL;

CREATE TABLE inbound_event (
    seq integer PRIMARY KEY AUTOINCREMENT,
    id text NOT NULL UNIQUE DEFAULT (
        lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-'
            || substr('89ab', 1 + (random() & 3), 1) || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))
    ),
    config_key text NOT NULL DEFAULT 'default',
    message_id text NOT NULL,
    topic text NOT NULL,
    request_id text,
    message_type text NOT NULL CHECK (message_type IN ('request', 'response', 'event', 'raw')),
    message_status text CHECK (message_status IN ('success', 'error')),
    event_type text,
    reply_to text,
    source_service text,
    parent_request_id text,
    chain_depth integer NOT NULL DEFAULT 0 CHECK (chain_depth >= 0),
    payload text NOT NULL CHECK (typeof(payload) = 'text' AND json_valid(payload)),
    headers text CHECK (headers IS NULL OR (typeof(headers) = 'text' AND json_valid(headers))),
    status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'processed', 'error')),
    processed boolean NOT NULL DEFAULT 0 CHECK (processed IN (0, 1)),
    processed_at text CHECK (processed_at IS NULL OR julianday(processed_at) IS NOT NULL),
    last_error text,
    retry_count integer NOT NULL DEFAULT 0 CHECK (retry_count >= 0),
    next_retry_at text CHECK (next_retry_at IS NULL OR julianday(next_retry_at) IS NOT NULL),
    created_at text NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
        CHECK (julianday(created_at) IS NOT NULL),
    -- The engine's own: the lease, and when the row may be claimed. `created_at` is what a person says it is.
    enqueued_at text NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    claim_token text,
    claimed_until text CHECK (claimed_until IS NULL OR julianday(claimed_until) IS NOT NULL),
    due_at text GENERATED ALWAYS AS (
        max(
            strftime('%Y-%m-%dT%H:%M:%fZ', coalesce(next_retry_at, enqueued_at)),
            strftime('%Y-%m-%dT%H:%M:%fZ', coalesce(claimed_until, enqueued_at))
        )
    ) STORED,
    -- SQLite takes any value in any column otherwise, and a row that nobody can read would stop the worker.
    CHECK (typeof(id) IN ('text', 'null') AND
        typeof(config_key) IN ('text', 'null') AND
        typeof(message_id) IN ('text', 'null') AND
        typeof(topic) IN ('text', 'null') AND
        typeof(request_id) IN ('text', 'null') AND
        typeof(event_type) IN ('text', 'null') AND
        typeof(message_type) IN ('text', 'null') AND
        typeof(message_status) IN ('text', 'null') AND
        typeof(source_service) IN ('text', 'null') AND
        typeof(parent_request_id) IN ('text', 'null') AND
        typeof(reply_to) IN ('text', 'null') AND
        typeof(last_error) IN ('text', 'null') AND
        typeof(created_at) IN ('text', 'null') AND
        typeof(chain_depth) IN ('integer', 'null') AND
        typeof(retry_count) IN ('integer', 'null'))
);
CREATE INDEX inbound_event_due ON inbound_event (config_key, due_at, seq) WHERE status = 'pending';
CREATE INDEX inbound_event_failed ON inbound_event (config_key, seq) WHERE status = 'error';
CREATE INDEX inbound_event_request ON inbound_event (request_id) WHERE request_id IS NOT NULL;
CREATE INDEX inbound_event_parent_request ON inbound_event (parent_request_id) WHERE parent_request_id IS NOT NULL;

-- What came before: digests of (config_key, topic, message_id) and of the payload, kept longer than the rows.
CREATE TABLE inbound_dedupe (
    dedupe_key blob PRIMARY KEY NOT NULL CHECK (typeof(dedupe_key) = 'blob' AND length(dedupe_key) = 32),
    payload_digest blob NOT NULL CHECK (typeof(payload_digest) = 'blob' AND length(payload_digest) = 32),
    inbound_id text NOT NULL,
    config_key text NOT NULL,
    created_at text NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) WITHOUT ROWID;

CREATE TABLE quarantined_message (
    id text PRIMARY KEY NOT NULL DEFAULT (
        lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-'
            || substr('89ab', 1 + (random() & 3), 1) || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))
    ),
    config_key text NOT NULL DEFAULT 'default',
    topic text NOT NULL,
    reason text NOT NULL,
    detail text NOT NULL DEFAULT '',
    body blob NOT NULL,
    headers text CHECK (headers IS NULL OR (typeof(headers) = 'text' AND json_valid(headers))),
    received_at text NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
CREATE INDEX quarantined_message_received ON quarantined_message (config_key, received_at);

CREATE TABLE event_bus_runtime_config (
    id integer PRIMARY KEY AUTOINCREMENT,
    config_key text NOT NULL DEFAULT 'default' UNIQUE,
    is_active boolean NOT NULL DEFAULT 1 CHECK (is_active IN (0, 1)),
    broker_type text NOT NULL DEFAULT 'rabbitmq' CHECK (broker_type IN ('rabbitmq', 'mqtt', 'memory')),
    host text NOT NULL DEFAULT 'localhost',
    port integer CHECK (port BETWEEN 1 AND 65535),
    username text,
    password text,
    tls_enabled boolean NOT NULL DEFAULT 0 CHECK (tls_enabled IN (0, 1)),
    tls_ca_file text,
    tls_cert_file text,
    tls_key_file text,
    connect_timeout integer NOT NULL DEFAULT 10 CHECK (connect_timeout BETWEEN 1 AND 300),
    retry_interval_seconds integer NOT NULL DEFAULT 5 CHECK (retry_interval_seconds BETWEEN 1 AND 3600),
    source_service text,
    outbound_enabled boolean NOT NULL DEFAULT 1 CHECK (outbound_enabled IN (0, 1)),
    inbound_enabled boolean NOT NULL DEFAULT 1 CHECK (inbound_enabled IN (0, 1)),
    max_retry_count integer NOT NULL DEFAULT 10 CHECK (max_retry_count BETWEEN 0 AND 1000000),
    retry_backoff_base_seconds integer NOT NULL DEFAULT 1 CHECK (retry_backoff_base_seconds BETWEEN 1 AND 86400),
    retry_backoff_max_seconds integer NOT NULL DEFAULT 300 CHECK (retry_backoff_max_seconds BETWEEN 1 AND 604800),
    max_chain_depth integer NOT NULL DEFAULT 32 CHECK (max_chain_depth BETWEEN 0 AND 1000000),
    max_message_bytes integer NOT NULL DEFAULT 1048576 CHECK (max_message_bytes BETWEEN 1024 AND 134217728),
    batch_size integer NOT NULL DEFAULT 500 CHECK (batch_size BETWEEN 1 AND 10000),
    poll_interval_ms integer NOT NULL DEFAULT 1000 CHECK (poll_interval_ms BETWEEN 10 AND 3600000),
    heartbeat_interval_seconds integer NOT NULL DEFAULT 10 CHECK (heartbeat_interval_seconds BETWEEN 1 AND 3600),
    worker_status text,
    last_heartbeat_at text,
    last_error text,
    created_at text NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    updated_at text NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);

CREATE TABLE event_bus_rabbitmq_settings (
    id integer PRIMARY KEY AUTOINCREMENT,
    config_key text NOT NULL DEFAULT 'default' UNIQUE
        REFERENCES event_bus_runtime_config (config_key) ON UPDATE CASCADE ON DELETE CASCADE,
    virtual_host text NOT NULL DEFAULT '/',
    exchange text NOT NULL DEFAULT 'interservice',
    exchange_type text NOT NULL DEFAULT 'topic' CHECK (exchange_type IN ('topic', 'direct', 'fanout', 'headers')),
    -- NULL: <source_service>.inbox
    queue text,
    queue_type text NOT NULL DEFAULT 'quorum' CHECK (queue_type IN ('quorum', 'classic')),
    -- NULL: <source_service>.request.#, <source_service>.response.# and event.#
    binding_keys text CHECK (binding_keys IS NULL OR (json_valid(binding_keys) AND json_type(binding_keys) = 'array')),
    declare_topology boolean NOT NULL DEFAULT 1 CHECK (declare_topology IN (0, 1)),
    prefetch_count integer NOT NULL DEFAULT 500 CHECK (prefetch_count BETWEEN 1 AND 65535),
    heartbeat_seconds integer NOT NULL DEFAULT 30 CHECK (heartbeat_seconds BETWEEN 4 AND 60),
    dead_letter_exchange text
);

CREATE TABLE event_bus_mqtt_settings (
    id integer PRIMARY KEY AUTOINCREMENT,
    config_key text NOT NULL DEFAULT 'default' UNIQUE
        REFERENCES event_bus_runtime_config (config_key) ON UPDATE CASCADE ON DELETE CASCADE,
    client_id text,
    protocol_version integer NOT NULL DEFAULT 5 CHECK (protocol_version IN (4, 5)),
    keep_alive_seconds integer NOT NULL DEFAULT 30 CHECK (keep_alive_seconds BETWEEN 1 AND 65535),
    clean_session boolean NOT NULL DEFAULT 0 CHECK (clean_session IN (0, 1)),
    qos integer NOT NULL DEFAULT 1 CHECK (qos IN (0, 1, 2)),
    inbound_topics text NOT NULL DEFAULT '["edgex/events/#"]'
        CHECK (json_valid(inbound_topics) AND json_type(inbound_topics) = 'array'),
    shared_group text,
    edgex_base_prefix text NOT NULL DEFAULT 'edgex',
    max_inflight integer NOT NULL DEFAULT 100 CHECK (max_inflight BETWEEN 1 AND 65535),
    allow_unacknowledged boolean NOT NULL DEFAULT 0 CHECK (allow_unacknowledged IN (0, 1)),
    spool_dir text,
    spool_sync text NOT NULL DEFAULT 'os' CHECK (spool_sync IN ('os', 'always')),
    spool_max_bytes integer NOT NULL DEFAULT 1073741824 CHECK (spool_max_bytes > 0)
);

CREATE TABLE event_bus_worker (
    id text PRIMARY KEY NOT NULL,
    config_key text NOT NULL,
    host text NOT NULL,
    pid integer NOT NULL,
    version text NOT NULL,
    status text NOT NULL CHECK (status IN ('starting', 'running', 'reconnecting', 'stopping', 'stopped')),
    started_at text NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    last_heartbeat_at text NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    last_error text,
    published integer NOT NULL DEFAULT 0,
    refused integer NOT NULL DEFAULT 0,
    invalid integer NOT NULL DEFAULT 0,
    received integer NOT NULL DEFAULT 0,
    duplicates integer NOT NULL DEFAULT 0,
    quarantined integer NOT NULL DEFAULT 0,
    lease_lost integer NOT NULL DEFAULT 0,
    disconnects integer NOT NULL DEFAULT 0,
    spool_messages integer NOT NULL DEFAULT 0,
    spool_bytes integer NOT NULL DEFAULT 0,
    possible_gaps integer NOT NULL DEFAULT 0
);
