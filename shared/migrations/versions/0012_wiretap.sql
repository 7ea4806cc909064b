-- How far the stream of copies is read, and by which scheduler (written by the scheduler). All messages that came over
-- AMQP before settled_until have rows; infinity: nobody has begun to read.
CREATE TABLE wiretap (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    position bigint NOT NULL DEFAULT 0,
    settled_until timestamptz NOT NULL DEFAULT 'infinity',
    reader text,
    lease_until timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO wiretap DEFAULT VALUES;
