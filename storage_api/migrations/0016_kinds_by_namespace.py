"""Kinds that are followed namespace by namespace, where credentials may not read the whole cluster."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("storage_api", "0015_free_documents")]

    operations = [
        migrations.AddField(
            model_name="gap",
            name="namespace",
            field=models.TextField(
                blank=True, default="", help_text="The namespace it is about; empty for all."
            ),
        ),
        migrations.AddField(
            model_name="kindsync",
            name="namespace",
            field=models.TextField(
                blank=True, default="", help_text="The namespace that is followed; empty for all."
            ),
        ),
        migrations.AlterField(
            model_name="kindsync",
            name="phase",
            field=models.TextField(
                choices=[
                    ("listing", "Listing"),
                    ("watching", "Watching"),
                    ("reconnecting", "Reconnecting"),
                    ("refused", "Refused"),
                    ("over_limit", "Over Limit"),
                ],
                default="listing",
            ),
        ),
        migrations.RemoveConstraint(model_name="kindsync", name="storage_kind_sync_key"),
        migrations.AddConstraint(
            model_name="kindsync",
            constraint=models.UniqueConstraint(
                fields=("cluster", "group", "plural", "namespace"), name="storage_kind_sync_key"
            ),
        ),
    ]
