"""The whole schema of the store; what models cannot say stands in the SQL files beside it."""

from pathlib import Path

import django.contrib.postgres.indexes
import django.db.models.deletion
from django.db import migrations, models


SQL = Path(__file__).parent / "sql"
BACKWARD = """
DROP TABLE IF EXISTS storage_metric_change, storage_change, storage_base, storage_resource CASCADE;
DROP FUNCTION storage_change_horizon(), storage_change_announce(), storage_rfc3339(timestamptz, text),
  storage_contains(jsonb, text[], text), storage_matches(jsonb, text[], jsonb[]),
  storage_at_or_after(jsonb, numeric, text), storage_moment(jsonb), storage_text(jsonb) CASCADE;
"""


def script(name: str) -> str:
    """The text of one SQL file."""
    return (SQL / name).read_text(encoding="utf-8")


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('clusters', '0001_initial'),
    ]

    operations = [
        migrations.RunSQL([script("functions.sql"), script("tables.sql"), script("log.sql")], BACKWARD),
        migrations.CreateModel(
            name='Change',
            fields=[
                ('seq', models.BigIntegerField(primary_key=True, serialize=False)),
                ('at', models.DateTimeField()),
                ('op', models.TextField(choices=[('add', 'added'), ('change', 'changed'), ('delete', 'deleted')])),
                ('object_id', models.TextField()),
                ('cluster_id', models.TextField()),
                ('resource_type', models.TextField()),
                ('namespace', models.TextField(blank=True, default='')),
                ('resource_name', models.TextField()),
                ('uid', models.TextField(null=True)),
                ('resource_version', models.TextField(null=True)),
                ('create_time', models.DateTimeField()),
                ('data', models.JSONField()),
                ('written_by', models.TextField(help_text='The newest entries of managedFields, as JSON: [[manager, operation, subresource, time], …].', null=True)),
            ],
            options={
                'db_table': 'storage_change',
                'managed': False,
            },
        ),
        migrations.CreateModel(
            name='Resource',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('object_id', models.TextField()),
                ('cluster_id', models.TextField()),
                ('resource_type', models.TextField()),
                ('namespace', models.TextField(blank=True, default='')),
                ('resource_name', models.TextField()),
                ('create_time', models.DateTimeField()),
                ('update_time', models.DateTimeField()),
                ('change_time', models.DateTimeField(help_text='when `data` last became different; update_time moves with every write')),
                ('data', models.JSONField()),
                ('arrival', models.BigIntegerField(editable=False)),
                ('type_key', models.TextField(editable=False)),
                ('uid', models.TextField(editable=False, null=True)),
                ('resource_version', models.TextField(editable=False, null=True)),
                ('owner_uid', models.TextField(editable=False, null=True)),
                ('node_name', models.TextField(editable=False, null=True)),
                ('status', models.TextField(editable=False, null=True)),
                ('host_ip', models.TextField(editable=False, null=True)),
                ('pod_ip', models.TextField(editable=False, null=True)),
                ('rc_name', models.TextField(editable=False, null=True)),
                ('created', models.DateTimeField(editable=False, null=True)),
            ],
            options={
                'db_table': 'storage_resource',
                'managed': False,
            },
        ),
        migrations.CreateModel(
            name='ClusterSync',
            fields=[
                ('cluster', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='sync', serialize=False, to='clusters.cluster')),
                ('owner', models.TextField(blank=True, default='')),
                ('token', models.BigIntegerField(default=0)),
                ('expires_at', models.DateTimeField()),
                ('stored_as', models.TextField(blank=True, default='', help_text="The cluster_id of the rows: the cluster's name when they were written.")),
                ('beaten_at', models.DateTimeField(null=True)),
                ('revision', models.TextField(blank=True, default='', help_text="The cluster's newest resourceVersion at beaten_at.")),
                ('identity', models.TextField(blank=True, default='', help_text='The uid of kube-system: another one is another cluster.')),
                ('error', models.TextField(blank=True, default='')),
            ],
            options={
                'db_table': 'storage_cluster_sync',
            },
        ),
        migrations.CreateModel(
            name='CollectorProcess',
            fields=[
                ('name', models.TextField(primary_key=True, serialize=False)),
                ('seen_at', models.DateTimeField()),
            ],
            options={
                'db_table': 'storage_collector',
                'verbose_name_plural': 'collector processes',
            },
        ),
        migrations.CreateModel(
            name='Host',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('object_id', models.CharField(max_length=24)),
                ('ip', models.TextField(unique=True)),
                ('cluster_id', models.TextField(blank=True, db_index=True, default='')),
                ('data', models.JSONField(null=True)),
                ('create_time', models.DateTimeField()),
                ('update_time', models.DateTimeField()),
            ],
            options={
                'db_table': 'storage_host',
            },
        ),
        migrations.CreateModel(
            name='Alarm',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('object_id', models.CharField(max_length=24)),
                ('cluster_id', models.TextField(blank=True, default='')),
                ('namespace', models.TextField(blank=True, default='')),
                ('message', models.TextField(blank=True, default='')),
                ('source', models.TextField(blank=True, default='')),
                ('module', models.TextField(blank=True, default='')),
                ('type', models.TextField(blank=True, default='')),
                ('received_time', models.DateTimeField()),
                ('create_time', models.DateTimeField()),
                ('data', models.JSONField()),
            ],
            options={
                'db_table': 'storage_alarm',
                'indexes': [models.Index(fields=['cluster_id', '-received_time', 'id'], name='storage_alarm_cluster'), models.Index(fields=['-received_time', 'id'], name='storage_alarm_time'), models.Index(fields=['create_time'], name='storage_alarm_age')],
            },
        ),
        migrations.CreateModel(
            name='Event',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('object_id', models.CharField(max_length=24)),
                ('event_id', models.TextField(blank=True, default='')),
                ('env', models.TextField(blank=True, default='')),
                ('kind', models.TextField(blank=True, default='')),
                ('level', models.TextField(blank=True, default='')),
                ('component', models.TextField(blank=True, default='')),
                ('type', models.TextField(blank=True, default='')),
                ('describe', models.TextField(blank=True, default='')),
                ('cluster_id', models.TextField(blank=True, default='')),
                ('extra_info', models.JSONField()),
                ('event_time', models.DateTimeField()),
                ('create_time', models.DateTimeField()),
                ('data', models.JSONField()),
            ],
            options={
                'db_table': 'storage_event',
                'indexes': [models.Index(fields=['cluster_id', '-event_time', 'id'], name='storage_event_cluster'), models.Index(fields=['-event_time', 'id'], name='storage_event_time'), models.Index(fields=['create_time'], name='storage_event_age')],
            },
        ),
        migrations.CreateModel(
            name='FreeDocument',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('object_id', models.CharField(max_length=24)),
                ('resource_type', models.TextField()),
                ('data', models.JSONField()),
                ('create_time', models.DateTimeField()),
                ('update_time', models.DateTimeField()),
            ],
            options={
                'db_table': 'storage_free_document',
                'indexes': [models.Index(fields=['resource_type', 'id'], name='storage_free_listing'), django.contrib.postgres.indexes.GinIndex(fields=['data'], name='storage_free_data', opclasses=['jsonb_path_ops'])],
            },
        ),
        migrations.CreateModel(
            name='FreeIndex',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('resource_type', models.TextField()),
                ('name', models.TextField()),
                ('keys', models.JSONField(help_text='The dotted paths, in order.')),
            ],
            options={
                'db_table': 'storage_free_index',
                'verbose_name_plural': 'free indexes',
                'constraints': [models.UniqueConstraint(fields=('resource_type', 'name'), name='storage_free_index_key')],
            },
        ),
        migrations.CreateModel(
            name='Gap',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('cluster_id', models.TextField()),
                ('resource_type', models.TextField()),
                ('after_version', models.TextField(blank=True, default='', help_text='The last version known before; empty when unknown.')),
                ('to_version', models.TextField()),
                ('namespace', models.TextField(blank=True, default='', help_text='The namespace it is about; empty for all.')),
                ('since', models.DateTimeField()),
                ('until', models.DateTimeField()),
                ('seq', models.BigIntegerField(help_text='Its place in the log: what the list found stands before it.', null=True)),
            ],
            options={
                'db_table': 'storage_gap',
                'indexes': [models.Index(fields=['cluster_id', 'resource_type', 'until'], name='storage_gap_of_kind'), models.Index(fields=['seq'], name='storage_gap_order')],
            },
        ),
        migrations.CreateModel(
            name='Metric',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('object_id', models.CharField(max_length=24)),
                ('cluster_id', models.TextField()),
                ('namespace', models.TextField()),
                ('type', models.TextField()),
                ('name', models.TextField()),
                ('data', models.JSONField()),
                ('create_time', models.DateTimeField()),
                ('update_time', models.DateTimeField()),
                ('change_time', models.DateTimeField(editable=False, null=True)),
            ],
            options={
                'db_table': 'storage_metric',
                'indexes': [models.Index(fields=['cluster_id', 'id'], name='storage_metric_listing')],
                'constraints': [models.UniqueConstraint(fields=('cluster_id', 'namespace', 'type', 'name'), name='storage_metric_key')],
            },
        ),
        migrations.CreateModel(
            name='WatchNode',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('env', models.TextField(choices=[('mesos', 'mesos'), ('k8s', 'k8s')])),
                ('cluster_id', models.TextField()),
                ('namespace', models.TextField()),
                ('resource_type', models.TextField()),
                ('resource_name', models.TextField()),
                ('data', models.JSONField()),
                ('update_time', models.DateTimeField()),
            ],
            options={
                'db_table': 'storage_watch_node',
                'constraints': [models.UniqueConstraint(fields=('env', 'cluster_id', 'resource_type', 'namespace', 'resource_name'), name='storage_watch_node_key')],
            },
        ),
        migrations.CreateModel(
            name='KindSync',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('group', models.TextField(blank=True, default='')),
                ('version', models.TextField()),
                ('plural', models.TextField()),
                ('kind', models.TextField()),
                ('namespaced', models.BooleanField()),
                ('namespace', models.TextField(blank=True, default='', help_text='The namespace that is followed; empty for all.')),
                ('resource_type', models.TextField()),
                ('aliases', models.JSONField(blank=True, default=list, help_text='Singular and short names.')),
                ('phase', models.TextField(choices=[('listing', 'Listing'), ('watching', 'Watching'), ('reconnecting', 'Reconnecting'), ('refused', 'Refused'), ('over_limit', 'Over Limit')], default='listing')),
                ('resource_version', models.TextField(blank=True, default='')),
                ('lost_after', models.TextField(blank=True, default='', help_text='While resource_version is empty: the last version before the watch was lost.')),
                ('listed_at', models.DateTimeField(null=True)),
                ('changed_at', models.DateTimeField(null=True)),
                ('exact', models.BooleanField(default=True, help_text='False while a document of the kind cannot be stored as it is.')),
                ('error', models.TextField(blank=True, default='')),
                ('cluster', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='kind_syncs', to='clusters.cluster')),
            ],
            options={
                'db_table': 'storage_kind_sync',
                'constraints': [models.UniqueConstraint(fields=('cluster', 'group', 'plural', 'namespace'), name='storage_kind_sync_key')],
            },
        ),
        migrations.CreateModel(
            name='KindWrite',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('group', models.TextField(blank=True, default='')),
                ('plural', models.TextField()),
                ('at', models.DateTimeField()),
                ('cluster', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='clusters.cluster')),
            ],
            options={
                'db_table': 'storage_kind_write',
                'constraints': [models.UniqueConstraint(fields=('cluster', 'group', 'plural'), name='storage_kind_write_key')],
            },
        ),
        migrations.RunSQL(script("after_models.sql"), migrations.RunSQL.noop),
    ]
