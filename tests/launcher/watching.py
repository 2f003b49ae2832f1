"""Looking at processes from outside."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from tests.tuning import tuned


def living(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def descendants(pid: int) -> set[int]:
    """Every process below `pid`."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int(
                    (entry / "stat").read_text().rpartition(")")[2].split()[1]
                )
            except (FileNotFoundError, ProcessLookupError):
                continue
    found, fresh = set(), {pid}
    while fresh:
        fresh = {child for child, parent in parents.items() if parent in fresh} - found
        found |= fresh
    return found


def eventually(check: Callable[[], bool], *, seconds: float = 15.0) -> bool:
    """Whether `check` becomes true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if check():
            return True
        time.sleep(0.05)
    return check()


def environment(**changes: str) -> dict[str, str]:
    """Our environment without servers, so that the launcher has to start its own."""
    without = {
        "DATABASE_URL",
        "REDIS_URL",
        "SECRET_KEY",
        "FIELD_ENCRYPTION_KEYS",
        "DJANGO_SETTINGS_MODULE",
        "KUBEGALE_DATA_DIR",
    }
    given = {key: value for key, value in os.environ.items() if key not in without}
    return tuned(given | changes)
