"""Give a user or a group a role."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from access import grants, users
from access.management.role_arguments import add_role_arguments
from core.errors import DomainError


class Command(BaseCommand):
    """Prints the grant that was made."""

    help = (
        "Give a user (or, with --group, a group) a role on everything, on a cluster, "
        "or on a namespace of a cluster."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """NAME --role ROLE [--cluster C] [--namespace N] [--group]."""
        add_role_arguments(parser)
        parser.add_argument(
            "--group",
            action="store_true",
            help="NAME is a group, made when there is none",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Grant or refuse in one sentence."""
        try:
            grant = grants.give(
                **users.grant_subject(options["name"], is_group=options["group"], create=True),
                role=grants.role_of(options["role"]),
                cluster=options["cluster"],
                namespace=options["namespace"],
                by="command line",
            )
        except DomainError as error:
            raise CommandError(error.message) from None
        self.stdout.write(f"granted {grant}")
