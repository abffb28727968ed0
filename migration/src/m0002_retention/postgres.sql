-- Days after which a row of each state is deleted; NULL: never.
ALTER TABLE event_bus_runtime_config
    ADD COLUMN retention_days_published integer DEFAULT 7 CHECK (retention_days_published BETWEEN 1 AND 36500),
    ADD COLUMN retention_days_processed integer DEFAULT 30 CHECK (retention_days_processed BETWEEN 1 AND 36500),
    ADD COLUMN retention_days_error integer CHECK (retention_days_error BETWEEN 1 AND 36500),
    ADD COLUMN retention_days_invalid integer CHECK (retention_days_invalid BETWEEN 1 AND 36500),
    ADD COLUMN retention_days_quarantined integer CHECK (retention_days_quarantined BETWEEN 1 AND 36500),
    ADD COLUMN retention_days_dedupe integer DEFAULT 14 CHECK (retention_days_dedupe BETWEEN 1 AND 36500),
    ADD COLUMN delete_on_publish boolean NOT NULL DEFAULT false;

CREATE TABLE event_bus_maintenance (
    config_key text NOT NULL PRIMARY KEY
        REFERENCES event_bus_runtime_config (config_key) ON UPDATE CASCADE ON DELETE CASCADE,
    -- Who cleans holds a random token, until this time by the database's clock.
    lease_token text,
    leased_until timestamptz,
    next_run_at timestamptz NOT NULL,
    last_started_at timestamptz,
    last_finished_at timestamptz,
    last_result text,
    -- What the last run deleted.
    deleted_published bigint NOT NULL DEFAULT 0,
    deleted_processed bigint NOT NULL DEFAULT 0,
    deleted_error bigint NOT NULL DEFAULT 0,
    deleted_invalid bigint NOT NULL DEFAULT 0,
    deleted_quarantined bigint NOT NULL DEFAULT 0,
    deleted_dedupe bigint NOT NULL DEFAULT 0
);

CREATE INDEX inbound_dedupe_created ON inbound_dedupe (config_key, created_at, dedupe_key);
