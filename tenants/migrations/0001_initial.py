import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('clusters', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='QuotaPlan',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.SlugField(max_length=63, unique=True)),
                ('description', models.CharField(blank=True, default='', max_length=200)),
                ('hard', models.JSONField(help_text='{"limitCpu","limitMemory","requestsCpu","requestsMemory","requestsStorage","pods"} as texts.')),
            ],
            options={
                'ordering': ['name'],
            },
        ),
        migrations.CreateModel(
            name='Tenant',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('namespace', models.CharField(max_length=63)),
                ('uid', models.CharField(help_text='metadata.uid of the namespace.', max_length=64)),
                ('contact', models.CharField(blank=True, default='', max_length=200)),
                ('description', models.TextField(blank=True, default='')),
                ('options', models.JSONField(blank=True, default=dict, help_text='What was asked for at creation.')),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('created_by', models.CharField(blank=True, default='', max_length=150)),
                ('cluster', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='tenants', to='clusters.cluster')),
            ],
            options={
                'ordering': ['cluster_id', 'namespace'],
            },
        ),
        migrations.CreateModel(
            name='UsageSample',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField(db_index=True)),
                ('used', models.JSONField()),
                ('hard', models.JSONField()),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='samples', to='tenants.tenant')),
            ],
            options={
                'ordering': ['-at'],
            },
        ),
        migrations.AddConstraint(
            model_name='tenant',
            constraint=models.UniqueConstraint(fields=('cluster', 'uid'), name='tenant_unique_uid'),
        ),
        migrations.AddConstraint(
            model_name='tenant',
            constraint=models.UniqueConstraint(fields=('cluster', 'namespace'), name='tenant_unique_namespace'),
        ),
        migrations.AddConstraint(
            model_name='usagesample',
            constraint=models.UniqueConstraint(fields=('tenant', 'at'), name='usage_sample_once'),
        ),
    ]
