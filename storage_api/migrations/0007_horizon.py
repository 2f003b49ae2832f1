"""How far the log of changes is settled: writers announce the place from which on they draw numbers, readers stay behind it.

Numbers are drawn before their transaction commits, so that a lower one can appear after a higher one was read. A writer holds, until its
transaction has ended, a shared advisory lock that is named after the last number drawn before its own; nobody ever waits for one.
"""

from django.db import migrations

# The lock's first key is ours alone; the second is the low half of the number, which the horizon completes.
FORWARD = r"""
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
"""
BACKWARD = """
DROP FUNCTION storage_change_horizon();
DROP TRIGGER storage_change_announce ON storage_change;
DROP FUNCTION storage_change_announce();
"""


class Migration(migrations.Migration):
    dependencies = [("storage_api", "0006_written_by")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
