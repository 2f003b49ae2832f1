"""Recordings keep a hash of their session's id: the id itself is for the caller of the session alone."""

from django.db import migrations

HASH = """
UPDATE workloads_recording
SET session = substr(encode(sha256(convert_to(session, 'UTF8')), 'hex'), 1, 32)
"""


class Migration(migrations.Migration):
    dependencies = [("workloads", "0002_recordings")]

    operations = [migrations.RunSQL(HASH, migrations.RunSQL.noop)]
