"""Django's entry for this application."""

from django.apps import AppConfig
from django.utils.module_loading import import_string


class Config(AppConfig):
    """Names the application, and tells the alerts which tasks their rules may name."""

    name = "automation"
    verbose_name = "Automation"

    def ready(self) -> None:
        """Both modules need models, which are loaded by now and not when this file is read."""
        register = import_string("alerts.triggers.register_validator")
        register(import_string("automation.triggers.check_tasks"))
