-- A delivery asked for a later time is a row of deliveries from then on, whichever door it came through. A card that is
-- not there yet gets its rows at the hand-off.
CREATE FUNCTION delivery_scheduled() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO deliveries (dedupe_key, gift_card_id, kind, channel, recipient_version, state, job_id)
    SELECT 'gift:' || c.id || ':r' || c.recipient_version || ':' || way.channel, c.id, 'gift', way.channel,
        c.recipient_version, 'scheduled', NEW.id
    FROM gift_cards c, LATERAL (VALUES ('email', c.recipient_email), ('sms', c.recipient_phone)) AS way (channel, address)
    WHERE c.id = NEW.gift_card_id AND way.address IS NOT NULL AND NEW.data ->> 'method' IN (way.channel, 'both')
    ON CONFLICT (dedupe_key) DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER jobs_delivery_scheduled AFTER INSERT ON jobs FOR EACH ROW
    WHEN (NEW.name = 'deliver_gift_card' AND NEW.state = 'scheduled') EXECUTE FUNCTION delivery_scheduled();

-- However the job ends, what it did not hand over ends with it.
CREATE FUNCTION delivery_not_handed_over() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE deliveries SET updated_at = clock_timestamp(), reason = coalesce(NEW.reason, 'recipient_changed'),
        state = CASE NEW.state WHEN 'cancelled' THEN 'cancelled' WHEN 'failed' THEN 'failed' ELSE 'skipped' END
    WHERE job_id = NEW.id AND state = 'scheduled';
    RETURN NULL;
END $$;
CREATE TRIGGER jobs_delivery_not_handed_over AFTER UPDATE OF state ON jobs FOR EACH ROW
    WHEN (NEW.name = 'deliver_gift_card' AND NEW.state IN ('succeeded', 'skipped', 'failed', 'rejected', 'cancelled'))
    EXECUTE FUNCTION delivery_not_handed_over();
CREATE INDEX deliveries_job ON deliveries (job_id) WHERE state = 'scheduled';
