"""Refresh tokens stood in clear beside their ids; the ids are enough to end them."""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def blank(apps: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    """Leave the ids alone."""
    apps.get_model("token_blacklist", "OutstandingToken").objects.exclude(token="").update(token="")


class Migration(migrations.Migration):

    dependencies = [
        ("tenants", "0006_names"),
        ("token_blacklist", "0013_alter_blacklistedtoken_options_and_more"),
    ]

    operations = [migrations.RunPython(blank, migrations.RunPython.noop)]
