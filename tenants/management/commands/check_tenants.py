"""Compare the rows of tenants with what the clusters hold."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from tenants import drift


class Command(BaseCommand):
    """One line for each difference, and how many there are."""

    help = "Report where tenants and clusters have parted: namespaces gone, made anew, not known, or lacking what was asked for."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """[--fix] [--strict]."""
        parser.add_argument(
            "--fix",
            action="store_true",
            help="forget what is gone or made anew, take in what is labelled as a tenant",
        )
        parser.add_argument(
            "--strict", action="store_true", help="exit 1 when there is a difference"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Report; mend first when asked to."""
        if options["fix"]:
            self.stdout.write(f"mended {drift.repair()}")
        found = list(drift.check())
        for difference in found:
            self.stdout.write(str(difference))
        self.stdout.write(f"{len(found)} difference{'s' if len(found) != 1 else ''}")
        if found and options["strict"]:
            sys.exit(1)
