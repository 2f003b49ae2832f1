"""Print a kubeconfig for the gateway."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError

from access import grants, tokens
from access.authorization import decide
from access.policy import Right
from clusters import registry
from core.api.attributes import AccessAttributes
from core.errors import ClusterNotFound, Forbidden, Invalid
from gateway import kubeconfigs


class Command(BaseCommand):
    """Prints the kubeconfig and nothing else, so that it can be redirected into a file."""

    help = "Print a kubeconfig with a new API token of a user; the token cannot be shown again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """USER [--cluster NAME] [--expires-in DURATION] [--namespace NS] [--scope S]…."""
        parser.add_argument("username", metavar="USER")
        parser.add_argument(
            "--cluster",
            metavar="NAME",
            help="one cluster, by name or id; default: all that the user may see, and the fleet",
        )
        parser.add_argument("--expires-in", default=kubeconfigs.DEFAULT_LIFETIME)
        parser.add_argument("--namespace", default="")
        parser.add_argument(
            "--scope",
            action="append",
            default=[],
            help=f"what its token may do at most: {', '.join(Right)}; default all",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the kubeconfig."""
        user = get_user_model().objects.filter(username=options["username"], is_active=True).first()
        if user is None:
            raise CommandError(f"there is no active user {options['username']!r}")
        if not settings.GATEWAY_URL:
            raise CommandError("GATEWAY_URL is not set: where do clients reach the gateway?")
        cluster = options["cluster"]
        act = AccessAttributes("get" if cluster else "list", "clusters", cluster=cluster or "")
        try:
            scope = decide(grants.effective_grants(user), None, act)
            rows = [registry.find(cluster)] if cluster else list(registry.clusters())
            if scope.clusters is not None:
                rows = [row for row in rows if row.pk in scope.clusters]
            _, text = kubeconfigs.issue(
                user,
                rows,
                settings.GATEWAY_URL,
                lifetime=kubeconfigs.parse_lifetime(options["expires_in"]),
                scopes=tokens.check_scopes(options["scope"] or None),
                namespace=kubeconfigs.check_namespace(options["namespace"]),
                with_fleet=not cluster,
            )
        except (ClusterNotFound, Forbidden, Invalid) as error:
            raise CommandError(error.message) from None
        self.stdout.write(text.rstrip("\n"))
