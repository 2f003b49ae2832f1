"""Single objects out of the store whole, and indexes for the common orders of long lists."""

from django.db import migrations

FORWARD = """
-- What documents leave out of the object: {"managedFields": …, "lastApplied": …} as text; null when
-- that is not known, and always for Secrets.
ALTER TABLE storage_resource ADD COLUMN omitted text COLLATE "C";
DO $$
BEGIN
  EXECUTE 'ALTER TABLE storage_resource ALTER COLUMN omitted SET COMPRESSION lz4';
EXCEPTION WHEN feature_not_supported THEN
  RAISE NOTICE 'this server has no lz4, managedFields are kept with pglz';
END
$$;
-- Lists by time and by name, forwards and backwards. A missing time is the oldest, as in `sorting`.
DROP INDEX storage_resource_created;
CREATE INDEX storage_resource_created ON storage_resource
  (cluster_id, type_key, created NULLS FIRST, namespace, resource_name) INCLUDE (id, resource_type);
CREATE INDEX storage_resource_by_name ON storage_resource
  (cluster_id, resource_type, resource_name, namespace) INCLUDE (id);
"""
BACKWARD = """
DROP INDEX storage_resource_by_name;
DROP INDEX storage_resource_created;
CREATE INDEX storage_resource_created ON storage_resource (cluster_id, type_key, created)
  WHERE created IS NOT NULL;
ALTER TABLE storage_resource DROP COLUMN omitted;
"""


class Migration(migrations.Migration):

    dependencies = [
        ('storage_api', '0001_initial'),
    ]

    operations = [
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
