"""End the orders whose time is over."""

import json
from typing import Any

from django.core.management.base import BaseCommand

from billing.models import Deployment
from billing.services import expiry


class Command(BaseCommand):
    """Prints {"expired","waiting"}: orders that ended, Deployments that wait for removal."""

    help = (
        "End every order whose time is over; "
        "the beat task does the same every VKUBE_EXPIRE_INTERVAL_SECONDS."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """One run."""
        expired = expiry.expire_due()
        waiting = Deployment.objects.filter(state=Deployment.State.REMOVING).count()
        self.stdout.write(json.dumps({"expired": expired, "waiting": waiting}))
