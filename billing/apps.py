"""Django's entry for this application."""

from django.apps import AppConfig


class Config(AppConfig):
    """Names the application."""

    name = "billing"
    verbose_name = "Orders"
