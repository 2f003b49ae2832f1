"""One look at the log of changes for all watches of a process, and reads that watches share."""

import asyncio
import logging
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from django.conf import settings
from django.db import DatabaseError

from gateway.store.database import in_store_thread
from storage_api.services import change_log, multicluster_watch

log = logging.getLogger(__name__)
T = TypeVar("T")


class LogFollower:
    """How far the log is settled, and up to where kinds have changed.

    A watch whose kind has not changed costs nothing, however many there are.
    """

    def __init__(self) -> None:
        self.settled = 0
        # Where the look began: of what is before it nothing is known.
        self._began: int | None = None
        self._changed: dict[str, int] = {}
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._task: asyncio.Task[None] | None = None

    @contextmanager
    def follow(self, resource_type: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever objects of the type have changed, for a `with` block."""
        event = asyncio.Event()
        self._waiting.setdefault(resource_type, set()).add(event)
        if self._task is None:
            self._began = None
            self._task = asyncio.create_task(self._run())
        try:
            yield event
        finally:
            self._waiting[resource_type].discard(event)
            if not self._waiting[resource_type]:
                del self._waiting[resource_type]
            if not self._waiting:
                self._task.cancel()
                self._task = None

    def may_have_changed(self, resource_type: str, after: int) -> bool:
        """Whether the log may have changes of the type behind a position."""
        if self._began is None or after < self._began:
            return after < self.settled
        return self._changed.get(resource_type, 0) > after

    async def _run(self) -> None:
        while True:
            try:
                await self._look()
            except DatabaseError:
                # The next look goes on from the same place.
                log.warning(
                    "the log of changes could not be looked at",
                    exc_info=True,
                )
            await asyncio.sleep(settings.STORAGE_WATCH_POLL)

    async def _look(self) -> None:
        settled = await in_store_thread(change_log.horizon)
        if self._began is None:
            self._began = settled
            self.settled = settled
            self._wake(self._waiting)
        elif settled > self.settled:
            types = await in_store_thread(
                multicluster_watch.changed_types,
                self.settled,
                settled,
            )
            self._changed |= dict.fromkeys(types, settled)
            self.settled = settled
            self._wake(types)

    def _wake(self, types: Iterable[str]) -> None:
        for resource_type in types:
            for event in self._waiting.get(resource_type, ()):
                event.set()


class SharedCalls:
    """Results of database calls that several watches need at about the same time."""

    def __init__(self) -> None:
        self._tasks: dict[Hashable, asyncio.Task[Any]] = {}

    async def call(
        self,
        key: Hashable,
        function: Callable[[], T],
        *,
        seconds: float,
    ) -> T:
        """The function's result, or that of the same key that is not older than so many seconds."""
        task = self._tasks.get(key)
        if task is None:
            task = asyncio.create_task(in_store_thread(function))
            self._tasks[key] = task
            asyncio.get_running_loop().call_later(
                seconds,
                self._tasks.pop,
                key,
                None,
            )
        # One watch that ends must not end the call of the others.
        result: T = await asyncio.shield(task)
        return result


_followers: "WeakKeyDictionary[asyncio.AbstractEventLoop, LogFollower]" = WeakKeyDictionary()
_calls: "WeakKeyDictionary[asyncio.AbstractEventLoop, SharedCalls]" = WeakKeyDictionary()


def log_follower() -> LogFollower:
    """That of the running event loop."""
    return _followers.setdefault(
        asyncio.get_running_loop(),
        LogFollower(),
    )


def shared_calls() -> SharedCalls:
    """Those of the running event loop."""
    return _calls.setdefault(asyncio.get_running_loop(), SharedCalls())
