DROP TRIGGER IF EXISTS outbound_event_ordered_renumbered ON outbound_event;
DROP FUNCTION IF EXISTS postroad_outbox_renumbered();
