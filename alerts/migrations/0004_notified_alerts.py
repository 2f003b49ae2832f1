"""What a channel knows of is called by a noun."""

from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [("alerts", "0003_limits_and_tasks_of_rules")]

    operations = [
        migrations.RenameField("notificationgroup", "told", "notified_alerts"),
    ]
