"""Give back what was not used, and end the order."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing.services import expiry, orders
from core.errors import DomainError


class Command(BaseCommand):
    """Prints {"id","refunded"}: what was paid less what was used."""

    help = "Refund what an order has not used, end it and take away what it runs."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """ID [--reference TEXT]."""
        parser.add_argument("id")
        parser.add_argument(
            "--reference",
            default="",
            help="for example the id of the transfer back",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Refund or refuse in one sentence."""
        try:
            order = orders.find(options["id"])
            refunded = expiry.refund(
                order,
                by="manage.py refund_order",
                reference=options["reference"],
            )
        except DomainError as error:
            raise CommandError(error.message) from None
        self.stdout.write(json.dumps({"id": order.pk, "refunded": str(refunded)}))
