"""Gaps stand in the log of changes, so that who follows it is told of them in their place; they are announced as changes are."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """A place for each gap from now on; earlier ones are told by the history alone."""

    dependencies = [("storage_api", "0011_countable")]

    operations = [
        migrations.AddField(
            model_name="gap",
            name="seq",
            field=models.BigIntegerField(help_text="Its place in the log: what the list found stands before it.", null=True),
        ),
        migrations.AddIndex(model_name="gap", index=models.Index(fields=["seq"], name="storage_gap_order")),
        migrations.RunSQL(
            """
            CREATE TRIGGER storage_gap_announce BEFORE INSERT ON storage_gap
              FOR EACH STATEMENT EXECUTE FUNCTION storage_change_announce();
            """,
            "DROP TRIGGER storage_gap_announce ON storage_gap;",
        ),
    ]
