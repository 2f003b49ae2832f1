"""Periodic work on one cluster after the other: what a cluster answers is no fault of ours."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
from celery.exceptions import SoftTimeLimitExceeded

from clusters.models import Cluster
from core.errors import DomainError

log = logging.getLogger(__name__)
ANSWERS = (DomainError, ValueError, msgspec.DecodeError)


@contextmanager
def attempt(cluster: Cluster, purpose: str) -> Iterator[None]:
    """Say in one line of the log, without a traceback, why the cluster let the purpose fail (a refusal, a time-out, a broken answer), and
    go on: the next run tries again. Other errors are faults of ours and are raised."""
    try:
        yield
    except ANSWERS as error:
        reason = str(error) or type(error).__name__
    except SoftTimeLimitExceeded:
        reason = "it took longer than the task may"
    else:
        return
    log.warning("%s: %s failed: %s", cluster.name, purpose, reason[:500])
