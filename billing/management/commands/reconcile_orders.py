"""Derive the ledger again and say where it differs."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing.models import Order
from billing.services import ledger, orders
from core.errors import DomainError


class Command(BaseCommand):
    """One line a difference, then how many orders were looked at; ends with status 1 when anything differs."""

    help = "Derive every charge, refund and balance from payments and usage samples again; prints differences."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """[ID …]."""
        parser.add_argument("id", nargs="*", help="orders to look at; all when not given")

    def handle(self, *args: Any, **options: Any) -> None:
        """Compare and print."""
        try:
            found = [orders.find(pk) for pk in options["id"]]
        except DomainError as error:
            raise CommandError(error.message) from None
        looked = differing = 0
        for order in found or Order.objects.order_by("created_at").iterator():
            looked += 1
            for difference in ledger.differences(order):
                differing += 1
                self.stdout.write(
                    f"{difference.order}: {difference.what}: booked {difference.booked}, derived {difference.derived}"
                )
        self.stdout.write(f"{looked} orders, {differing} differences")
        if differing:
            raise SystemExit(1)
