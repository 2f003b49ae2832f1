"""Send the events of orders to an address."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing.services import webhooks
from core.errors import DomainError


class Command(BaseCommand):
    """Prints {"id","key"}: the key signs what is sent, and is seen only this once."""

    help = "Register a webhook; prints JSON with its signing key."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """URL [--event NAME …]."""
        parser.add_argument("url")
        parser.add_argument(
            "--event",
            action="append",
            default=[],
            choices=webhooks.EVENTS,
            help="only these; all when not given",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Register or refuse in one sentence."""
        try:
            webhook, key = webhooks.create(options["url"], options["event"])
        except DomainError as error:
            raise CommandError(error.message) from None
        self.stdout.write(json.dumps({"id": webhook.pk, "key": key}))
