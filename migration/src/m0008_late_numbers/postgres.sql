-- The number of a row is given out before its trigger takes the lock on its key. Whoever is held up between the two might find that
-- a later row of the key was sent meanwhile: then it gets a number anew, under the lock. Numbers are the owner's to give, so the
-- function runs as its owner; what it calls is PostgreSQL's own.
CREATE OR REPLACE FUNCTION postroad_outbox_ordered() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    place integer := hashtext((NEW.config_key || ' ' || NEW.ordering_key) COLLATE "C");
    written integer := coalesce(nullif(current_setting('postroad.ordered', true), '')::integer, 0);
    numbers regclass := pg_get_serial_sequence(format('%I.%I', TG_TABLE_SCHEMA, TG_TABLE_NAME), 'seq');
BEGIN
    IF written < 64 THEN
        PERFORM pg_advisory_xact_lock_shared(1886548836, place);
        PERFORM set_config('postroad.ordered', (written + 1)::text, true);
    ELSE
        PERFORM pg_advisory_xact_lock_shared(1886548837, place & 63);
    END IF;
    IF pg_sequence_last_value(numbers) > NEW.seq THEN
        NEW.seq := nextval(numbers);
    END IF;
    RETURN NEW;
END
$$;
