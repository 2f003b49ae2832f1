-- How far the log of changes is settled: writers announce the place from which on they draw numbers, readers stay behind it.
-- Numbers are drawn before their transaction commits, so that a lower one can appear after a higher one was read. A writer holds, until its
-- transaction has ended, a shared advisory lock that is named after the last number drawn before its own; nobody ever waits for one.
CREATE FUNCTION storage_change_announce() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_advisory_xact_lock_shared(1262965575, (SELECT (last_value - (NOT is_called)::int)::bit(32)::int FROM storage_change_seq));
  RETURN NULL;
END
$$;
CREATE TRIGGER storage_change_announce BEFORE INSERT ON storage_change FOR EACH STATEMENT EXECUTE FUNCTION storage_change_announce();

-- The place up to which nothing can appear any more. To be asked in a statement of its own, before the one that reads: what was drawn
-- until the first look had been announced by then, and whoever is gone at the second look is visible to the next statement.
CREATE FUNCTION storage_change_horizon() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  drawn bigint;
  announced bigint;
BEGIN
  SELECT last_value - (NOT is_called)::int INTO drawn FROM storage_change_seq;
  SELECT min(drawn - behind) INTO announced FROM (
    SELECT (drawn - objid::bigint) & 4294967295 AS behind FROM pg_locks
    WHERE locktype = 'advisory' AND classid = 1262965575 AND objsubid = 2 AND granted AND pid <> pg_backend_pid()
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
  ) held WHERE behind < 2147483648;
  RETURN least(drawn, announced);
END
$$;

-- storage_base holds, of each object that was there when days were dropped, its last version from before: the state that the log goes on
-- from. It is no part of the log itself, whose readers resume by number.
CREATE TABLE storage_base (LIKE storage_change INCLUDING STORAGE INCLUDING COMPRESSION);
ALTER TABLE storage_base ADD PRIMARY KEY (cluster_id, resource_type, namespace, resource_name);
CREATE VIEW storage_past AS SELECT * FROM storage_change UNION ALL SELECT * FROM storage_base;

-- Metrics have a log of their own; its numbers come from the same sequence, so that one horizon serves both.
CREATE TABLE storage_metric_change (
  seq bigint NOT NULL DEFAULT nextval('storage_change_seq') PRIMARY KEY,
  at timestamptz NOT NULL,
  xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  op text COLLATE "C" NOT NULL,
  object_id text COLLATE "C" NOT NULL,
  cluster_id text COLLATE "C" NOT NULL,
  namespace text COLLATE "C" NOT NULL,
  type text COLLATE "C" NOT NULL,
  name text COLLATE "C" NOT NULL,
  create_time timestamptz NOT NULL,
  data jsonb NOT NULL
);
CREATE INDEX storage_metric_change_feed ON storage_metric_change (cluster_id, type, seq);
CREATE INDEX storage_metric_change_object ON storage_metric_change (cluster_id, type, namespace, name, seq);
CREATE INDEX storage_metric_change_age ON storage_metric_change (at);
CREATE TRIGGER storage_change_announce BEFORE INSERT ON storage_metric_change
  FOR EACH STATEMENT EXECUTE FUNCTION storage_change_announce();
