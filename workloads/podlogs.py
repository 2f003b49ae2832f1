"""A container's log as one piece of text."""

import codecs
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, Full, Queue
from threading import Event, Lock, Thread
from typing import Any

from django.conf import settings

from clusters import services as registry
from clusters.client import READ_ERRORS, status_error
from clusters.kinds import KINDS
from clusters.models import Cluster
from kubegale.errors import TooManyRequests


@dataclass(frozen=True, slots=True)
class LogOptions:
    """Which part of a log: seconds and lines as Kubernetes counts them; None is no limit."""

    container: str = ""
    tail_lines: int | None = None
    since_seconds: int | None = None
    since_time: str = ""
    previous: bool = False
    timestamps: bool = False
    limit_bytes: int | None = None

    def query(self, *, follow: bool = False) -> dict[str, object]:
        """The API server's names."""
        return {
            "container": self.container,
            "tailLines": self.tail_lines,
            "sinceSeconds": self.since_seconds,
            "sinceTime": self.since_time,
            "limitBytes": self.limit_bytes,
            "previous": "true" if self.previous else "",
            "timestamps": "true" if self.timestamps else "",
            "follow": "true" if follow else "",
        }


def read_log(cluster: Cluster, namespace: str, pod: str, options: LogOptions) -> bytes:
    """The log's bytes, at most LOG_LIMIT_BYTES of them."""
    path = KINDS["pods"].path(namespace=namespace, name=pod, subresource="log")
    query = {
        **options.query(),
        "limitBytes": min(
            options.limit_bytes or settings.LOG_LIMIT_BYTES, settings.LOG_LIMIT_BYTES
        ),
    }
    return registry.client(cluster).request("GET", path, query=query, accept="*/*")


def log_text(data: bytes) -> str:
    """A log's bytes as text; a limit in bytes may have cut the last character, which is left out then."""
    return codecs.getincrementaldecoder("utf-8")(errors="replace").decode(data)


def _open(
    cluster: Cluster, namespace: str, pod: str, options: LogOptions, *, follow: bool = False
) -> Any:
    path = KINDS["pods"].path(namespace=namespace, name=pod, subresource="log")
    patience = settings.LOG_FOLLOW_SECONDS if follow else None
    query = options.query(follow=follow)
    response = registry.client(cluster).open(
        "GET", path, query=query, accept="*/*", read_timeout=patience
    )
    if response.status >= 400:
        refusal = status_error(response.status, response.read())
        response.release_conn()
        raise refusal
    return response


def _parts(response: Any) -> Iterator[bytes]:
    try:
        with suppress(*READ_ERRORS):
            while part := response.read1(1 << 16):
                yield part
    finally:
        response.close()


def open_log(
    cluster: Cluster, namespace: str, pod: str, options: LogOptions, *, follow: bool = False
) -> Iterator[bytes]:
    """The log's bytes as they come; refused before the first byte or not at all. Following ends with the container or the reader."""
    return _parts(_open(cluster, namespace, pod, options, follow=follow))


class FollowedLog:
    """A log as it grows: parts, or None whenever nothing came for `pause` seconds, so that a reader who has left is noticed.

    TooManyRequests when LOG_FOLLOWERS are followed by this process already, for each holds a thread. `close` frees it.
    """

    _count = 0
    _lock = Lock()

    def __init__(
        self, cluster: Cluster, namespace: str, pod: str, options: LogOptions, *, pause: float
    ) -> None:
        self._closed, self._parts, self._pause = Event(), Queue[bytes](maxsize=64), pause
        self._take_place()
        try:
            self._response = _open(cluster, namespace, pod, options, follow=True)
        except BaseException:
            self._leave_place()
            raise
        Thread(target=self._pump, name="log-follower", daemon=True).start()

    @classmethod
    def _take_place(cls) -> None:
        with cls._lock:
            if cls._count >= settings.LOG_FOLLOWERS:
                raise TooManyRequests(
                    "too many logs are followed here; use the socket, or try again later",
                    retry_after=10,
                )
            cls._count += 1

    @classmethod
    def _leave_place(cls) -> None:
        with cls._lock:
            cls._count -= 1

    def __iter__(self) -> Iterator[bytes | None]:
        """Until the container or the reader ends it."""
        try:
            while (part := self._next()) != b"":
                yield part
        finally:
            self.close()

    def _next(self) -> bytes | None:
        try:
            return self._parts.get(timeout=self._pause)
        except Empty:
            return None

    def _pump(self) -> None:
        for part in _parts(self._response):
            if not self._put(part):
                return
        self._put(b"")

    def _put(self, part: bytes) -> bool:
        """Whether the reader still wants it; a slow reader is waited for."""
        while not self._closed.is_set():
            with suppress(Full):
                self._parts.put(part, timeout=0.5)
                return True
        return False

    def close(self) -> None:
        """Let go of the connection, whoever reads from it; safe to repeat."""
        if not self._closed.is_set():
            self._closed.set()
            with suppress(OSError, ValueError, RuntimeError):
                self._response.shutdown()
            self._leave_place()
