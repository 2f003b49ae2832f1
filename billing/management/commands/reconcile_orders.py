"""Derive the ledger again and say where it differs."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing.models import Order
from billing.services import ledger, orders
from core.errors import DomainError


class Command(BaseCommand):
    """Prints a line for each difference, then counts; exits with 1 when anything differs."""

    help = (
        "Derive every charge, refund and balance from payments and usage samples again; "
        "prints differences."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """[ID …]."""
        parser.add_argument(
            "id",
            nargs="*",
            help="orders to look at; all when not given",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Compare and print."""
        try:
            selected = [orders.find(pk) for pk in options["id"]]
        except DomainError as error:
            raise CommandError(error.message) from None
        checked = 0
        differing = 0
        for order in selected or Order.objects.order_by("created_at").iterator():
            checked += 1
            for difference in ledger.differences(order):
                differing += 1
                self.stdout.write(
                    f"{difference.order}: {difference.what}: "
                    f"booked {difference.booked}, derived {difference.derived}"
                )
        self.stdout.write(f"{checked} orders, {differing} differences")
        if differing:
            raise SystemExit(1)
