"""Asking several clusters at once, with one deadline for all."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import TypeVar

K = TypeVar("K")
R = TypeVar("R")
# Clusters that one call asks at the same time.
THREADS = 16


def ask_each(calls: Mapping[K, Callable[[], R]], *, seconds: float) -> dict[K, R]:
    """What the calls return, by key, without those that take longer than `seconds`.

    Raises what a call raises. The calls run in threads: they touch no rows.
    """
    if not calls:
        return {}
    pool = ThreadPoolExecutor(min(THREADS, len(calls)), thread_name_prefix="cluster")
    running = {
        # In the caller's context: a cluster that is called as the caller reads the name from it.
        pool.submit(copy_context().run, call): key
        for key, call in calls.items()
    }
    done, _late = wait(running, timeout=seconds)
    # Not waited for: a slow cluster may take until its own time-out.
    pool.shutdown(wait=False, cancel_futures=True)
    return {running[future]: future.result() for future in done}
