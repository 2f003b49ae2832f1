from django.db import migrations, models


class Migration(migrations.Migration):
    """Singular and short names of the collected kinds, so that a kind is found under any of its names."""

    dependencies = [("storage_api", "0012_gap_place")]

    operations = [
        migrations.AddField(
            model_name="kindsync",
            name="aliases",
            field=models.JSONField(
                blank=True, default=list, help_text="Singular and short names."
            ),
        ),
    ]
