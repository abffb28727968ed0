-- While a transaction that wrote rows with an ordering key is open, no later row of that key is sent: it holds a shared
-- advisory lock on the key, which stops nobody and which a claim looks up. From its 65th row on it locks one of 64 places
-- instead, each shared by many keys, so that a transaction of any size needs few locks.
CREATE FUNCTION postroad_outbox_ordered() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    place integer := hashtext((NEW.config_key || ' ' || NEW.ordering_key) COLLATE "C");
    written integer := coalesce(nullif(current_setting('postroad.ordered', true), '')::integer, 0);
BEGIN
    IF written < 64 THEN
        PERFORM pg_advisory_xact_lock_shared(1886548836, place);
        PERFORM set_config('postroad.ordered', (written + 1)::text, true);
    ELSE
        PERFORM pg_advisory_xact_lock_shared(1886548837, place & 63);
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER outbound_event_ordered BEFORE INSERT ON outbound_event
    FOR EACH ROW WHEN (NEW.ordering_key IS NOT NULL) EXECUTE FUNCTION postroad_outbox_ordered();
