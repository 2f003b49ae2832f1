"""Repeats database work whose session died or lost a deadlock.

A dead session is noticed by using it, not by asking first.
"""

import functools
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from django.db import InterfaceError, OperationalError, connection

P = ParamSpec("P")
R = TypeVar("R")

ATTEMPTS = 5
FIRST_PAUSE = 0.01
# PostgreSQL's codes of a serialization failure and of a detected deadlock.
_RETRY_CODES = frozenset({"40001", "40P01"})


def retry_on_database_error(operation: Callable[P, R]) -> Callable[P, R]:
    """Decorates what may be done twice: it runs again after a deadlock or a lost session.

    Inside a caller's transaction the error is the caller's. The session is not checked before:
    that would cost an exchange for each request, and would not help when it dies a moment later.
    """

    @functools.wraps(operation)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        # Tells Django not to check it either; the attribute is of every Django database wrapper.
        connection.health_check_done = True  # type: ignore[attr-defined]
        for attempt in range(ATTEMPTS):
            session = connection.connection
            try:
                return operation(*args, **kwargs)
            except (OperationalError, InterfaceError) as error:
                is_last = attempt == ATTEMPTS - 1
                if connection.in_atomic_block or is_last or not _may_succeed(error, session):
                    raise
                time.sleep(FIRST_PAUSE * 2**attempt)
        raise AssertionError("unreachable")

    return run


def _may_succeed(error: Exception, session: object) -> bool:
    """Whether the failure was a deadlock or a lost session.

    A lost session is closed, so that the next attempt gets a new one.
    """
    if getattr(error.__cause__, "pgcode", None) in _RETRY_CODES:
        return True
    if session is not None and connection.connection is not session:
        # The end of the transaction has noticed that it is dead, and may have made a new one.
        return True
    if connection.connection is not None and connection.is_usable():
        return False
    connection.close()
    return True
