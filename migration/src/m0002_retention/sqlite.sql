-- Days after which a row of each state is deleted; NULL: never.
ALTER TABLE event_bus_runtime_config ADD COLUMN retention_days_published integer DEFAULT 7 CHECK (retention_days_published BETWEEN 1 AND 36500);
ALTER TABLE event_bus_runtime_config ADD COLUMN retention_days_processed integer DEFAULT 30 CHECK (retention_days_processed BETWEEN 1 AND 36500);
ALTER TABLE event_bus_runtime_config ADD COLUMN retention_days_error integer CHECK (retention_days_error BETWEEN 1 AND 36500);
ALTER TABLE event_bus_runtime_config ADD COLUMN retention_days_invalid integer CHECK (retention_days_invalid BETWEEN 1 AND 36500);
ALTER TABLE event_bus_runtime_config ADD COLUMN retention_days_quarantined integer CHECK (retention_days_quarantined BETWEEN 1 AND 36500);
ALTER TABLE event_bus_runtime_config ADD COLUMN retention_days_dedupe integer DEFAULT 14 CHECK (retention_days_dedupe BETWEEN 1 AND 36500);
ALTER TABLE event_bus_runtime_config ADD COLUMN delete_on_publish boolean NOT NULL DEFAULT 0 CHECK (delete_on_publish IN (0, 1));

CREATE TABLE event_bus_maintenance (
    config_key text NOT NULL PRIMARY KEY
        REFERENCES event_bus_runtime_config (config_key) ON UPDATE CASCADE ON DELETE CASCADE,
    -- Who cleans holds a random token, until this time by the database's clock.
    lease_token text,
    leased_until text,
    next_run_at text NOT NULL,
    last_started_at text,
    last_finished_at text,
    last_result text,
    -- What the last run deleted.
    deleted_published integer NOT NULL DEFAULT 0,
    deleted_processed integer NOT NULL DEFAULT 0,
    deleted_error integer NOT NULL DEFAULT 0,
    deleted_invalid integer NOT NULL DEFAULT 0,
    deleted_quarantined integer NOT NULL DEFAULT 0,
    deleted_dedupe integer NOT NULL DEFAULT 0
);

CREATE INDEX inbound_dedupe_created ON inbound_dedupe (config_key, created_at);
