-- Whoever books need not be able to read the ledger, and whoever ends a job need not be able to write deliveries: these
-- triggers run with their owner's rights. Nobody but their tables may call them (see grants.py).
ALTER FUNCTION ledger_check() SECURITY DEFINER SET search_path = public, pg_temp;
ALTER FUNCTION delivery_scheduled() SECURITY DEFINER SET search_path = public, pg_temp;
ALTER FUNCTION delivery_not_handed_over() SECURITY DEFINER SET search_path = public, pg_temp;

-- As PostgreSQL 15 has it by itself: what the functions above find in public, nobody else can have put there.
DO $$ BEGIN
    REVOKE CREATE ON SCHEMA public FROM PUBLIC;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'the schema public is not ours: let its owner run REVOKE CREATE ON SCHEMA public FROM PUBLIC';
END $$;
