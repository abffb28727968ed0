DROP TRIGGER IF EXISTS outbound_event_ordered ON outbound_event;
DROP FUNCTION IF EXISTS postroad_outbox_ordered();
