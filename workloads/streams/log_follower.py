"""Follows one container's log through broken connections and restarts.

No line is lost or sent twice.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from clusters.kinds import KINDS
from clusters.manifests import Object
from clusters.streams import StreamClient
from clusters.wire import QueryParameters
from core.errors import (
    ClusterUnavailable,
    DomainError,
    Invalid,
    NotFound,
    Rejected,
    TooManyRequests,
)
from workloads.objects.log_lines import LineReader, LogCursor, LogLine
from workloads.streams.containers import LogContainer, container_status

PODS = KINDS["pods"]
MAX_PAUSE_SECONDS = 30.0
Emit = Callable[["LogFollower", LogLine], Awaitable[None]]
Notify = Callable[[str, str, str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class LogRequest:
    """Which part of each log to read, by the API server's names, and whether to follow it."""

    query: QueryParameters
    follow: bool = True


class _ContainerRestarted(Exception):
    """The log that was opened belongs to a later run of the container."""

    def __init__(self, container: LogContainer) -> None:
        super().__init__(container.source)
        self.container = container


class LogFollower:
    """Reads one container's log to its end.

    `emit` takes each line, `notify` (state, source, reason) what happens to the log.
    """

    def __init__(
        self,
        client: StreamClient,
        namespace: str,
        container: LogContainer,
        log_request: LogRequest,
        *,
        cursor: LogCursor | None,
        emit: Emit,
        notify: Notify,
    ) -> None:
        self.source = container.source
        self._client = client
        self._namespace = namespace
        self._container = container
        self._log_request = log_request
        self._emit = emit
        self._notify = notify
        self._reader = LineReader(cursor)
        self._opened = False
        self._opened_at = ""
        self._trouble_began: float | None = None
        self._pause = 1.0

    async def run(self) -> None:
        """Until the container has ended for good.

        ClusterUnavailable when the cluster does not come back within STREAM_GIVE_UP_SECONDS.
        """
        while True:
            try:
                error = await self._try_read()
            except _ContainerRestarted as restarted:
                await self._handle_restart(restarted.container)
                continue
            if not self._log_request.follow and error is None:
                await self._notify("eof", self.source, "")
                return
            if await self._is_over(error):
                return

    async def _try_read(self) -> DomainError | None:
        """Read as far as possible; None when the log ended in order, else the error."""
        try:
            await self._read(self._query(), follow=self._log_request.follow)
        except (ClusterUnavailable, NotFound, TooManyRequests) as error:
            return error
        except (Invalid, Rejected) as error:
            # 400 is also the kubelet's answer for a container that has not started: wait for it.
            if not self._log_request.follow:
                raise
            return error
        return None

    def _query(self) -> dict[str, object]:
        """The first time the caller's query, later everything since the last line."""
        # The time stamps are needed to recognise lines that were sent already.
        query: dict[str, object] = {
            "container": self._container.name,
            "timestamps": "true",
        }
        if self._reader.cursor:
            self._reader.restart()
            query["sinceTime"] = self._reader.cursor.since
        elif self._opened:
            query["sinceTime"] = self._opened_at
        else:
            query.update(self._log_request.query)
        return query

    async def _read(self, query: QueryParameters, *, follow: bool) -> None:
        path = PODS.path(
            namespace=self._namespace,
            name=self._container.pod,
            subresource="log",
        )
        query = {**query, "follow": "true"} if follow else query
        # A followed log may be silent for hours.
        read_timeout = None if follow else self._client.limits.read
        async with self._client.open("GET", path, query=query, read=read_timeout) as response:
            if self._opened and follow:
                await self._check_restart()
            if not self._opened:
                self._opened = True
                self._opened_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            if self._trouble_began is not None:
                self._trouble_began = None
                await self._notify("connected", self.source, "")
            async for data in response.content.iter_any():
                self._pause = 1.0
                for line in self._reader.feed(data):
                    await self._emit(self, line)
            for line in self._reader.end():
                await self._emit(self, line)

    async def _read_pod(self) -> Object:
        path = PODS.path(namespace=self._namespace, name=self._container.pod)
        pod: Object = await self._client.json("GET", path)
        return pod

    async def _check_restart(self) -> None:
        """_ContainerRestarted when the container restarted while we were disconnected.

        The rest of its previous log comes first then.
        """
        current = container_status(await self._read_pod(), self._container.name)
        is_same_pod = current.uid == self._container.uid
        if is_same_pod and current.restarts > self._container.restarts:
            raise _ContainerRestarted(current)

    async def _is_over(self, error: DomainError | None) -> bool:
        """Whether the container has ended for good, by its pod, after the log ended or broke off.

        Waits before the next try when it has not.
        """
        try:
            pod = await self._read_pod()
        except NotFound:
            return await self._finish("pod_deleted")
        except (ClusterUnavailable, TooManyRequests) as pod_error:
            await self._wait_for_cluster(pod_error)
            return False
        current = container_status(pod, self._container.name)
        if current.uid != self._container.uid:
            return await self._finish("pod_replaced")
        if current.restarts > self._container.restarts:
            await self._handle_restart(current)
            return False
        if current.state == "ended":
            return await self._finish(current.reason)
        if isinstance(error, NotFound):
            raise error
        # A running container's log does not end: the connection was cut.
        was_cut = current.state == "running" and error is None
        if was_cut or isinstance(error, ClusterUnavailable):
            await self._wait_for_cluster(error)
        else:
            await self._sleep()
        return False

    async def _finish(self, reason: str) -> bool:
        await self._notify("eof", self.source, reason)
        return True

    async def _handle_restart(self, container: LogContainer) -> None:
        """Read the rest of the previous run's log, then go on with the new run."""
        try:
            await self._read({**self._query(), "previous": "true"}, follow=False)
        except (NotFound, Invalid, Rejected):
            # The kubelet keeps only the last run, and not always.
            pass
        except ClusterUnavailable as error:
            await self._wait_for_cluster(error)
            return
        self._container = container
        await self._notify("container_restarted", self.source, container.reason)

    async def _wait_for_cluster(self, error: DomainError | None) -> None:
        """Wait before the next try; raises the error after STREAM_GIVE_UP_SECONDS of trouble."""
        now = time.monotonic()
        if self._trouble_began is None:
            self._trouble_began = now
            await self._notify("reconnecting", self.source, error.message if error else "")
        is_too_long = now - self._trouble_began > settings.STREAM_GIVE_UP_SECONDS
        if isinstance(error, ClusterUnavailable) and is_too_long:
            raise error
        await self._sleep()

    async def _sleep(self) -> None:
        # Spread, as thousands of followers may lose the same cluster at once.
        spread = random.uniform(0.5, 1.0)  # noqa: S311  # no secret
        await asyncio.sleep(min(self._pause, settings.STREAM_GIVE_UP_SECONDS / 4) * spread)
        self._pause = min(self._pause * 2, MAX_PAUSE_SECONDS)


def log_frame(line: LogLine, source: str, *, timestamps: bool) -> dict[str, Any]:
    """A `log` frame; with `timestamps` each line begins with its time, as kubectl prints it."""
    time_stamp = line.cursor.time
    data = {
        "content": f"{time_stamp} {line.text}" if timestamps else line.text,
        "timestamp": time_stamp,
        "source": source,
        "cursor": str(line.cursor),
    }
    return {"type": "log", "timestamp": time_stamp, "data": data}
