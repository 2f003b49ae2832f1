"""The index of sweeps tells the exact type as well: it is the smallest one, and counting a kind reads nothing else."""

from django.db import migrations


class Migration(migrations.Migration):
    """Rebuilds one index."""

    dependencies = [("storage_api", "0010_identity")]

    operations = [
        migrations.RunSQL(
            """
            DROP INDEX storage_resource_update_time;
            CREATE INDEX storage_resource_update_time ON storage_resource (cluster_id, type_key, update_time, resource_type);
            """,
            """
            DROP INDEX storage_resource_update_time;
            CREATE INDEX storage_resource_update_time ON storage_resource (cluster_id, type_key, update_time);
            """,
        ),
    ]
