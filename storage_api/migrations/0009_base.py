"""What the log's expired days leave behind, so that the past of what never changes is kept; owners beyond the first, found by index."""

from django.db import migrations

# storage_base holds, of each object that was there when days were dropped, its last version from before: the state that the log goes on
# from. It is no part of the log itself, whose readers resume by number.
FORWARD = """
CREATE TABLE storage_base (LIKE storage_change INCLUDING STORAGE INCLUDING COMPRESSION);
ALTER TABLE storage_base ADD PRIMARY KEY (cluster_id, resource_type, namespace, resource_name);
CREATE VIEW storage_past AS SELECT * FROM storage_change UNION ALL SELECT * FROM storage_base;
CREATE INDEX storage_resource_more_owners ON storage_resource
  USING gin ((jsonb_path_query_array(data, '$.metadata.ownerReferences[1 to last].uid')))
  WHERE data #> '{metadata,ownerReferences,1}' IS NOT NULL;
"""
BACKWARD = """
DROP INDEX storage_resource_more_owners;
DROP VIEW storage_past;
DROP TABLE storage_base;
"""


class Migration(migrations.Migration):
    dependencies = [("storage_api", "0008_gap")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
