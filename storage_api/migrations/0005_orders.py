"""Indexes for lists in the order of the API server, for lists across clusters, and for events that came already."""

from django.db import migrations

# The API server lists by its keys, `namespace/name` byte by byte: `a-b/x` comes before `a/x`.
FORWARD = """
CREATE INDEX storage_resource_as_listed ON storage_resource
  (cluster_id, resource_type, (namespace || '/' || resource_name) COLLATE "C") INCLUDE (id, namespace, resource_name);
CREATE INDEX storage_resource_across ON storage_resource
  (resource_type, resource_name, namespace, cluster_id) INCLUDE (id);
CREATE INDEX storage_event_came ON storage_event (cluster_id, event_id);
"""
BACKWARD = """
DROP INDEX storage_event_came;
DROP INDEX storage_resource_across;
DROP INDEX storage_resource_as_listed;
"""


class Migration(migrations.Migration):
    dependencies = [("storage_api", "0004_sync")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
