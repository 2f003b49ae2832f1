"""How many objects there are of each type in each namespace, kept by the database itself."""

from django.db import migrations

# Several rows for the same key add up. A writer changes one that no other transaction is changing,
# else it adds one: nobody waits, and what a snapshot sees always fits the rows that it sees.
# A restore of a dump writes rows without a search path, so that the functions bring their own.
FORWARD = """
CREATE TABLE storage_count (
  cluster_id text COLLATE "C" NOT NULL,
  resource_type text COLLATE "C" NOT NULL,
  namespace text COLLATE "C" NOT NULL,
  rows bigint NOT NULL
) WITH (fillfactor = 50);
CREATE INDEX storage_count_key ON storage_count (cluster_id, resource_type, namespace);

CREATE FUNCTION storage_count_rows() RETURNS trigger LANGUAGE plpgsql
SET search_path FROM CURRENT AS $$
DECLARE
  part record;
  place tid;
BEGIN
  -- Of an upsert these are the rows that were not there before: mostly none.
  IF NOT EXISTS (SELECT FROM changed) THEN
    RETURN NULL;
  END IF;
  FOR part IN
    SELECT cluster_id, resource_type, namespace,
           CASE TG_OP WHEN 'INSERT' THEN count(*) ELSE -count(*) END AS difference
    FROM changed GROUP BY 1, 2, 3
  LOOP
    SELECT c.ctid INTO place FROM storage_count c
    WHERE c.cluster_id = part.cluster_id AND c.resource_type = part.resource_type
      AND c.namespace = part.namespace
    LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF FOUND THEN
      UPDATE storage_count SET rows = rows + part.difference WHERE ctid = place;
    ELSE
      INSERT INTO storage_count
      VALUES (part.cluster_id, part.resource_type, part.namespace, part.difference);
    END IF;
  END LOOP;
  RETURN NULL;
END
$$;
CREATE FUNCTION storage_count_none() RETURNS trigger LANGUAGE plpgsql
SET search_path FROM CURRENT AS $$
BEGIN
  DELETE FROM storage_count;
  RETURN NULL;
END
$$;
CREATE TRIGGER storage_count_added AFTER INSERT ON storage_resource
  REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION storage_count_rows();
CREATE TRIGGER storage_count_deleted AFTER DELETE ON storage_resource
  REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION storage_count_rows();
CREATE TRIGGER storage_count_emptied AFTER TRUNCATE ON storage_resource
  FOR EACH STATEMENT EXECUTE FUNCTION storage_count_none();
-- From here on no other transaction writes rows until this one has ended.
INSERT INTO storage_count
SELECT cluster_id, resource_type, namespace, count(*) FROM storage_resource GROUP BY 1, 2, 3;
"""
BACKWARD = """
DROP TRIGGER storage_count_emptied ON storage_resource;
DROP TRIGGER storage_count_deleted ON storage_resource;
DROP TRIGGER storage_count_added ON storage_resource;
DROP FUNCTION storage_count_none();
DROP FUNCTION storage_count_rows();
DROP TABLE storage_count;
"""


class Migration(migrations.Migration):

    dependencies = [
        ('storage_api', '0004_property_search'),
    ]

    operations = [
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
