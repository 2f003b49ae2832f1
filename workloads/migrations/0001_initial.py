import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('clusters', '0001_initial'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Recording',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('session', models.CharField(max_length=32, unique=True)),
                ('username', models.CharField(max_length=150)),
                ('namespace', models.CharField(blank=True, default='', max_length=253)),
                ('pod', models.CharField(blank=True, default='', max_length=253)),
                ('container', models.CharField(blank=True, default='', max_length=253)),
                ('node', models.CharField(blank=True, default='', max_length=253)),
                ('width', models.PositiveSmallIntegerField(default=80)),
                ('height', models.PositiveSmallIntegerField(default=24)),
                ('size', models.PositiveBigIntegerField(default=0)),
                ('truncated', models.BooleanField(default=False)),
                ('started_at', models.DateTimeField(auto_now_add=True)),
                ('finished_at', models.DateTimeField(blank=True, null=True)),
                ('cluster', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='clusters.cluster')),
                ('user', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='RecordingChunk',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField()),
                ('events', models.TextField()),
                ('recording', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='chunks', to='workloads.recording')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('recording', 'number'), name='recording_chunk_unique')],
            },
        ),
        migrations.CreateModel(
            name='Sample',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField()),
                ('cpu', models.FloatField(null=True)),
                ('memory', models.FloatField(null=True)),
                ('pods', models.PositiveIntegerField(null=True)),
                ('cluster', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='clusters.cluster')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('cluster', 'at'), name='sample_once')],
            },
        ),
    ]
