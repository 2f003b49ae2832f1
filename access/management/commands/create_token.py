"""Make an API token for a user."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError

from access import tokens
from access.policy import SCOPE_PRESETS, Right
from core.errors import Invalid


class Command(BaseCommand):
    """Prints the token, once, and on standard error when it expires."""

    help = "Create an API token for a user and print it; it cannot be shown again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """USERNAME [--name NAME] [--days N] [--scope S]… [--cluster C]… [--wire W]."""
        parser.add_argument("username")
        parser.add_argument("--name", default="command line")
        parser.add_argument(
            "--days",
            type=int,
            default=settings.API_TOKEN_DAYS,
            help="life in days; 0: it does not expire; default: %(default)s",
        )
        parser.add_argument(
            "--scope",
            action="append",
            default=[],
            help=f"what it may do at most: {', '.join([*Right, *SCOPE_PRESETS])}; default all",
        )
        parser.add_argument(
            "--cluster",
            action="append",
            default=[],
            help="name, id or clusterId that it is bound to; default every one",
        )

        parser.add_argument(
            "--wire",
            choices=["doc", "go"],
            default="",
            help="how bcs-storage answers it: as its document or as its Go server",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the token alone on a line."""
        user = get_user_model().objects.filter(username=options["username"], is_active=True).first()
        if user is None:
            raise CommandError(f"there is no active user {options['username']!r}")
        if not 0 <= options["days"] <= 36500:
            raise CommandError("--days must be from 0 to 36500")
        lifetime = timedelta(days=options["days"]) if options["days"] else None
        try:
            scopes = tokens.check_scopes(options["scope"] or None)
            clusters = tokens.check_clusters(options["cluster"] or None)
        except Invalid as error:
            raise CommandError(error.message) from None
        row, raw = tokens.create_api_token(
            user,
            options["name"],
            lifetime=lifetime,
            scopes=scopes,
            clusters=clusters,
            wire=options["wire"],
        )
        expiry = "never expires"
        if row.expires_at:
            expiry = f"expires at {row.expires_at:%Y-%m-%dT%H:%M:%SZ}"
        # Before the token, which stands alone on standard output for scripts.
        self.stderr.write(f"the token {expiry}")
        self.stderr.flush()
        self.stdout.write(raw)
