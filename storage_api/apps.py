"""Django's entry for this application."""

from django.apps import AppConfig


class Config(AppConfig):
    """Names the application."""

    name = "storage_api"
    verbose_name = "Storage"
