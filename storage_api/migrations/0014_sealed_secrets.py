"""Values of Secrets that agents wrote before: sealed in the snapshot, in the log and wherever else documents are kept."""

from typing import Any

from django.db import migrations

from storage_api.services.protection import reprotect


def seal(*_: Any) -> None:
    """Rewrite the rows that hold such values."""
    reprotect()


class Migration(migrations.Migration):
    dependencies = [("storage_api", "0013_kind_aliases")]
    operations = [migrations.RunPython(seal, migrations.RunPython.noop)]
