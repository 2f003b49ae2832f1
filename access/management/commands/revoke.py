"""Take roles away from a user or a group."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from access import grants, users
from core.errors import DomainError


class Command(BaseCommand):
    """Says how many grants went."""

    help = (
        "Take grants away from a user (or, with --group, a group): all of them, "
        "or those that fit what is given."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """NAME [--role ROLE] [--cluster C] [--namespace N] [--group]."""
        parser.add_argument("name")
        parser.add_argument("--role", default="", help="only this role")
        parser.add_argument(
            "--cluster",
            default="",
            help="only on this cluster (name or id)",
        )
        parser.add_argument(
            "--namespace",
            default="",
            help="only on this namespace",
        )
        parser.add_argument(
            "--group",
            action="store_true",
            help="NAME is a group",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Revoke or refuse in one sentence."""
        try:
            count = grants.take(
                **users.grant_subject(options["name"], is_group=options["group"]),
                role=grants.role_of(options["role"]) if options["role"] else None,
                cluster=options["cluster"],
                namespace=options["namespace"],
            )
        except DomainError as error:
            raise CommandError(error.message) from None
        if not count:
            raise CommandError(f"{options['name']} holds no such grant")
        self.stdout.write(f"revoked {count} grant{'s' if count != 1 else ''} of {options['name']}")
