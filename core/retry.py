"""Retrying a write when the object was changed in between, as client-go's RetryOnConflict does."""

from collections.abc import Callable
from typing import TypeVar

from core.errors import Conflict

R = TypeVar("R")
TRIES = 4


def retry_on_conflict(
    write: Callable[[], R],
    *,
    tries: int = TRIES,
    conflicts: tuple[type[Exception], ...] = (Conflict,),
) -> R:
    """What `write` returns, called up to `tries` times; the last call's conflict is raised.

    `write` has to read the object again each time.
    """
    for _ in range(tries - 1):
        try:
            return write()
        except conflicts:
            continue
    return write()
