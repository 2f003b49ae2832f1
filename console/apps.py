"""The console's Django app."""

from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    """Pages, no models."""

    name = "console"
    verbose_name = "Console"
