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
    OperationSchema,
    QueryParameter,
    nullable,
    record,
)
from core.errors import DomainError, Invalid
from core.sockets import quota
from core.stream_limits import stopping
from operations import lifecycle, tasks
from workloads.actions import restarts
from workloads.api.actions import WorkloadView, caller, optional_integer
from workloads.api.objects import AT, raw_page
from workloads.api.request_target import RequestTarget
from workloads.objects import events, past
from workloads.objects.log_lines import LinePiece
from workloads.objects.logs import (
    FollowedLog,
    LogOptions,
    open_log,
    read_log_text,
    split_pieces,
)
from workloads.objects.object_ref import ObjectRef, call_with_namespace_check

DURATION = re.compile(r"(?:([0-9]{1,9})h)?(?:([0-9]{1,9})m)?(?:([0-9]{1,9})s)?\Z")
# Seconds of silence after which a comment is sent.
PAUSE = 15.0
HINT = (
    "follow is ignored here; ask with Accept: text/event-stream, "
    "or open the socket of POST /pods/{name}/logs/stream"
)


class PodView(WorkloadView):
    """What the routes of one pod share."""

    refused_as = "PUT"
    kind = KINDS["pods"]


class PodRestart(PodView):
    """POST /pods/{name}/restart."""

    operations = {
        "post": OperationSchema(
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
        options = restarts.RestartOptions(
            force=target.flag("force"),
            dry_run=target.flag("dry_run"),
            grace=optional_integer(target, "grace_period"),
        )
        data, manifest = restarts.restart(ref, options)
        if manifest is None:
            return {**data, "operation_id": None}
        row = restarts.create(
            ref,
            data["uid"],
            manifest,
            grace=options.grace,
            requested_by=caller(request),
        )
        tasks.enqueue(row)
        # Read again: an eager worker may be done with it already.
        return {
            **data,
            "operation_id": row.pk,
            "status": lifecycle.find(row.pk).state,
        }


class PodEvents(PodView):
    """GET /pods/{name}/events: about this very pod, newest first."""

    historic_verbs = ("events",)
    operations = {
        "get": OperationSchema(
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
        involved: dict[str, Any] = {
            "involved_kind": "Pod",
            "involved_name": name,
        }
        # By uid too, as an earlier pod of the same name (of a StatefulSet) has Events as well.
        if at := moment(request.query_params.get("at", ""), "at"):
            raw = past.get_past(ref.cluster, self.kind, name, namespace=ref.namespace, at=at)
            uids = frozenset({orjson.loads(raw)["metadata"]["uid"]})
            listing = past.list_past_events(ref.cluster, query, at, uids=uids, **involved)
        else:
            uids = frozenset({ref.read()["metadata"]["uid"]})
            listing = events.list_events(ref.cluster, query, uids=uids, **involved)
        return raw_page(listing, page)


LOG_QUERY = (
    CLUSTER,
    NAMESPACE,
    QueryParameter("container", TEXT),
    QueryParameter("tail_lines", INTEGER),
    QueryParameter(
        "since",
        TEXT,
        description="A duration such as 10m or 1h30m, or seconds.",
    ),
    QueryParameter("since_time", TEXT, description="RFC 3339."),
    *(QueryParameter(name, BOOLEAN) for name in ("previous", "timestamps", "follow", "download")),
    QueryParameter("limit_bytes", INTEGER),
)


class PodLogs(PodView):
    """GET /pods/{name}/logs: JSON, a download, or a stream of server-sent events."""

    followed = False
    operations = {
        "get": OperationSchema(
            "The log of a container",
            record(required=("logs",), logs=TEXT, hint=TEXT),
            query=LOG_QUERY,
            also_query=(
                "tailLines",
                "sinceTime",
                "since_seconds",
                "sinceSeconds",
                "limitBytes",
            ),
        )
    }

    def get(self, request: Request, name: str) -> Any:
        """{"logs":"text"}.

        `download` gives text/plain, `follow` with Accept: text/event-stream a live stream.
        """
        target, ref = self.object_ref(request, "logs", name)
        options = _log_options(target)
        follow = target.flag("follow")
        if target.flag("download"):
            return _download(ref, options)
        if follow and "text/event-stream" in request.headers.get("Accept", ""):
            self.followed = True
            return _event_stream(ref, options, int(request.user.pk or 0))
        text = call_with_namespace_check(
            ref.client,
            self.kind,
            ref.namespace,
            lambda: read_log_text(ref.cluster, ref.namespace, name, options),
        )
        answer = {"logs": text}
        if follow:
            answer["hint"] = HINT
        return answer

    def farewell(self, error: DomainError) -> bytes:
        """What ends a stream that fails: the event `close`; a download just ends."""
        return _close_event(error.message) if self.followed else b""


def _log_options(target: RequestTarget) -> LogOptions:
    since_time = target.option("since_time", "sinceTime")
    since = target.option("since", "since_seconds", "sinceSeconds")
    if since and since_time:
        raise Invalid("since and since_time are mutually exclusive", field="since")
    return LogOptions(
        container=target.option("container"),
        tail_lines=_first_integer(target, "tail_lines", "tailLines"),
        since_seconds=parse_duration(since, "since") if since else None,
        since_time=since_time,
        previous=target.flag("previous"),
        timestamps=target.flag("timestamps"),
        limit_bytes=_first_integer(target, "limit_bytes", "limitBytes", minimum=1),
    )


def _first_integer(target: RequestTarget, *names: str, minimum: int = 0) -> int | None:
    """The first of these parameters that is set; all of them are checked."""
    values = [optional_integer(target, name, minimum=minimum) for name in names]
    return next((value for value in values if value is not None), None)


def parse_duration(text: str, name: str) -> int:
    """Seconds of `90`, `90s`, `10m` or `1h30m`; at least 1, else Invalid."""
    if text.isdecimal():
        return integer(text, name, minimum=1)
    if match := DURATION.match(text):
        hours, minutes, seconds = (int(part or 0) for part in match.groups())
        if total := hours * 3600 + minutes * 60 + seconds:
            return total
    raise Invalid(f"{name} must be seconds or a duration such as 10m", field=name)


def _download(ref: ObjectRef, options: LogOptions) -> StreamingHttpResponse:
    """The whole log as a file, streamed."""
    name = f"{ref.name}-{options.container}.log" if options.container else f"{ref.name}.log"
    parts = call_with_namespace_check(
        ref.client,
        ref.kind,
        ref.namespace,
        lambda: open_log(ref.cluster, ref.namespace, ref.name, options),
    )
    response = StreamingHttpResponse(parts, content_type="text/plain; charset=utf-8")
    # The name stands in quotes in a header, so only harmless characters stay.
    safe_name = re.sub(r"[^A-Za-z0-9._-]", "_", name)
    response["Content-Disposition"] = f'attachment; filename="{safe_name}"'
    return response


class LogSourceSlot:
    """One of the logs that a user may follow at once, counted over all processes.

    TooManyRequests when the user follows LOG_SOURCES_PER_USER logs already.
    """

    def __init__(self, user: int) -> None:
        self._user = user
        self._session = uuid.uuid4().hex
        self._acquire()

    def _acquire(self) -> None:
        limit = settings.LOG_SOURCES_PER_USER
        quota.acquire_slot_blocking(quota.LOG_SOURCES, self._user, self._session, limit)
        self._renewed = monotonic()

    def renew(self) -> None:
        """Keep the slot: it expires in Redis unless its process renews it."""
        if monotonic() - self._renewed > settings.STREAM_PING_SECONDS:
            self._acquire()

    def release(self) -> None:
        """Give the slot back."""
        quota.release_slot_blocking(quota.LOG_SOURCES, self._user, self._session)


class _LogEvents:
    """A followed log as server-sent events.

    Each line is an event `log` with {"content","timestamp","source"}; an event `close` ends it.
    """

    def __init__(
        self,
        log: FollowedLog,
        slot: LogSourceSlot,
        source: str,
        timestamps: bool,
    ) -> None:
        self.log = log
        self.slot = slot
        self.source = source
        self.timestamps = timestamps
        # The stamp of the current line: a long line comes in pieces, and only the first has it.
        self.stamp = ""

    def close(self) -> None:
        """Stop following and give the slot back."""
        self.log.close()
        self.slot.release()

    def __iter__(self) -> Iterator[bytes]:
        """Bytes of text/event-stream; comments in silent times reveal clients that have left."""
        yield b": following\n\n"
        for pieces in split_pieces(self.log):
            self.slot.renew()
            if pieces is None:
                yield b": still here\n\n"
            else:
                yield b"".join(self._log_event(piece) for piece in pieces)
        yield _close_event("the server is stopping" if stopping.is_set() else "the log ended")

    def _log_event(self, piece: LinePiece) -> bytes:
        content = piece.data.decode(errors="replace")
        if self.timestamps and piece.begins:
            self.stamp, _, content = content.partition(" ")
        entry = {
            "content": content,
            "timestamp": self.stamp,
            "source": self.source,
        }
        return b"event: log\ndata: " + orjson.dumps(entry) + b"\n\n"


def _close_event(reason: str) -> bytes:
    return b"event: close\ndata: " + orjson.dumps({"reason": reason}) + b"\n\n"


def _event_stream(ref: ObjectRef, options: LogOptions, user: int) -> StreamingHttpResponse:
    """The log as server-sent events."""
    source = f"{ref.name}/{options.container}" if options.container else ref.name
    # Rights are checked again in each pause, so none may be longer than that.
    pause = min(PAUSE, settings.STREAM_REAUTHORISE_SECONDS)
    slot = LogSourceSlot(user)

    def follow() -> FollowedLog:
        return FollowedLog(
            ref.cluster,
            ref.namespace,
            ref.name,
            options,
            pause=pause,
            caller=f"user {user}",
        )

    try:
        log = call_with_namespace_check(ref.client, ref.kind, ref.namespace, follow)
    except BaseException:
        slot.release()
        raise
    response = StreamingHttpResponse(
        _LogEvents(log, slot, source, options.timestamps),
        content_type="text/event-stream",
    )
    response["Cache-Control"] = "no-store"
    # nginx would buffer the events otherwise.
    response["X-Accel-Buffering"] = "no"
    return response
