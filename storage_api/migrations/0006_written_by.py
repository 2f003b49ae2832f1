"""Who wrote a version: the newest entries of managedFields, kept with the row and with each change."""

from django.db import migrations

FORWARD = """
ALTER TABLE storage_resource ADD COLUMN written_by text COLLATE "C";
ALTER TABLE storage_change ADD COLUMN written_by text COLLATE "C";
"""
BACKWARD = """
ALTER TABLE storage_change DROP COLUMN written_by;
ALTER TABLE storage_resource DROP COLUMN written_by;
"""


class Migration(migrations.Migration):
    dependencies = [("storage_api", "0005_orders")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
