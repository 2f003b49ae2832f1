"""The clock of periodic tasks: `celery -A kubegale.beat beat`.

It sends tasks by name, so it needs the settings and nothing that the tasks import: a third of the
memory of a process that has loaded all of KubeGale.
"""

import os

from celery import Celery
from celery.loaders.app import AppLoader
from celery.signals import setup_logging
from django.conf import settings

from kubegale.observability import configure_logging

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kubegale.settings")


class SettingsLoader(AppLoader):
    """Reads the settings and imports no tasks."""

    def init_worker(self) -> None:
        """Called where Celery would load every application of Django."""


app = Celery("kubegale", fixups=[], loader=SettingsLoader)
app.config_from_object("django.conf:settings", namespace="CELERY")


@setup_logging.connect
def configure_beat_logging(**_: object) -> None:
    """Log in the format of all processes; without a receiver Celery would bring its own."""
    configure_logging(settings.LOGGING)
