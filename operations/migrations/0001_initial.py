import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('clusters', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='Operation',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(max_length=40)),
                ('queue', models.CharField(max_length=40)),
                ('resource', models.CharField(blank=True, default='', help_text='Plural of the kind acted on, e.g. nodes.', max_length=100)),
                ('namespace', models.CharField(blank=True, default='', max_length=253)),
                ('name', models.CharField(blank=True, default='', max_length=253)),
                ('requested_by', models.CharField(blank=True, default='', max_length=150)),
                ('authority', models.JSONField(blank=True, default=dict, help_text="The requester's credential and rights, asked again.")),
                ('parameters', models.JSONField(blank=True, default=dict)),
                ('exclusive', models.CharField(blank=True, default='', help_text='At most one active operation has this key.', max_length=600)),
                ('state', models.CharField(choices=[('pending', 'Pending'), ('running', 'Running'), ('succeeded', 'Succeeded'), ('failed', 'Failed'), ('cancelled', 'Cancelled'), ('interrupted', 'Interrupted')], default='pending', max_length=16)),
                ('done', models.PositiveIntegerField(default=0)),
                ('total', models.PositiveIntegerField(default=0)),
                ('result', models.JSONField(blank=True, null=True)),
                ('error', models.TextField(blank=True, default='')),
                ('reason', models.CharField(blank=True, default='', help_text='The error in one word.', max_length=60)),
                ('turn', models.PositiveIntegerField(default=0, help_text='How many turns were completed; a message for an older turn is void.')),
                ('attempts', models.PositiveIntegerField(default=0, help_text='How often the current turn was begun.')),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('started_at', models.DateTimeField(blank=True, null=True)),
                ('finished_at', models.DateTimeField(blank=True, null=True)),
                ('cancel_requested_at', models.DateTimeField(blank=True, null=True)),
                ('due_at', models.DateTimeField(blank=True, help_text='When the next sign of life is expected.', null=True)),
                ('updated_at', models.DateTimeField(auto_now=True)),
                ('cluster', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='operations', to='clusters.cluster')),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='OperationStep',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.CharField(max_length=600)),
                ('name', models.CharField(max_length=600)),
                ('state', models.CharField(choices=[('pending', 'Pending'), ('running', 'Running'), ('succeeded', 'Succeeded'), ('failed', 'Failed'), ('skipped', 'Skipped'), ('cancelled', 'Cancelled')], default='pending', max_length=16)),
                ('message', models.TextField(blank=True, default='')),
                ('data', models.JSONField(blank=True, default=dict, help_text="What the runner needs to go on, e.g. a pod's uid.")),
                ('updated_at', models.DateTimeField(auto_now=True)),
                ('operation', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='steps', to='operations.operation')),
            ],
            options={
                'ordering': ['id'],
            },
        ),
        migrations.AddIndex(
            model_name='operation',
            index=models.Index(fields=['cluster', 'queue', 'state'], name='operation_slots'),
        ),
        migrations.AddIndex(
            model_name='operation',
            index=models.Index(condition=models.Q(('state__in', ['pending', 'running'])), fields=['due_at'], name='operation_due'),
        ),
        migrations.AddIndex(
            model_name='operation',
            index=models.Index(fields=['requested_by'], name='operation_of_user'),
        ),
        migrations.AddConstraint(
            model_name='operation',
            constraint=models.UniqueConstraint(condition=models.Q(('state__in', ['pending', 'running']), models.Q(('exclusive', ''), _negated=True)), fields=('exclusive',), name='operation_exclusive'),
        ),
        migrations.AddConstraint(
            model_name='operationstep',
            constraint=models.UniqueConstraint(fields=('operation', 'key'), name='operation_step_unique'),
        ),
    ]
