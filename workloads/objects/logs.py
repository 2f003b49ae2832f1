"""A container's log as one piece of text."""

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
from clusters.client import READ_ERRORS, status_error
from clusters.kinds import KINDS
from clusters.models import Cluster
from core.errors import ClusterUnavailable, TooManyRequests
from core.stream_limits import StreamPlace, stopping
from workloads.objects.log_lines import LineSplitter, Piece

MAX_EVENT = 1024 * 1024
UNENDED_SECONDS = 5.0
# A node sends nothing, not even a status, until a followed container prints: so long is waited for an answer before asking again.
UNBEGUN_SECONDS = 10.0
# So long a caller waits to hear of a refusal.
OPEN_SECONDS = 3.0
# How soon a silent log ends when the process is asked to.
STOPPING_SECONDS = 0.5


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
    query = {**options.query(), "limitBytes": _limit(options)}
    return registry.client(cluster).request("GET", path, query=query, accept="*/*")


def _limit(options: LogOptions) -> int:
    return min(options.limit_bytes or settings.LOG_LIMIT_BYTES, settings.LOG_LIMIT_BYTES)


def read_log_text(cluster: Cluster, namespace: str, pod: str, options: LogOptions) -> str:
    """The same as text. A character that the limit in bytes has cut is left out; what the log itself breaks off shows as U+FFFD."""
    data = read_log(cluster, namespace, pod, options)
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    return decoder.decode(data, final=len(data) < _limit(options))


def _open(
    cluster: Cluster, namespace: str, pod: str, options: LogOptions, *, follow: bool = False
) -> Any:
    path = KINDS["pods"].path(namespace=namespace, name=pod, subresource="log")
    response = registry.client(cluster).open(
        "GET",
        path,
        query=options.query(follow=follow),
        accept="*/*",
        read_timeout=UNBEGUN_SECONDS if follow else None,
        silence=settings.LOG_FOLLOW_SECONDS if follow else None,
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


def open_log(cluster: Cluster, namespace: str, pod: str, options: LogOptions) -> Iterator[bytes]:
    """The log's bytes as they come; refused before the first byte or not at all."""
    return _parts(_open(cluster, namespace, pod, options))


def pieces_of(parts: Iterable[bytes | None]) -> Iterator[list[Piece] | None]:
    """Lines, whole unless they are longer than 1 MiB, a part's at a time; None in a silent time, or when no line ends for a while."""
    splitter = LineSplitter(MAX_EVENT)
    last = monotonic()
    for part in parts:
        pieces = list(splitter.feed(part or b""))
        if pieces or part is None or monotonic() - last > UNENDED_SECONDS:
            last = monotonic()
            yield pieces or None
    if pieces := list(splitter.end()):
        yield pieces


class FollowedLog:
    """A log as it grows: parts, or None whenever nothing came for `pause` seconds, so that a reader who has left is noticed.

    TooManyRequests when LOG_FOLLOWERS are followed by this process already, for each holds a thread; whoever counts for themselves says
    so (`counted`). `close` frees it.
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
        self._parts = Queue[bytes](maxsize=64)
        self._pause = pause
        self._response: Any = None
        self._errors: list[Exception] = []
        # Whose log it is has to be known before a thread without a database asks for it.
        registry.client(cluster).impersonation()
        work = copy_context().run
        opener = partial(_open, cluster, namespace, pod, options, follow=True)
        self._place = StreamPlace(caller)
        try:
            self._take_place()
        except TooManyRequests:
            self._place.give_back()
            raise
        Thread(target=work, args=(self._pump, opener), name="log-follower", daemon=True).start()
        self._opened.wait(OPEN_SECONDS)
        if self._errors:
            self.close()
            raise self._errors[0]

    def _take_place(self) -> None:
        if not self._counted:
            return
        with FollowedLog._lock:
            if FollowedLog._count >= settings.LOG_FOLLOWERS:
                raise TooManyRequests(
                    "too many logs are followed here; use the socket, or try again later",
                    retry_after=10,
                )
            FollowedLog._count += 1

    def _leave_place(self) -> None:
        if not self._counted:
            return
        with FollowedLog._lock:
            FollowedLog._count -= 1

    def __iter__(self) -> Iterator[bytes | None]:
        """Until the container or the reader ends it."""
        try:
            while (part := self._next()) != b"":
                yield part
        finally:
            self.close()

    def _next(self) -> bytes | None:
        end = monotonic() + self._pause
        while (left := end - monotonic()) > 0:
            try:
                return self._parts.get(timeout=min(left, STOPPING_SECONDS))
            except Empty:
                if stopping.is_set():
                    return b""
        return None

    def _pump(self, opener: Callable[[], Any]) -> None:
        try:
            self._response = self._open_patiently(opener)
        except Exception as error:  # handed to whoever waits for it
            self._errors.append(error)
        self._opened.set()
        if self._closed.is_set():
            self._let_go()
        elif self._response is not None:
            for part in _parts(self._response):
                if not self._put(part):
                    return
        self._put(b"")

    def _open_patiently(self, opener: Callable[[], Any]) -> Any:
        """The answer, however long the container prints nothing; None when the reader has left, or after LOG_FOLLOW_SECONDS."""
        end = monotonic() + settings.LOG_FOLLOW_SECONDS
        while not self._closed.is_set() and monotonic() < end:
            try:
                return opener()
            except ClusterUnavailable as error:
                if error.details.get("reason") != "silent":
                    raise
        return None

    def _put(self, part: bytes) -> bool:
        """Whether the reader still wants it; a slow reader is waited for. Once the process is to end nothing more is."""
        while not self._closed.is_set() and not stopping.is_set():
            with suppress(Full):
                self._parts.put(part, timeout=0.5)
                return True
        return False

    def close(self) -> None:
        """Let go of the connection, whoever reads from it; safe to repeat."""
        if not self._closed.is_set():
            self._closed.set()
            self._let_go()
            self._leave_place()
            self._place.give_back()

    def _let_go(self) -> None:
        if self._response is not None:
            with suppress(OSError, ValueError, RuntimeError):
                self._response.shutdown()
