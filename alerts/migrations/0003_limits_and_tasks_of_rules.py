"""What the token that wrote a rule leaves of its owner's rights, and the tasks that it starts."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    """Adds the columns and the table of started tasks."""

    dependencies = [
        ('alerts', '0002_pace_and_log_of_deliveries'),
    ]

    operations = [
        migrations.AddField(
            model_name='rule',
            name='limits',
            field=models.JSONField(blank=True, default=dict, editable=False, help_text="What the API token that wrote the rule leaves of its owner's rights."),
        ),
        migrations.AddField(
            model_name='rule',
            name='reach_hash',
            field=models.CharField(blank=True, default='', editable=False, help_text='Where its owner let it look at the last turn.', max_length=40),
        ),
        migrations.AddField(
            model_name='rule',
            name='tasks',
            field=models.JSONField(blank=True, default=list, help_text='Ids of the tasks that an alert of the rule starts when it fires.'),
        ),
        migrations.CreateModel(
            name='TaskTrigger',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('task_id', models.BigIntegerField()),
                ('created_at', models.DateTimeField()),
                ('alert', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='task_triggers', to='alerts.alert')),
                ('rule', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='task_triggers', to='alerts.rule')),
            ],
            options={
                'ordering': ['id'],
                'constraints': [models.UniqueConstraint(fields=('alert', 'task_id'), name='alert_task_trigger_once')],
            },
        ),
    ]
