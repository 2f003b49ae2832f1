"""The Celery application; queues and limits come from settings."""

import gc
import os
from typing import Any

from celery import Celery, Task, states
from celery.signals import (
    heartbeat_sent,
    setup_logging,
    task_postrun,
    task_prerun,
    worker_before_create_process,
    worker_process_init,
)
from django.conf import settings
from django.db import close_old_connections, connections

from core import heartbeat
from kubegale.observability import configure_logging, start_telemetry

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kubegale.settings")
# A worker serves no addresses: Django's checks would load all of them, with every page.
os.environ.setdefault("CELERY_SKIP_CHECKS", "true")

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


@worker_process_init.connect
def trace_tasks(**_: object) -> None:
    """Start telemetry in each process of the pool: its threads do not survive the fork."""
    start_telemetry("worker")


@task_prerun.connect
def check_connections(sender: "Task[Any, Any]", **_: object) -> None:
    """Begin a task with connections that live; as old as `CONN_MAX_AGE` at most."""
    if not sender.request.is_eager:
        close_old_connections()


@task_postrun.connect
def keep_connections(sender: "Task[Any, Any]", state: str | None = None, **_: object) -> None:
    """Keep the connections for the next task, as the web server does between requests.

    Not those of a task that failed or was stopped: their sessions may hold what it left.
    """
    if sender.request.is_eager:
        return
    if state in (states.SUCCESS, states.IGNORED):
        close_old_connections()
    else:
        connections.close_all()


@heartbeat_sent.connect
def show_life(**_: object) -> None:
    """Touch the file that probes look at, every time the worker's loop comes round."""
    heartbeat.beat()
