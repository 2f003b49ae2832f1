"""Databases that this version cannot take over."""

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db.migrations.recorder import MigrationRecorder


@pytest.mark.django_db
def test_a_database_of_another_version_is_refused_in_one_sentence() -> None:
    """Its tables would be taken for ours."""
    MigrationRecorder.Migration.objects.create(app="clusters", name="0002_operation")
    with pytest.raises(CommandError, match=r"records the migration clusters\.0002_operation"):
        call_command("migrate", interactive=False, verbosity=0)
