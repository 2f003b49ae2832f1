"""Pods of a cluster whose credentials may not count them are null."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("workloads", "0003_recording_marks")]

    operations = [
        migrations.AlterField(
            model_name="sample", name="pods", field=models.PositiveIntegerField(null=True)
        ),
    ]
