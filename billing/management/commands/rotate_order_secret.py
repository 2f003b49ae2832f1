"""Give an order a new secret."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing.services import orders
from core.errors import DomainError


class Command(BaseCommand):
    """Prints {"id","secret"}: the secret is shown only once, and the old one is void."""

    help = "Give an order a new secret and print it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """ID."""
        parser.add_argument("id")

    def handle(self, *args: Any, **options: Any) -> None:
        """Rotate or refuse in one sentence."""
        try:
            order = orders.find(options["id"])
            secret = orders.rotate_secret(order)
        except DomainError as error:
            raise CommandError(error.message) from None
        self.stdout.write(json.dumps({"id": order.pk, "secret": secret}))
