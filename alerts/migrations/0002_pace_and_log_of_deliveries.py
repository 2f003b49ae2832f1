"""The pace of channels, what groups know, and the attempts of deliveries."""

import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    """Replaces the columns that the outbox of all deliveries names otherwise."""

    dependencies = [("alerts", "0001_initial")]

    operations = [
        migrations.RemoveIndex(model_name="delivery", name="alert_delivery_due"),
        migrations.RemoveField(model_name="delivery", name="next_attempt_at"),
        migrations.RemoveField(model_name="delivery", name="error"),
        migrations.RemoveField(model_name="notificationgroup", name="content_hash"),
        migrations.AddField(
            model_name="notificationgroup",
            name="told",
            field=models.JSONField(
                blank=True,
                default=list,
                help_text="Ids of the alerts that the channel was told of as firing, "
                "and not as resolved.",
            ),
        ),
        migrations.AddField(
            model_name="channel",
            name="paced_until",
            field=models.DateTimeField(
                blank=True,
                editable=False,
                help_text="How far its attempts are ahead of the rate that it may have.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="delivery",
            name="answer",
            field=models.CharField(
                blank=True,
                default="",
                help_text="What went wrong in the last attempt, or that it was delivered.",
                max_length=200,
            ),
        ),
        migrations.AddField(
            model_name="delivery",
            name="log",
            field=models.JSONField(
                blank=True,
                default=list,
                help_text='Each attempt: {"at", "status", "error"}.',
            ),
        ),
        migrations.AddField(
            model_name="delivery",
            name="is_test",
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name="delivery",
            name="due_at",
            field=models.DateTimeField(default=django.utils.timezone.now),
            preserve_default=False,
        ),
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(
                condition=models.Q(("state", "pending")),
                fields=["due_at"],
                name="alert_delivery_due",
            ),
        ),
    ]
