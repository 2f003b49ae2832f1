"""Record a payment."""

import json
from argparse import ArgumentParser
from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing.services import orders
from core.errors import DomainError


class Command(BaseCommand):
    """Prints {"id","status","amountPaid","secret"}; the last payment issues the secret."""

    help = "Record a payment for an order; the one that completes it prints the secret."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """ID [--amount N] [--reference TEXT]."""
        parser.add_argument("id")
        parser.add_argument(
            "--amount",
            default=None,
            help="all that is open when not given",
        )
        parser.add_argument(
            "--reference",
            default="",
            help="for example the id of the transfer",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Record it or refuse in one sentence."""
        try:
            amount = None if options["amount"] is None else Decimal(options["amount"])
            order, secret = orders.pay(
                orders.find(options["id"]),
                by="manage.py pay_order",
                amount=amount,
                reference=options["reference"],
            )
        except InvalidOperation:
            raise CommandError("the amount must be a whole number") from None
        except DomainError as error:
            raise CommandError(error.message) from None
        self.stdout.write(
            json.dumps(
                {
                    "id": order.pk,
                    "status": order.status,
                    "amountPaid": int(order.amount_paid),
                    "secret": secret,
                }
            )
        )
