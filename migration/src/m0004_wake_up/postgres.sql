-- One empty notification a statement, which PostgreSQL sends once a transaction. One for each row would halve the rate of inserts.
CREATE FUNCTION postroad_outbox_written() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NOTIFY postroad_outbox;
    RETURN NULL;
END
$$;

CREATE TRIGGER outbound_event_written AFTER INSERT ON outbound_event
    FOR EACH STATEMENT EXECUTE FUNCTION postroad_outbox_written();
