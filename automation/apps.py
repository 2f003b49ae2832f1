"""Django's entry for this application."""

from django.apps import AppConfig


class Config(AppConfig):
    """Names the application."""

    name = "automation"
    verbose_name = "Automation"
