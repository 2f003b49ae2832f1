"""Indexes that find objects of all kinds and clusters by a part of their name.

They need no extension: pg_trgm is not on every server.
"""

from django.db import migrations

FORWARD = """
-- Every three characters in a row of a name, in lower case: a name contains a text only if it has
-- all that the text has.
CREATE FUNCTION storage_name_parts(name text) RETURNS text[]
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 500 AS $$
  SELECT ARRAY(SELECT substr(lower(name COLLATE "C"), i, 3) FROM generate_series(1, length(name) - 2) AS i)
$$;
CREATE INDEX storage_resource_name_parts ON storage_resource
  USING gin (storage_name_parts(resource_name));
-- In the order of an answer: of many matches the first are read and the others never.
CREATE INDEX storage_resource_names ON storage_resource
  (lower(resource_name), resource_name, resource_type, cluster_id, namespace) INCLUDE (id);
"""
BACKWARD = """
DROP INDEX storage_resource_names;
DROP INDEX storage_resource_name_parts;
DROP FUNCTION storage_name_parts(text);
"""


class Migration(migrations.Migration):

    dependencies = [
        ('storage_api', '0002_whole_objects'),
    ]

    operations = [
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
