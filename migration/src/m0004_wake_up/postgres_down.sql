DROP TRIGGER IF EXISTS outbound_event_written ON outbound_event;
DROP FUNCTION IF EXISTS postroad_outbox_written();
