"""Make a database ready for use: migrations and a first administrator."""

import json
import os
from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from clusters import registry
from clusters.models import Cluster


class Command(BaseCommand):
    """Prints JSON: {"administrator","created","password_current","clusters","active"}.

    `clusters` is name -> server, `active` the names of those that answered at their last check.
    """

    help = (
        "Migrate, make sure of an administrator (password from DJANGO_SUPERUSER_PASSWORD), "
        "print as JSON what is there."
    )

    requires_system_checks: tuple[str, ...] = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """[--administrator NAME]."""
        parser.add_argument(
            "--administrator",
            default="admin",
            help="name of the user to create when there is none of that name",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """An existing user is left alone, so that a changed password stays changed."""
        if not (password := os.environ.get("DJANGO_SUPERUSER_PASSWORD")):
            raise CommandError(
                "DJANGO_SUPERUSER_PASSWORD is not set: give the password of the administrator."
            )
        call_command("migrate", interactive=False, verbosity=0)
        users = get_user_model().objects
        user = users.filter(username=options["administrator"]).first()
        created = user is None
        user = user or users.create_superuser(options["administrator"], password=password)
        clusters = registry.clusters()
        active = clusters.filter(status=Cluster.Status.ACTIVE)
        self.stdout.write(
            json.dumps(
                {
                    "administrator": user.get_username(),
                    "created": created,
                    "password_current": user.check_password(password),
                    "clusters": dict(clusters.values_list("name", "server")),
                    "active": list(active.values_list("name", flat=True)),
                }
            )
        )
