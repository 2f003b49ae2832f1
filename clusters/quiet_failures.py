"""Periodic work on clusters: one that fails is logged in one line, as it is no error of ours."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
from celery.exceptions import SoftTimeLimitExceeded

from clusters.models import Cluster
from core.errors import DomainError

log = logging.getLogger(__name__)
# What a cluster's refusal, time-out or broken answer raises.
CLUSTER_ERRORS = (DomainError, ValueError, msgspec.DecodeError)


@contextmanager
def log_failure(cluster: Cluster, purpose: str) -> Iterator[None]:
    """Log in one line, without a traceback, why the cluster let the block fail, and go on.

    The task's next run tries again. Other errors than the cluster's are raised. `purpose` is what
    was being done, e.g. `checking it`.
    """
    try:
        yield
    except CLUSTER_ERRORS as error:
        reason = str(error) or type(error).__name__
    except SoftTimeLimitExceeded:
        reason = "it took longer than the task may"
    else:
        return
    log.warning("%s: %s failed: %s", cluster.name, purpose, reason[:500])
