"""Database sessions that may have died since they were last used: found out by using them, not by asking first."""

import functools
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from django.db import InterfaceError, OperationalError, connection

P = ParamSpec("P")
R = TypeVar("R")

ATTEMPTS = 5
_TRY_AGAIN = frozenset({"40001", "40P01"})


def retried(operation: Callable[P, R]) -> Callable[P, R]:
    """For what may be done twice: run again what lost a deadlock or its session; inside a caller's transaction the error is the caller's.

    The session is not looked at before: that would be an exchange for each request, and would not help a session that dies a moment later.
    """

    @functools.wraps(operation)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        connection.health_check_done = True  # type: ignore[attr-defined]  # of every Django database wrapper
        for attempt in range(ATTEMPTS):
            session = connection.connection
            try:
                return operation(*args, **kwargs)
            except (OperationalError, InterfaceError) as error:
                if (
                    connection.in_atomic_block
                    or attempt == ATTEMPTS - 1
                    or not _worth_another(error, session)
                ):
                    raise
                time.sleep(0.01 * 2**attempt)
        raise AssertionError("unreachable")

    return run


def _worth_another(error: Exception, session: object) -> bool:
    """Whether the failure was a deadlock or a lost session, which is given up so that the next attempt gets a new one."""
    if getattr(error.__cause__, "pgcode", None) in _TRY_AGAIN:
        return True
    if session is not None and connection.connection is not session:
        # The end of a transaction has found it dead already, and may have made a new one.
        return True
    if connection.connection is not None and connection.is_usable():
        return False
    connection.close()
    return True
