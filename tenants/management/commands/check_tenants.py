"""Compare the rows of tenants with what the clusters hold."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from tenants import drift


class Command(BaseCommand):
    """One line for each difference, and how many there are."""

    help = (
        "Report differences between tenants and clusters: namespaces that are gone, were created "
        "again, have no tenant, or lack objects of their tenant."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """[--fix] [--strict]."""
        parser.add_argument(
            "--fix",
            action="store_true",
            help="delete tenants without their namespace, adopt namespaces labelled as tenants",
        )
        parser.add_argument(
            "--strict",
            action="store_true",
            help="exit 1 when there is a difference",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Report; with --fix repair first."""
        if options["fix"]:
            self.stdout.write(f"mended {drift.repair()}")
        differences = list(drift.check())
        for difference in differences:
            self.stdout.write(str(difference))
        plural = "" if len(differences) == 1 else "s"
        self.stdout.write(f"{len(differences)} difference{plural}")
        if differences and options["strict"]:
            sys.exit(1)
