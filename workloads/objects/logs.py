"""A container's log: read as a whole, streamed, or followed while it grows."""

import codecs
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from queue import Empty, Full, Queue
from threading import Event, Lock, Thread
from time import monotonic
from typing import Any

from django.conf import settings

from clusters import registry
from clusters.api_errors import status_error
from clusters.client import READ_ERRORS
from clusters.kinds import KINDS
from clusters.models import Cluster
from core.errors import ClusterUnavailable, TooManyRequests
from core.stream_limits import StreamSlot, stopping
from workloads.objects.log_lines import LinePiece, LineSplitter

MAX_EVENT = 1024 * 1024
# A line that does not end within this time counts as silence.
INCOMPLETE_LINE_SECONDS = 5.0
# A node sends nothing, not even a status, before a followed container prints: after this time the
# request is sent again.
FIRST_BYTE_SECONDS = 10.0
# How long a caller waits for a refusal.
OPEN_SECONDS = 3.0
# How soon a silent log ends when the process is to stop.
STOPPING_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class LogOptions:
    """Which part of a log to read, as in the API server's PodLogOptions; None is no limit."""

    container: str = ""
    tail_lines: int | None = None
    since_seconds: int | None = None
    since_time: str = ""
    previous: bool = False
    timestamps: bool = False
    limit_bytes: int | None = None

    def query(self, *, follow: bool = False) -> dict[str, object]:
        """The query parameters of the API server."""
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
    query = {**options.query(), "limitBytes": _byte_limit(options)}
    return registry.client(cluster).request("GET", path, query=query, accept="*/*")


def _byte_limit(options: LogOptions) -> int:
    limit = settings.LOG_LIMIT_BYTES
    return min(options.limit_bytes or limit, limit)


def read_log_text(cluster: Cluster, namespace: str, pod: str, options: LogOptions) -> str:
    """The log as text, at most LOG_LIMIT_BYTES of it.

    A character that the limit has cut is left out; invalid bytes of the log become U+FFFD.
    """
    data = read_log(cluster, namespace, pod, options)
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    # Below the limit the log itself ends there, so a broken last character is the log's own.
    return decoder.decode(data, final=len(data) < _byte_limit(options))


def _open(
    cluster: Cluster,
    namespace: str,
    pod: str,
    options: LogOptions,
    *,
    follow: bool = False,
) -> Any:
    """The open response of a log request; raises its error when it is refused."""
    path = KINDS["pods"].path(namespace=namespace, name=pod, subresource="log")
    response = registry.client(cluster).open(
        "GET",
        path,
        query=options.query(follow=follow),
        accept="*/*",
        read_timeout=FIRST_BYTE_SECONDS if follow else None,
        silence=settings.LOG_FOLLOW_SECONDS if follow else None,
    )
    if response.status >= 400:
        error = status_error(response.status, response.read())
        response.release_conn()
        raise error
    return response


def _read_parts(response: Any) -> Iterator[bytes]:
    """The response's bytes as they arrive; a connection that breaks off ends them."""
    try:
        with suppress(*READ_ERRORS):
            while part := response.read1(1 << 16):
                yield part
    finally:
        response.close()


def open_log(cluster: Cluster, namespace: str, pod: str, options: LogOptions) -> Iterator[bytes]:
    """The log's bytes as they arrive; errors are raised here, before the first byte."""
    return _read_parts(_open(cluster, namespace, pod, options))


def split_pieces(
    parts: Iterable[bytes | None],
) -> Iterator[list[LinePiece] | None]:
    """The lines of each part, whole unless they exceed 1 MiB.

    None in silent times (a part that is None) and when no line ends for a while.
    """
    splitter = LineSplitter(MAX_EVENT)
    last_output = monotonic()
    for part in parts:
        pieces = list(splitter.feed(part or b""))
        is_silent = part is None or monotonic() - last_output > INCOMPLETE_LINE_SECONDS
        if pieces or is_silent:
            last_output = monotonic()
            yield pieces or None
    if pieces := list(splitter.end()):
        yield pieces


class FollowedLog:
    """A log as it grows: parts, or None whenever nothing came for `pause` seconds.

    The None lets its reader notice that the client has left. TooManyRequests when this process
    follows LOG_FOLLOWERS logs already, as each takes a thread; `counted=False` is for callers with
    a limit of their own. `close` frees it.
    """

    _count = 0
    _lock = Lock()

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        pod: str,
        options: LogOptions,
        *,
        pause: float,
        caller: str,
        counted: bool = True,
    ) -> None:
        self._counted = counted
        self._closed = Event()
        self._opened = Event()
        # Bounded: a reader that is slow stops the thread, and with it the cluster.
        self._parts = Queue[bytes](maxsize=64)
        self._pause = pause
        self._response: Any = None
        self._errors: list[Exception] = []
        # Looked up here, as the thread has no database connection.
        registry.client(cluster).impersonation()
        opener = partial(_open, cluster, namespace, pod, options, follow=True)
        self._place = StreamSlot(caller)
        try:
            self._count_in()
        except TooManyRequests:
            self._place.give_back()
            raise
        # The context holds the user on whose behalf the cluster is asked.
        run_in_context = copy_context().run
        Thread(
            target=run_in_context,
            args=(self._pump, opener),
            name="log-follower",
            daemon=True,
        ).start()
        self._opened.wait(OPEN_SECONDS)
        if self._errors:
            self.close()
            raise self._errors[0]

    def _count_in(self) -> None:
        if not self._counted:
            return
        with FollowedLog._lock:
            if FollowedLog._count >= settings.LOG_FOLLOWERS:
                raise TooManyRequests(
                    "too many logs are followed here; use the socket, or try again later",
                    retry_after=10,
                )
            FollowedLog._count += 1

    def _count_out(self) -> None:
        if not self._counted:
            return
        with FollowedLog._lock:
            FollowedLog._count -= 1

    def __iter__(self) -> Iterator[bytes | None]:
        """Until the container or the reader ends it."""
        try:
            while (part := self._next_part()) != b"":
                yield part
        finally:
            self.close()

    def _next_part(self) -> bytes | None:
        """The next part; None after the pause, b"" at the end."""
        end = monotonic() + self._pause
        while (remaining := end - monotonic()) > 0:
            try:
                return self._parts.get(timeout=min(remaining, STOPPING_SECONDS))
            except Empty:
                if stopping.is_set():
                    return b""
        return None

    def _pump(self, opener: Callable[[], Any]) -> None:
        """The thread: moves the response's parts into the queue, b"" at the end."""
        try:
            self._response = self._open_with_retries(opener)
        except Exception as error:  # raised by the constructor, which waits for it
            self._errors.append(error)
        self._opened.set()
        # Closed before there was a response, so no other code shuts it down.
        if self._closed.is_set():
            self._shut_down()
        elif self._response is not None:
            for part in _read_parts(self._response):
                if not self._put(part):
                    return
        self._put(b"")

    def _open_with_retries(self, opener: Callable[[], Any]) -> Any:
        """The response, however long the container prints nothing.

        None when the reader has left, or after LOG_FOLLOW_SECONDS.
        """
        end = monotonic() + settings.LOG_FOLLOW_SECONDS
        while not self._closed.is_set() and monotonic() < end:
            try:
                return opener()
            except ClusterUnavailable as error:
                if error.details.get("reason") != "silent":
                    raise
        return None

    def _put(self, part: bytes) -> bool:
        """Queue a part, waiting for a slow reader; False when it has left or the process stops."""
        while not self._closed.is_set() and not stopping.is_set():
            with suppress(Full):
                self._parts.put(part, timeout=0.5)
                return True
        return False

    def close(self) -> None:
        """Close the connection, even while another thread reads from it; safe to repeat."""
        if not self._closed.is_set():
            self._closed.set()
            self._shut_down()
            self._count_out()
            self._place.give_back()

    def _shut_down(self) -> None:
        if self._response is not None:
            with suppress(OSError, ValueError, RuntimeError):
                self._response.shutdown()
