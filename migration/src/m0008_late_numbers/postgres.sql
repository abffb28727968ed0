-- The number of a row is given out before `outbound_event_ordered` takes the lock on its key. Whoever is held up between the two might
-- find that a later row of the key was sent meanwhile: then it gets a number anew, under the lock. PostgreSQL calls triggers in the
-- order of their names. Numbers are the owner's to give, so the function runs as its owner; what it calls is PostgreSQL's own.
CREATE FUNCTION postroad_outbox_renumbered() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    numbers regclass := pg_get_serial_sequence(format('%I.%I', TG_TABLE_SCHEMA, TG_TABLE_NAME), 'seq');
BEGIN
    IF pg_sequence_last_value(numbers) > NEW.seq THEN
        NEW.seq := nextval(numbers);
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER outbound_event_ordered_renumbered BEFORE INSERT ON outbound_event
    FOR EACH ROW WHEN (NEW.ordering_key IS NOT NULL) EXECUTE FUNCTION postroad_outbox_renumbered();
