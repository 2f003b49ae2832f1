"""The change feed over HTTP: a stream of JSON objects, resumable by sequence."""

import time
from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from django.conf import settings
from django.db import connection
from django.http import StreamingHttpResponse
from rest_framework.request import Request

from core.api.client_ip import client_address
from core.api.parsing import raw_body
from core.errors import DomainError
from core.stream_limits import stopping
from storage_api.api import base, schemas
from storage_api.api.base import StorageView
from storage_api.api.bodies import Body
from storage_api.api.stream_limits import LimitedStream
from storage_api.query import paths, times
from storage_api.query.paths import Path
from storage_api.query.queries import DocumentQuery
from storage_api.query.shapes import RESOURCE
from storage_api.query.times import TimeStyle
from storage_api.services import change_log, change_signal, resources
from storage_api.services.change_log import ChangeLog, LogPosition
from storage_api.services.change_signal import Interest

NUMBERS = {"add": 1, "delete": 2, "change": 3}
END = b'{"type":-1,"value":null}\n'
OPTIONS = frozenset({"selfOnly", "maxEvents", "timeout", "mustDiff", "since"})
# The unit of Go's time.Duration, as JSON has it.
NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Subscription:
    """What one client follows, from which seq, and for how many seconds."""

    cluster: str
    resource_type: str
    since: LogPosition
    max_events: int
    seconds: float
    must_differ: Path
    style: TimeStyle
    reveals: bool
    log: ChangeLog


class Feed(StorageView):
    """Changes of one type in one cluster as they happen."""

    actions = {"POST": base.LIST, "GET": base.LIST}
    operations = schemas.FEED_OPERATIONS
    containers: ClassVar[bool] = False
    log: ClassVar[ChangeLog] = change_log.RESOURCES

    def post(self, request: Request, **_: Any) -> StreamingHttpResponse:
        """Stream `{"type": 1 add|2 delete|3 change, "value": document, "seq": n}`.

        The last line is `{"type": -1, "value": null}`; blank lines keep the connection alive.
        Body: `maxEvents` (0 is no limit), `timeout` in nanoseconds (0 is the server's own),
        `mustDiff` a dotted path, `since` the seq to go on from (0 the oldest that there is;
        absent: from now).

        Raises Expired when the log does not go back to `since`, TooManyRequests when the process,
        or the caller in it, has as many streams as it may.
        """
        subscription = self._subscription(request)
        if not subscription.resource_type:
            return StreamingHttpResponse([END], content_type=self.dialect.content_type)
        change_log.check_place(subscription.since.seq, self.log)
        caller = f"user {request.user.pk}" if request.user.pk else client_address(request)
        stream = LimitedStream(caller, lambda: _parts(subscription))
        return StreamingHttpResponse(stream, content_type=self.dialect.content_type)

    get = post

    def farewell(self, error: DomainError) -> bytes:
        """The end of a feed, as at any other."""
        return END

    def _subscription(self, request: Request) -> Subscription:
        text = raw_body(request)
        body = Body(text if text.strip() else b"{}")
        body.refuse_unknown(OPTIONS)
        since = times.parse_int64(self.query(request).get("since") or body.text("since"))
        seconds = settings.STORAGE_WATCH_SECONDS
        timeout = body.whole("timeout") / NANOSECONDS
        if timeout > 0:
            seconds = min(timeout, seconds)
        must_differ = body.text("mustDiff")
        return Subscription(
            cluster=self.kwargs["cluster"],
            resource_type=self._type(),
            since=change_log.current_position() if since is None else LogPosition(since),
            max_events=body.whole("maxEvents"),
            seconds=seconds,
            must_differ=paths.parse(must_differ) if must_differ else (),
            style=self.style,
            reveals=self.reveals,
            log=self.log,
        )

    def _type(self) -> str:
        """The type to follow; "" where there is nothing to follow yet.

        A feed of containers follows taskgroups where the cluster has any, else pods. Without
        either it ends at once, and its clients ask again.
        """
        if not self.containers:
            return str(self.kwargs["type"])
        for resource_type in ("taskgroup", "Pod"):
            rows = DocumentQuery(
                RESOURCE, resources.type_clauses(self.kwargs["cluster"], resource_type)
            )
            if resources.read_first(
                rows,
                paths.fields("resourceName"),
                self.style,
            ):
                return resource_type
        return ""


class MetricFeed(Feed):
    """Changes of the metrics of one type in one cluster as they happen.

    A report that repeats the values before is no change.
    """

    operations = schemas.METRIC_FEED_OPERATIONS
    log = change_log.METRICS


def _parts(subscription: Subscription) -> Generator[bytes, None, None]:
    place = subscription.since
    interest = Interest((subscription.cluster,), (subscription.resource_type,))
    sent = 0
    deadline = time.monotonic() + subscription.seconds
    next_heartbeat = time.monotonic() + settings.STORAGE_WATCH_HEARTBEAT
    # The client learns at once that it is connected.
    yield b"\n"
    while time.monotonic() < deadline and not stopping.is_set():
        limit = change_log.PAGE
        if subscription.max_events > 0:
            limit = min(limit, subscription.max_events - sent)
        mark = change_signal.signal.mark()
        entries = change_log.read_after(
            place,
            subscription.cluster,
            subscription.resource_type,
            style=subscription.style,
            log=subscription.log,
            must_differ=subscription.must_differ,
            limit=limit,
            reveals=subscription.reveals,
        )
        for entry in entries:
            event = f'{{"type":{NUMBERS[entry.op]},"value":{entry.document},"seq":{entry.seq}}}\n'
            yield event.encode()
        sent += len(entries)
        if entries:
            place = replace(place, seq=entries[-1].seq)
        if 0 < subscription.max_events <= sent:
            break
        if time.monotonic() > next_heartbeat:
            next_heartbeat = time.monotonic() + settings.STORAGE_WATCH_HEARTBEAT
            yield b"\n"
        if not entries:
            # A stream never ends a request, which would renew its connection to the database.
            connection.close_if_unusable_or_obsolete()
            rest = max(0.0, deadline - time.monotonic())
            pause = min(settings.STORAGE_WATCH_POLL, rest)
            change_signal.signal.wait(mark, interest, pause)
            # Nothing to send; the server gets the chance to notice that the client has gone.
            yield b""
    yield END
