"""Change the API server address of registered clusters, if it is the same server."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from access import audit_sink
from clusters import registry
from clusters.models import Cluster
from core.api.attributes import AccessAttributes
from core.api.audit import AuditEvent
from core.errors import DomainError


class Command(BaseCommand):
    """Prints a line for each cluster that is registered at the old address."""

    help = (
        "Change the API server's address of the clusters that are registered at OLD to NEW. "
        "A cluster is changed when the server at NEW is its own: by its certificate, its "
        "credentials and the uid of kube-system."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """OLD NEW [--dry-run]."""
        parser.add_argument("old", metavar="OLD", help="the address now, as https://10.0.0.5:6443")
        parser.add_argument("new", metavar="NEW", help="the address from now on")
        parser.add_argument("--dry-run", action="store_true", help="check, and change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        """Move what is at the old address; CommandError when a cluster is refused."""
        dry_run: bool = options["dry_run"]
        old = options["old"].rstrip("/")
        refusals = []
        rows = registry.clusters().filter(server=old).order_by("name")
        if not rows:
            self.stdout.write(f"no cluster is registered at {old}")
        for cluster in rows:
            try:
                registry.move(cluster, options["new"], dry_run=dry_run)
            except DomainError as error:
                refusals.append(f"{cluster.name}: {error.message}")
                if not dry_run:
                    _audit(cluster, old, options["new"], error)
                continue
            if not dry_run:
                _audit(cluster, old, cluster.server, None)
            verb = "can be moved" if dry_run else "was moved"
            self.stdout.write(f"{cluster.name} {verb} to {cluster.server}")
        if refusals:
            raise CommandError("; ".join(refusals))


def _audit(cluster: Cluster, old: str, new: str, error: DomainError | None) -> None:
    """An entry as of a change through the API, with both addresses."""
    act = AccessAttributes("update", "clusters", cluster=str(cluster.pk), name=cluster.name)
    details = {"changed": ["kubeconfig"], "server": {"from": old, "to": new}}
    event = AuditEvent(act, facts={"details": details})
    audit_sink.write_entry_of_command("move_clusters", event, error)
