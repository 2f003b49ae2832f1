"""Make a user with a role."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from access import users
from access.management.role_arguments import add_role_arguments
from core.errors import DomainError


class Command(BaseCommand):
    """Says what was made."""

    help = "Create a user with a role on everything, on a cluster, or on a namespace of a cluster."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """NAME --role ROLE [--cluster C] [--namespace N] --password P."""
        add_role_arguments(parser)
        parser.add_argument("--email", default="")
        parser.add_argument(
            "--password",
            required=True,
            help="the password, or - to read it from standard input",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Create or refuse in one sentence."""
        password = options["password"]
        if password == "-":  # noqa: S105
            password = sys.stdin.readline().rstrip("\n")
        try:
            user = users.create(
                options["name"],
                password,
                role=options["role"],
                cluster=options["cluster"],
                namespace=options["namespace"],
                email=options["email"],
                by="command line",
            )
        except DomainError as error:
            raise CommandError(error.message) from None
        self.stdout.write(f"created {user.get_username()}")
