"""`migrate`, which refuses databases that this version cannot take over."""

from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.management.base import CommandError
from django.core.management.commands import migrate
from django.db import connections
from django.db.migrations.loader import MigrationLoader


class Command(migrate.Command):
    """Django's command, after a look at who made the database.

    Nothing was released before each app's migrations became one. A database from before that day
    records migrations that no longer exist; Django would take its tables for the new ones.
    """

    def handle(self, *args: Any, **options: Any) -> None:
        """Migrate; CommandError for a database with migrations of ours that do not exist."""
        loader = MigrationLoader(connections[options["database"]])
        own = {
            app.label
            for app in apps.get_app_configs()
            if Path(app.path).is_relative_to(settings.BASE_DIR)
        }
        unknown = sorted(
            f"{app}.{name}"
            for app, name in loader.applied_migrations
            if app in own and (app, name) not in loader.disk_migrations
        )
        if unknown:
            raise CommandError(
                "This database was made by another version of KubeGale (it records the migration "
                f"{unknown[0]}, which this version does not have) and cannot be migrated. Use a "
                "new database, or the version that made this one."
            )
        super().handle(*args, **options)
