-- For MariaDB and MySQL. `{table}` ends each table: an engine with transactions, and a collation by which texts are equal only
-- if all their bytes are, which has another name in each of the two. Nothing is done twice, since neither can take back
-- what a failed migration did.
CREATE TABLE IF NOT EXISTS outbound_event (
    seq bigint NOT NULL AUTO_INCREMENT PRIMARY KEY,
    id varchar(36) NOT NULL DEFAULT (uuid()) UNIQUE,
    config_key varchar(255) NOT NULL DEFAULT 'default',
    message_id text,
    topic mediumtext NOT NULL,
    request_id text,
    event_type text,
    message_type text,
    message_status text,
    source_service text,
    parent_request_id text,
    chain_depth bigint,
    reply_to text,
    -- Text, to the digit. MariaDB calls JSON invalid that is nested deeper than 32; of that only the beginning is looked at.
    payload longtext NOT NULL CHECK (json_valid(payload) OR payload REGEXP '^[[:space:]]*[[{]'),
    headers longtext CHECK (json_valid(headers) OR headers REGEXP '^[[:space:]]*[[{]'),
    ordering_key varchar(500),
    status varchar(16) NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'published', 'invalid', 'error')),
    published boolean NOT NULL DEFAULT false CHECK (published IN (0, 1)),
    published_at datetime(6),
    retry_count int NOT NULL DEFAULT 0 CHECK (retry_count >= 0),
    next_retry_at datetime(6),
    last_error text,
    created_at datetime(6) NOT NULL DEFAULT (utc_timestamp(6)),
    updated_at datetime(6) NOT NULL DEFAULT (utc_timestamp(6)),
    -- The engine's own: the lease, and when the row may be claimed.
    enqueued_at datetime(6) NOT NULL DEFAULT (utc_timestamp(6)),
    claim_token varchar(36),
    claimed_until datetime(6),
    due_at datetime(6) GENERATED ALWAYS AS (
        greatest(coalesce(next_retry_at, enqueued_at), coalesce(claimed_until, enqueued_at))
    ) STORED,
    -- Instead of partial indexes: null where the row is none of theirs.
    due_config varchar(255) GENERATED ALWAYS AS (
        CASE WHEN status = 'pending' AND ordering_key IS NULL THEN config_key END
    ) STORED,
    -- One column, so that walking from one key to the next is one range.
    ordering_turn varchar(756) GENERATED ALWAYS AS (
        CASE WHEN status = 'pending' THEN concat(config_key, '\0', ordering_key) END
    ) STORED,
    failed_config varchar(255) GENERATED ALWAYS AS (
        CASE WHEN status IN ('invalid', 'error') THEN config_key END
    ) STORED,
    -- A pending row is in one of the first two, each in the order in which a claim walks it.
    INDEX outbound_event_due (due_config, due_at, seq),
    INDEX outbound_event_ordering (ordering_turn, seq),
    INDEX outbound_event_claim (claim_token),
    INDEX outbound_event_failed (failed_config, status, seq),
    INDEX outbound_event_request (request_id(191)),
    INDEX outbound_event_parent_request (parent_request_id(191))
) {table};

CREATE TABLE IF NOT EXISTS inbound_event (
    seq bigint NOT NULL AUTO_INCREMENT PRIMARY KEY,
    id varchar(36) NOT NULL DEFAULT (uuid()) UNIQUE,
    config_key varchar(255) NOT NULL DEFAULT 'default',
    message_id text NOT NULL,
    topic mediumtext NOT NULL,
    request_id text,
    message_type varchar(16) NOT NULL CHECK (message_type IN ('request', 'response', 'event', 'raw')),
    message_status varchar(16) CHECK (message_status IN ('success', 'error')),
    event_type text,
    reply_to text,
    source_service text,
    parent_request_id text,
    chain_depth bigint NOT NULL DEFAULT 0 CHECK (chain_depth >= 0),
    payload longtext NOT NULL,
    headers longtext,
    status varchar(16) NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'processed', 'error')),
    processed boolean NOT NULL DEFAULT false CHECK (processed IN (0, 1)),
    processed_at datetime(6),
    last_error text,
    retry_count int NOT NULL DEFAULT 0 CHECK (retry_count >= 0),
    next_retry_at datetime(6),
    created_at datetime(6) NOT NULL DEFAULT (utc_timestamp(6)),
    -- The engine's own: the lease, and when the row may be claimed.
    enqueued_at datetime(6) NOT NULL DEFAULT (utc_timestamp(6)),
    claim_token varchar(36),
    claimed_until datetime(6),
    due_at datetime(6) GENERATED ALWAYS AS (
        greatest(coalesce(next_retry_at, enqueued_at), coalesce(claimed_until, enqueued_at))
    ) STORED,
    due_config varchar(255) GENERATED ALWAYS AS (CASE WHEN status = 'pending' THEN config_key END) STORED,
    failed_config varchar(255) GENERATED ALWAYS AS (CASE WHEN status = 'error' THEN config_key END) STORED,
    INDEX inbound_event_due (due_config, due_at, seq),
    INDEX inbound_event_failed (failed_config, seq),
    INDEX inbound_event_request (request_id(191)),
    INDEX inbound_event_parent_request (parent_request_id(191))
) {table};

-- What came before: digests of (config_key, topic, message_id) and of the payload, kept longer than the rows.
CREATE TABLE IF NOT EXISTS inbound_dedupe (
    dedupe_key binary(32) NOT NULL PRIMARY KEY,
    payload_digest binary(32) NOT NULL,
    inbound_id varchar(36) NOT NULL,
    config_key varchar(255) NOT NULL,
    created_at datetime(6) NOT NULL DEFAULT (utc_timestamp(6))
) {table};

CREATE TABLE IF NOT EXISTS quarantined_message (
    id varchar(36) NOT NULL DEFAULT (uuid()) PRIMARY KEY,
    config_key varchar(255) NOT NULL DEFAULT 'default',
    topic mediumtext NOT NULL,
    reason varchar(64) NOT NULL,
    detail mediumtext NOT NULL DEFAULT (''),
    body longblob NOT NULL,
    headers longtext CHECK (json_valid(headers) OR headers REGEXP '^[[:space:]]*[[{]'),
    received_at datetime(6) NOT NULL DEFAULT (utc_timestamp(6)),
    INDEX quarantined_message_received (config_key, received_at)
) {table};

CREATE TABLE IF NOT EXISTS event_bus_runtime_config (
    id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY,
    config_key varchar(255) NOT NULL DEFAULT 'default' UNIQUE,
    is_active boolean NOT NULL DEFAULT true,
    broker_type varchar(255) NOT NULL DEFAULT 'rabbitmq' CHECK (broker_type IN ('rabbitmq', 'mqtt', 'memory')),
    host text NOT NULL DEFAULT ('localhost'),
    port int unsigned CHECK (port BETWEEN 1 AND 65535),
    username text,
    password text,
    tls_enabled boolean NOT NULL DEFAULT false,
    tls_ca_file text,
    tls_cert_file text,
    tls_key_file text,
    connect_timeout int unsigned NOT NULL DEFAULT 10 CHECK (connect_timeout BETWEEN 1 AND 300),
    retry_interval_seconds int unsigned NOT NULL DEFAULT 5 CHECK (retry_interval_seconds BETWEEN 1 AND 3600),
    source_service text,
    outbound_enabled boolean NOT NULL DEFAULT true,
    inbound_enabled boolean NOT NULL DEFAULT true,
    max_retry_count int unsigned NOT NULL DEFAULT 10 CHECK (max_retry_count BETWEEN 0 AND 1000000),
    retry_backoff_base_seconds int unsigned NOT NULL DEFAULT 1 CHECK (retry_backoff_base_seconds BETWEEN 1 AND 86400),
    retry_backoff_max_seconds int unsigned NOT NULL DEFAULT 300 CHECK (retry_backoff_max_seconds BETWEEN 1 AND 604800),
    max_chain_depth int unsigned NOT NULL DEFAULT 32 CHECK (max_chain_depth BETWEEN 0 AND 1000000),
    max_message_bytes int unsigned NOT NULL DEFAULT 1048576 CHECK (max_message_bytes BETWEEN 1024 AND 134217728),
    batch_size int unsigned NOT NULL DEFAULT 500 CHECK (batch_size BETWEEN 1 AND 10000),
    poll_interval_ms int unsigned NOT NULL DEFAULT 1000 CHECK (poll_interval_ms BETWEEN 10 AND 3600000),
    heartbeat_interval_seconds int unsigned NOT NULL DEFAULT 10 CHECK (heartbeat_interval_seconds BETWEEN 1 AND 3600),
    worker_status text,
    last_heartbeat_at datetime(6),
    last_error text,
    created_at datetime(6) NOT NULL DEFAULT (utc_timestamp(6)),
    updated_at datetime(6) NOT NULL DEFAULT (utc_timestamp(6))
) {table};

CREATE TABLE IF NOT EXISTS event_bus_rabbitmq_settings (
    id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY,
    config_key varchar(255) NOT NULL DEFAULT 'default' UNIQUE,
    virtual_host varchar(255) NOT NULL DEFAULT '/',
    exchange varchar(255) NOT NULL DEFAULT 'interservice',
    exchange_type varchar(255) NOT NULL DEFAULT 'topic' CHECK (exchange_type IN ('topic', 'direct', 'fanout', 'headers')),
    -- NULL: <source_service>.inbox
    queue text,
    queue_type varchar(255) NOT NULL DEFAULT 'quorum' CHECK (queue_type IN ('quorum', 'classic')),
    -- NULL: <source_service>.request.#, <source_service>.response.# and event.#
    binding_keys text CHECK (json_type(binding_keys) = 'ARRAY'),
    declare_topology boolean NOT NULL DEFAULT true,
    prefetch_count int unsigned NOT NULL DEFAULT 500 CHECK (prefetch_count BETWEEN 1 AND 65535),
    heartbeat_seconds int unsigned NOT NULL DEFAULT 30 CHECK (heartbeat_seconds BETWEEN 4 AND 60),
    dead_letter_exchange text,
    FOREIGN KEY (config_key) REFERENCES event_bus_runtime_config (config_key) ON UPDATE CASCADE ON DELETE CASCADE
) {table};

CREATE TABLE IF NOT EXISTS event_bus_mqtt_settings (
    id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY,
    config_key varchar(255) NOT NULL DEFAULT 'default' UNIQUE,
    client_id text,
    protocol_version int unsigned NOT NULL DEFAULT 5 CHECK (protocol_version IN (4, 5)),
    keep_alive_seconds int unsigned NOT NULL DEFAULT 30 CHECK (keep_alive_seconds BETWEEN 1 AND 65535),
    clean_session boolean NOT NULL DEFAULT false,
    qos int unsigned NOT NULL DEFAULT 1 CHECK (qos IN (0, 1, 2)),
    inbound_topics text NOT NULL DEFAULT ('["edgex/events/#"]') CHECK (json_type(inbound_topics) = 'ARRAY'),
    shared_group text,
    edgex_base_prefix varchar(255) NOT NULL DEFAULT 'edgex',
    max_inflight int unsigned NOT NULL DEFAULT 100 CHECK (max_inflight BETWEEN 1 AND 65535),
    allow_unacknowledged boolean NOT NULL DEFAULT false,
    spool_dir text,
    spool_sync varchar(255) NOT NULL DEFAULT 'os' CHECK (spool_sync IN ('os', 'always')),
    spool_max_bytes bigint NOT NULL DEFAULT 1073741824 CHECK (spool_max_bytes > 0),
    FOREIGN KEY (config_key) REFERENCES event_bus_runtime_config (config_key) ON UPDATE CASCADE ON DELETE CASCADE
) {table};

CREATE TABLE IF NOT EXISTS event_bus_worker (
    id varchar(36) NOT NULL PRIMARY KEY,
    config_key varchar(255) NOT NULL,
    host text NOT NULL,
    pid bigint NOT NULL,
    version text NOT NULL,
    status varchar(16) NOT NULL CHECK (status IN ('starting', 'running', 'reconnecting', 'stopping', 'stopped')),
    started_at datetime(6) NOT NULL DEFAULT (utc_timestamp(6)),
    last_heartbeat_at datetime(6) NOT NULL DEFAULT (utc_timestamp(6)),
    last_error text,
    published bigint NOT NULL DEFAULT 0,
    refused bigint NOT NULL DEFAULT 0,
    invalid bigint NOT NULL DEFAULT 0,
    received bigint NOT NULL DEFAULT 0,
    duplicates bigint NOT NULL DEFAULT 0,
    quarantined bigint NOT NULL DEFAULT 0,
    lease_lost bigint NOT NULL DEFAULT 0,
    disconnects bigint NOT NULL DEFAULT 0,
    spool_messages bigint NOT NULL DEFAULT 0,
    spool_bytes bigint NOT NULL DEFAULT 0,
    possible_gaps bigint NOT NULL DEFAULT 0
) {table};
