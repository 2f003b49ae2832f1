"""One pod: restart, logs, events (contract 1.2)."""

import re
import uuid
from collections.abc import Iterator
from time import monotonic
from typing import Any

import orjson
from django.conf import settings
from django.http import StreamingHttpResponse
from rest_framework.request import Request

from clusters.kinds import KINDS
from clusters.lists import ListQuery
from core.api.pagination import page_request
from core.api.parsing import integer, moment
from core.api.schema import (
    BOOLEAN,
    CLUSTER,
    INTEGER,
    KUBERNETES_OBJECT,
    NAMESPACE,
    PAGING,
    TEXT,
    Described,
    Query,
    nullable,
    record,
)
from core.errors import DomainError, Invalid
from core.sockets import connections
from core.stream_limits import stopping
from operations import lifecycle as operations
from operations import tasks
from workloads.actions import restarts
from workloads.api.actions import WorkloadView, caller, events_page, optional_integer
from workloads.api.objects import AT, Target
from workloads.objects import services
from workloads.objects.log_lines import Piece
from workloads.objects.logs import FollowedLog, LogOptions, open_log, pieces_of, read_log_text
from workloads.objects.subject import ObjectRef, call_with_namespace_check

DURATION = re.compile(r"(?:([0-9]{1,9})h)?(?:([0-9]{1,9})m)?(?:([0-9]{1,9})s)?\Z")
PAUSE = 15.0
HINT = "follow is ignored here; ask with Accept: text/event-stream, or open the socket of POST /pods/{name}/logs/stream"


class PodView(WorkloadView):
    """What the routes of one pod share."""

    refused_as = "PUT"
    kind = KINDS["pods"]


class PodRestart(PodView):
    """POST /pods/{name}/restart."""

    operations = {
        "post": Described(
            "Restart a pod: its controller makes another; a bare pod needs force",
            record(
                required=("name", "uid", "action"),
                name=TEXT,
                namespace=TEXT,
                uid=TEXT,
                action=TEXT,
                operation_id=nullable(INTEGER),
            ),
            body=record(
                required=("cluster_id", "namespace"),
                cluster_id=INTEGER,
                namespace=TEXT,
                force=BOOLEAN,
                grace_period=INTEGER,
                dry_run=BOOLEAN,
            ),
        )
    }

    def post(self, request: Request, name: str) -> Any:
        """{"name","uid","action":"deleted"|"recreated","operation_id"}."""
        target, ref = self.object_ref(request, "restart", name)
        wish = restarts.RestartOptions(
            target.flag("force"), target.flag("dry_run"), optional_integer(target, "grace_period")
        )
        data, body = restarts.restart(ref, wish)
        if body is None:
            return {**data, "operation_id": None}
        row = restarts.create(
            ref, data["uid"], body, grace=wish.grace, requested_by=caller(request)
        )
        tasks.enqueue(row)
        return {**data, "operation_id": row.pk, "status": operations.find(row.pk).state}


class PodEvents(PodView):
    """GET /pods/{name}/events: about this very pod, newest first."""

    timely = ("events",)
    operations = {
        "get": Described(
            "The events of a pod",
            KUBERNETES_OBJECT,
            query=(CLUSTER, NAMESPACE, *PAGING[:2], AT),
            paged=True,
        )
    }

    def get(self, request: Request, name: str) -> Any:
        """A page of Events."""
        _, ref = self.object_ref(request, "events", name)
        page = page_request(request.query_params)
        query = ListQuery(namespace=ref.namespace, offset=page.offset, size=page.size)
        about: dict[str, Any] = {"involved_kind": "Pod", "involved_name": name}
        if at := moment(request.query_params.get("at", ""), "at"):
            then = orjson.loads(
                services.get_past(
                    ref.cluster, self.kind, name, namespace=ref.namespace, at=at
                )
            )
            listing = services.list_past_events(
                ref.cluster, query, at, uids=frozenset({then["metadata"]["uid"]}), **about
            )
        else:
            listing = services.list_events(
                ref.cluster, query, uids=frozenset({ref.read()["metadata"]["uid"]}), **about
            )
        return events_page(listing, page.page, page.size)


LOG_QUERY = (
    CLUSTER,
    NAMESPACE,
    Query("container", TEXT),
    Query("tail_lines", INTEGER),
    Query("since", TEXT, description="A duration such as 10m or 1h30m, or seconds."),
    Query("since_time", TEXT, description="RFC 3339."),
    *(Query(name, BOOLEAN) for name in ("previous", "timestamps", "follow", "download")),
    Query("limit_bytes", INTEGER),
)


class PodLogs(PodView):
    """GET /pods/{name}/logs: JSON, a download, or a stream of server-sent events."""

    followed = False
    operations = {
        "get": Described(
            "The log of a container",
            record(required=("logs",), logs=TEXT, hint=TEXT),
            query=LOG_QUERY,
            also_query=("tailLines", "sinceTime", "since_seconds", "sinceSeconds", "limitBytes"),
        )
    }

    def get(self, request: Request, name: str) -> Any:
        """{"logs":"text"}; `download` gives text/plain, `follow` with Accept: text/event-stream a live stream."""
        target, ref = self.object_ref(request, "logs", name)
        options, follow = _log_options(target), target.flag("follow")
        if target.flag("download"):
            return _download(ref, options)
        if follow and "text/event-stream" in request.headers.get("Accept", ""):
            self.followed = True
            return _events(ref, options, int(request.user.pk or 0))
        text = call_with_namespace_check(
            ref.client,
            self.kind,
            ref.namespace,
            lambda: read_log_text(ref.cluster, ref.namespace, name, options),
        )
        logs = {"logs": text}
        return {**logs, "hint": HINT} if follow else logs

    def farewell(self, error: DomainError) -> bytes:
        """The event `close`, as at any other end; a download just ends."""
        return _closed(error.message) if self.followed else b""


def _log_options(target: Target) -> LogOptions:
    since_time = target.option("since_time", "sinceTime")
    since = target.option("since", "since_seconds", "sinceSeconds")
    if since and since_time:
        raise Invalid("since and since_time exclude one another", field="since")
    return LogOptions(
        container=target.option("container"),
        tail_lines=_either(target, "tail_lines", "tailLines"),
        since_seconds=parse_duration(since, "since") if since else None,
        since_time=since_time,
        previous=target.flag("previous"),
        timestamps=target.flag("timestamps"),
        limit_bytes=_either(target, "limit_bytes", "limitBytes", minimum=1),
    )


def _either(target: Target, *names: str, minimum: int = 0) -> int | None:
    found = [optional_integer(target, name, minimum=minimum) for name in names]
    return next((value for value in found if value is not None), None)


def parse_duration(text: str, name: str) -> int:
    """Seconds of `90`, `90s`, `10m` or `1h30m`; at least 1."""
    if text.isdecimal():
        return integer(text, name, minimum=1)
    parts = DURATION.match(text)
    hours, minutes, rest = (int(part or 0) for part in parts.groups()) if parts else (0, 0, 0)
    if total := hours * 3600 + minutes * 60 + rest:
        return total
    raise Invalid(f"{name} must be seconds or a duration such as 10m", field=name)


def _download(ref: ObjectRef, options: LogOptions) -> StreamingHttpResponse:
    """The whole log as a file, streamed."""
    name = f"{ref.name}-{options.container}.log" if options.container else f"{ref.name}.log"
    client, space = ref.client, ref.namespace
    parts = call_with_namespace_check(
        client, ref.kind, space, lambda: open_log(ref.cluster, space, ref.name, options)
    )
    response = StreamingHttpResponse(parts, content_type="text/plain; charset=utf-8")
    response["Content-Disposition"] = (
        f'attachment; filename="{re.sub(r"[^A-Za-z0-9._-]", "_", name)}"'
    )
    return response


class LogSourceSlot:
    """One of the logs that a user follows (LOG_SOURCES_PER_USER over all processes); TooManyRequests when they have enough."""

    def __init__(self, user: int) -> None:
        self._user = user
        self._session = uuid.uuid4().hex
        self._take()

    def _take(self) -> None:
        limit = settings.LOG_SOURCES_PER_USER
        connections.hold_seat(connections.LOG_SOURCES, self._user, self._session, limit)
        self._taken = monotonic()

    def keep(self) -> None:
        """Hold it for another while."""
        if monotonic() - self._taken > settings.STREAM_PING_SECONDS:
            self._take()

    def leave(self) -> None:
        """Give it back."""
        connections.drop_seat(connections.LOG_SOURCES, self._user, self._session)


class _Events:
    """Each line as an event `log` with {"content","timestamp","source"}, at the end an event `close`."""

    def __init__(self, log: FollowedLog, seat: LogSourceSlot, source: str, stamped: bool) -> None:
        self.log, self.seat, self.source, self.stamped = log, seat, source, stamped
        # A long line comes in pieces; its stamp is in the first.
        self.stamp = ""

    def close(self) -> None:
        """Let go of the log, and give its seat back."""
        self.log.close()
        self.seat.leave()

    def __iter__(self) -> Iterator[bytes]:
        """As bytes of text/event-stream; a comment now and then shows whether anybody still listens."""
        yield b": following\n\n"
        for pieces in pieces_of(self.log):
            self.seat.keep()
            yield b": still here\n\n" if pieces is None else b"".join(map(self._event, pieces))
        yield _closed("the server is stopping" if stopping.is_set() else "the log ended")

    def _event(self, piece: Piece) -> bytes:
        content = piece.data.decode(errors="replace")
        if self.stamped and piece.begins:
            self.stamp, _, content = content.partition(" ")
        entry = {"content": content, "timestamp": self.stamp, "source": self.source}
        return b"event: log\ndata: " + orjson.dumps(entry) + b"\n\n"


def _closed(reason: str) -> bytes:
    return b"event: close\ndata: " + orjson.dumps({"reason": reason}) + b"\n\n"


def _events(ref: ObjectRef, options: LogOptions, user: int) -> StreamingHttpResponse:
    """The log as server-sent events."""
    source = f"{ref.name}/{options.container}" if options.container else ref.name
    client, space = ref.client, ref.namespace
    pause = min(PAUSE, settings.STREAM_REAUTHORISE_SECONDS)
    seat = LogSourceSlot(user)
    try:
        log = call_with_namespace_check(
            client,
            ref.kind,
            space,
            lambda: FollowedLog(
                ref.cluster, space, ref.name, options, pause=pause, caller=f"user {user}"
            ),
        )
    except BaseException:
        seat.leave()
        raise
    response = StreamingHttpResponse(
        _Events(log, seat, source, options.timestamps), content_type="text/event-stream"
    )
    response["Cache-Control"], response["X-Accel-Buffering"] = "no-store", "no"
    return response
