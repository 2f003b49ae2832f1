"""Make an order, paid or not."""

import json
from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError

from billing.services import orders
from core.errors import DomainError


class Command(BaseCommand):
    """Prints {"id","secret"}; the secret is null until the order is paid, and shown only once."""

    help = "Make an order; prints JSON with its id and, when paid, its secret."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """--units N --duration H [--region R] [--paid] [--random-ports] [--plan P] [--owner USER]
        [--address A] [--public-key K].
        """
        parser.add_argument(
            "--units",
            type=int,
            required=True,
            help="resource units: host ports and Gi of memory",
        )
        parser.add_argument(
            "--duration",
            type=int,
            required=True,
            help="how long, in hours unless VKUBE_DURATION_SECONDS says otherwise",
        )
        parser.add_argument(
            "--region",
            default="",
            help="bind the order to a region",
        )
        parser.add_argument(
            "--paid",
            action="store_true",
            help="record the whole payment at once",
        )
        parser.add_argument(
            "--random-ports",
            action="store_true",
            help="the system chooses the host ports",
        )
        parser.add_argument("--plan", default=orders.DEFAULT_PLAN)
        parser.add_argument(
            "--owner",
            default="",
            help="user name of the buyer, who may then see the order",
        )
        parser.add_argument(
            "--address",
            default="",
            help="the payer's address",
        )
        parser.add_argument("--public-key", default="")

    def handle(self, *args: Any, **options: Any) -> None:
        """Make it or refuse in one sentence."""
        fields = ("units", "duration", "region", "random_ports", "plan", "address", "public_key")
        try:
            order = orders.create(
                orders.PurchaseRequest(**{name: options[name] for name in fields}),
                owner=self._owner(options["owner"]),
            )
            secret = orders.pay(order, by="manage.py create_order")[1] if options["paid"] else None
        except DomainError as error:
            raise CommandError(error.message) from None
        self.stdout.write(json.dumps({"id": order.pk, "secret": secret}))

    @staticmethod
    def _owner(name: str) -> Any:
        if not name:
            return None
        user = get_user_model().objects.filter(username=name).first()
        if user is None:
            raise CommandError(f"user {name!r} does not exist")
        return user
