-- Days after which a row of each state is deleted; NULL: never. One statement, so that all columns are there or none is.
ALTER TABLE event_bus_runtime_config
    ADD COLUMN retention_days_published int unsigned DEFAULT 7 CHECK (retention_days_published BETWEEN 1 AND 36500),
    ADD COLUMN retention_days_processed int unsigned DEFAULT 30 CHECK (retention_days_processed BETWEEN 1 AND 36500),
    ADD COLUMN retention_days_error int unsigned CHECK (retention_days_error BETWEEN 1 AND 36500),
    ADD COLUMN retention_days_invalid int unsigned CHECK (retention_days_invalid BETWEEN 1 AND 36500),
    ADD COLUMN retention_days_quarantined int unsigned CHECK (retention_days_quarantined BETWEEN 1 AND 36500),
    ADD COLUMN retention_days_dedupe int unsigned DEFAULT 14 CHECK (retention_days_dedupe BETWEEN 1 AND 36500),
    ADD COLUMN delete_on_publish boolean NOT NULL DEFAULT false
