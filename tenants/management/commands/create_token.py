"""Make an API token for a user."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError

from kubegale.errors import Invalid
from tenants import tokens
from tenants.policy import Right


class Command(BaseCommand):
    """Prints the token, once."""

    help = "Create an API token for a user and print it; it cannot be shown again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """USERNAME [--name NAME] [--days N] [--scope S]… [--cluster C]…."""
        parser.add_argument("username")
        parser.add_argument("--name", default="command line")
        parser.add_argument(
            "--days", type=int, help="life in days; without it the token does not expire"
        )
        parser.add_argument(
            "--scope",
            action="append",
            default=[],
            help=f"what it may do at most: {', '.join(Right)}; default all",
        )
        parser.add_argument(
            "--cluster",
            action="append",
            default=[],
            help="name, id or clusterId that it is bound to; default every one",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the token alone on a line."""
        user = get_user_model().objects.filter(username=options["username"], is_active=True).first()
        if user is None:
            raise CommandError(f"there is no active user {options['username']!r}")
        lifetime = timedelta(days=options["days"]) if options["days"] else None
        try:
            scopes, clusters = (
                tokens.check_scopes(options["scope"]),
                tokens.check_clusters(options["cluster"]),
            )
        except Invalid as error:
            raise CommandError(error.message) from None
        self.stdout.write(
            tokens.create_api_token(
                user, options["name"], lifetime=lifetime, scopes=scopes, clusters=clusters
            )[1]
        )
