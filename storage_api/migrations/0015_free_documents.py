"""Documents of no cluster's shape with their indexes, and a log of metrics for those who watch them."""

from django.contrib.postgres.indexes import GinIndex
from django.db import migrations, models

# Numbers come from the sequence of the log of changes and are announced as there, so that one horizon serves both.
FORWARD = r"""
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
"""
BACKWARD = "DROP TABLE storage_metric_change"


class Migration(migrations.Migration):
    dependencies = [("storage_api", "0014_sealed_secrets")]
    operations = [
        migrations.AddField(
            model_name="metric",
            name="change_time",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
        migrations.CreateModel(
            name="FreeDocument",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("object_id", models.CharField(max_length=24)),
                ("resource_type", models.TextField()),
                ("data", models.JSONField()),
                ("create_time", models.DateTimeField()),
                ("update_time", models.DateTimeField()),
            ],
            options={
                "db_table": "storage_free_document",
                "indexes": [
                    models.Index(fields=["resource_type", "id"], name="storage_free_listing"),
                    GinIndex(
                        fields=["data"], name="storage_free_data", opclasses=["jsonb_path_ops"]
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="FreeIndex",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("resource_type", models.TextField()),
                ("name", models.TextField()),
                ("keys", models.JSONField(help_text="The dotted paths, in order.")),
            ],
            options={
                "db_table": "storage_free_index",
                "constraints": [
                    models.UniqueConstraint(
                        fields=["resource_type", "name"], name="storage_free_index_key"
                    )
                ],
            },
        ),
    ]
