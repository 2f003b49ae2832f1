"""`manage.py collect`: keep the store's copy of every registered cluster current."""

import gc
from typing import Any

import uvloop
from django.core.management.base import BaseCommand

from storage_api.collector.process import (
    collect,
    options_from_settings,
)


class Command(BaseCommand):
    """Runs one collector in the foreground; several share the clusters."""

    help = (
        "Keep the store true to every registered cluster, until SIGTERM."
        " Several may run: they share the clusters by leases."
    )
    # They would load every address and page, which a collector never serves.
    requires_system_checks: tuple[str, ...] = ()

    def handle(self, *args: Any, **kwargs: Any) -> None:
        """Collect until SIGTERM or SIGINT."""
        # What is loaded so far stays for good: the garbage collector need not look at it.
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        # uvloop's TLS takes memory as it is used; asyncio's own keeps a quarter of a megabyte
        # filled for each of hundreds of watches.
        uvloop.run(collect(options_from_settings()))
