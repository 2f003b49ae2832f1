"""Following one container's log for as long as it lasts: through broken connections and restarts, no line lost or doubled."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from clusters.client import Query
from clusters.kinds import KINDS
from clusters.streams import StreamClient
from core.errors import (
    ClusterUnavailable,
    DomainError,
    Invalid,
    NotFound,
    Rejected,
    TooManyRequests,
)
from workloads.objects.log_lines import LineReader, LogCursor, LogLine
from workloads.streams.containers import Container, container_status

PODS = KINDS["pods"]
SLOWEST = 30.0
SETTLED = 5.0
Emit = Callable[["LogFollower", LogLine], Awaitable[None]]
Notify = Callable[[str, str, str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class LogRequest:
    """Which part of each log is wanted, by the API server's names, and whether to go on when it has been read."""

    query: Query
    follow: bool = True


class _OtherRun(Exception):
    """The log that was opened belongs to a later run of the container."""

    def __init__(self, found: Container) -> None:
        super().__init__(found.source)
        self.found = found


class LogFollower:
    """Reads one container's log to its end. `emit` takes each line, `notify` (state, source, reason) what happens to the log."""

    def __init__(
        self,
        client: StreamClient,
        namespace: str,
        container: Container,
        wanted: LogRequest,
        *,
        cursor: LogCursor | None,
        emit: Emit,
        notify: Notify,
    ) -> None:
        self.source = container.source
        self._client, self._namespace, self._container, self._wanted = (
            client,
            namespace,
            container,
            wanted,
        )
        self._emit, self._notify = emit, notify
        self._reader = LineReader(cursor)
        self._opened = False
        self._since = ""
        self._trouble_began: float | None = None
        self._pause = 1.0

    async def run(self) -> None:
        """Until the container has ended for good; ClusterUnavailable when the cluster stays away."""
        while True:
            try:
                broken = await self._try_read()
            except _OtherRun as other:
                await self._restarted(other.found)
                continue
            if not self._wanted.follow and broken is None:
                return await self._notify("eof", self.source, "")
            if await self._is_over(broken):
                return None

    async def _try_read(self) -> DomainError | None:
        """Read as far as it goes; None when the log ended in order, else what broke."""
        try:
            await self._read(self._query(), follow=self._wanted.follow)
        except (ClusterUnavailable, NotFound, TooManyRequests) as error:
            return error
        except (Invalid, Rejected) as error:
            if not self._wanted.follow:
                raise
            return error
        return None

    def _query(self) -> dict[str, object]:
        """The first time what the caller asked for, later everything since the last line."""
        query: dict[str, object] = {"container": self._container.name, "timestamps": "true"}
        if self._reader.cursor:
            self._reader.again()
            return {**query, "sinceTime": self._reader.cursor.since}
        if self._opened:
            return {**query, "sinceTime": self._since}
        return {**query, **self._wanted.query}

    async def _read(self, query: Query, *, follow: bool) -> None:
        path = PODS.path(namespace=self._namespace, name=self._container.pod, subresource="log")
        query = {**query, "follow": "true"} if follow else query
        async with self._client.open(
            "GET", path, query=query, read=None if follow else self._client.limits.read
        ) as response:
            if self._opened and follow:
                await self._check_run()
            if not self._opened:
                self._opened, self._since = True, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            if self._trouble_began is not None:
                self._trouble_began = None
                await self._notify("connected", self.source, "")
            async for data in response.content.iter_any():
                self._pause = 1.0
                for line in self._reader.feed(data):
                    await self._emit(self, line)
            for line in self._reader.end():
                await self._emit(self, line)

    async def _check_run(self) -> None:
        """_OtherRun when the container was started again while we were away: what it printed before comes first."""
        pod = await self._client.json(
            "GET", PODS.path(namespace=self._namespace, name=self._container.pod)
        )
        found = container_status(pod, self._container.name)
        if found.uid == self._container.uid and found.restarts > self._container.restarts:
            raise _OtherRun(found)

    async def _is_over(self, broken: DomainError | None) -> bool:
        """What the pod says after the log ended or broke; waits where there is something to wait for."""
        try:
            pod = await self._client.json(
                "GET", PODS.path(namespace=self._namespace, name=self._container.pod)
            )
        except NotFound:
            return await self._gone("pod_deleted")
        except (ClusterUnavailable, TooManyRequests) as error:
            await self._keep_trying(error)
            return False
        found = container_status(pod, self._container.name)
        if found.uid != self._container.uid:
            return await self._gone("pod_replaced")
        if found.restarts > self._container.restarts:
            await self._restarted(found)
            return False
        if found.state == "ended":
            return await self._gone(found.reason)
        if isinstance(broken, NotFound):
            raise broken
        if (found.state == "running" and broken is None) or isinstance(broken, ClusterUnavailable):
            await self._keep_trying(broken)
        else:
            await self._sleep()
        return False

    async def _gone(self, reason: str) -> bool:
        await self._notify("eof", self.source, reason)
        return True

    async def _restarted(self, found: Container) -> None:
        """The rest of the log that the container left behind comes first."""
        try:
            await self._read({**self._query(), "previous": "true"}, follow=False)
        except (NotFound, Invalid, Rejected):
            pass  # nothing was kept of it
        except ClusterUnavailable as error:
            await self._keep_trying(error)
            return
        self._container = found
        await self._notify("container_restarted", self.source, found.reason)

    async def _keep_trying(self, error: DomainError | None) -> None:
        """Wait before the next try; when nothing has come for STREAM_GIVE_UP_SECONDS the cluster is lost."""
        moment = time.monotonic()
        if self._trouble_began is None:
            self._trouble_began = moment
            await self._notify("reconnecting", self.source, error.message if error else "")
        if (
            isinstance(error, ClusterUnavailable)
            and moment - self._trouble_began > settings.STREAM_GIVE_UP_SECONDS
        ):
            raise error
        await self._sleep()

    async def _sleep(self) -> None:
        spread = random.uniform(0.5, 1.0)  # noqa: S311  # spreads retries
        await asyncio.sleep(min(self._pause, settings.STREAM_GIVE_UP_SECONDS / 4) * spread)
        self._pause = min(self._pause * 2, SLOWEST)


def log_frame(line: LogLine, source: str, *, stamped: bool) -> dict[str, Any]:
    """The body of a log frame."""
    content = f"{line.cursor.time} {line.text}" if stamped else line.text
    data = {
        "content": content,
        "timestamp": line.cursor.time,
        "source": source,
        "cursor": str(line.cursor),
    }
    return {"type": "log", "timestamp": line.cursor.time, "data": data}
