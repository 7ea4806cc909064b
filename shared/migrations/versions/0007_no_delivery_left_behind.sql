-- However a job that sends ends (cancelled in the console, too late, failed by an error of ours), its delivery does not wait
-- for ever: what had begun may have arrived and is held, the rest ends as the job did. Not asked about jobs that succeed.
CREATE FUNCTION delivery_not_sent() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    WITH ended AS (
        UPDATE deliveries d SET updated_at = clock_timestamp(),
            state = CASE WHEN d.state = 'sending' THEN 'unconfirmed' WHEN NEW.state = 'cancelled' THEN 'cancelled'
                WHEN NEW.state = 'failed' THEN 'failed' ELSE 'skipped' END,
            reason = CASE WHEN d.state = 'sending' THEN 'held' ELSE coalesce(NEW.reason, NEW.state) END
        WHERE d.gift_card_id = NEW.gift_card_id AND d.state IN ('queued', 'sending')
            AND (d.job_id = NEW.id OR d.id::text = NEW.data ->> 'delivery_id')
            AND NOT EXISTS (SELECT FROM jobs j WHERE j.gift_card_id = NEW.gift_card_id AND j.id <> NEW.id
                AND j.state IN ('scheduled', 'queued', 'running')
                AND (j.id = d.job_id OR j.data ->> 'delivery_id' = d.id::text))
        RETURNING d.*
    )
    INSERT INTO events (type, subject, data)
    SELECT 'delivery.failed', gift_card_id,
        jsonb_build_object('delivery_id', id, 'kind', kind, 'channel', channel, 'reason', reason)
    FROM ended WHERE state = 'failed';
    RETURN NULL;
END $$;
CREATE TRIGGER jobs_delivery_not_sent AFTER UPDATE OF state ON jobs FOR EACH ROW
    WHEN (NEW.name IN ('send_gift_card_email', 'send_gift_card_sms')
        AND NEW.state IN ('skipped', 'failed', 'rejected', 'cancelled'))
    EXECUTE FUNCTION delivery_not_sent();
