CREATE TABLE IF NOT EXISTS event_bus_maintenance (
    config_key varchar(255) NOT NULL PRIMARY KEY,
    -- Who cleans holds a random token, until this time by the database's clock.
    lease_token varchar(36),
    leased_until datetime(6),
    next_run_at datetime(6) NOT NULL,
    last_started_at datetime(6),
    last_finished_at datetime(6),
    last_result text,
    -- What the last run deleted.
    deleted_published bigint NOT NULL DEFAULT 0,
    deleted_processed bigint NOT NULL DEFAULT 0,
    deleted_error bigint NOT NULL DEFAULT 0,
    deleted_invalid bigint NOT NULL DEFAULT 0,
    deleted_quarantined bigint NOT NULL DEFAULT 0,
    deleted_dedupe bigint NOT NULL DEFAULT 0,
    FOREIGN KEY (config_key) REFERENCES event_bus_runtime_config (config_key) ON UPDATE CASCADE ON DELETE CASCADE
) {table}
