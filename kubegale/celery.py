"""The Celery application; queues and limits come from settings."""

import gc
import os

from celery import Celery
from celery.signals import setup_logging, worker_before_create_process, worker_process_init
from django.conf import settings

from kubegale.observability import configure_logging

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kubegale.settings")

app = Celery("kubegale")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect
def configure_worker_logging(**_: object) -> None:
    """Log in the format of all processes; without a receiver Celery would bring its own."""
    configure_logging(settings.LOGGING)


@worker_before_create_process.connect
def share_what_was_loaded(**_: object) -> None:
    """Before the fork: what was loaded is never garbage.

    Looking through it, as the collector does, would write to each of its pages, and processes share
    only pages that none of them has written to.
    """
    gc.collect()
    gc.freeze()


@worker_process_init.connect
def collect_garbage_rarely(**_: object) -> None:
    """Collect rarely: big JSON makes many objects and no cycles."""
    gc.set_threshold(50_000, 20, 50)
