"""Trying again when somebody else changed the same object in between, as client-go does."""

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
    """What `write` returns; it reads the object anew at each try. The last try's error is raised."""
    for _ in range(tries - 1):
        try:
            return write()
        except conflicts:
            continue
    return write()
