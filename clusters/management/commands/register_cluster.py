"""Register a cluster from a kubeconfig file."""

import json
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from clusters import registry
from clusters.models import Cluster
from core.errors import DomainError


class Command(BaseCommand):
    """Prints the new cluster as JSON."""

    help = "Register a cluster by its kubeconfig; prints JSON with its id."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """NAME --kubeconfig FILE [--default] [--description TEXT] [--exist-ok]."""
        parser.add_argument("name")
        parser.add_argument(
            "--kubeconfig", required=True, help="file to read, or - for standard input"
        )
        parser.add_argument(
            "--context",
            default="",
            help="which of the kubeconfig's contexts, if not the current one",
        )
        parser.add_argument("--description", default="")
        parser.add_argument(
            "--default",
            action="store_true",
            help="act on this cluster where a dialect names none",
        )
        parser.add_argument(
            "--exist-ok",
            action="store_true",
            help="when the name is taken, give that cluster this kubeconfig",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Register the cluster and print it; CommandError, in one sentence, when refused."""
        try:
            cluster = self._register(**options)
        except DomainError as error:
            raise CommandError(error.message) from None
        warnings = [
            *registry.expiry_warnings(cluster),
            *registry.duplicate_warnings(
                cluster,
                registry.registrations([cluster]),
                None,
            ),
        ]
        self.stdout.write(
            json.dumps(
                {
                    "id": cluster.pk,
                    "name": cluster.name,
                    "server": cluster.server,
                    "version": cluster.version,
                    "warnings": warnings,
                }
            )
        )

    def _register(
        self,
        *,
        name: str,
        kubeconfig: str,
        context: str,
        description: str,
        default: bool,
        exist_ok: bool,
        **_: Any,
    ) -> Cluster:
        text = self._read(kubeconfig)
        existing = registry.clusters().filter(name__iexact=name).first()
        if exist_ok and existing:
            fields: dict[str, object] = {"kubeconfig": text}
            if context:
                fields["context"] = context
            if default:
                fields["is_default"] = True
            return registry.update(existing, fields)
        return registry.register(
            name=name,
            kubeconfig_text=text,
            context=context,
            description=description,
            default=default,
        )

    @staticmethod
    def _read(path: str) -> str:
        try:
            return sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(
                f"cannot read {path}: {getattr(error, 'strerror', None) or 'not text'}"
            ) from None
