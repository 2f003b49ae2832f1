"""Recordings of terminals in the database: written, listed, replayed and deleted in time."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet
from django.utils import timezone

from clusters.models import Cluster
from core.errors import NotFound
from core.sockets.tickets import Ticket, public_session_name
from workloads.models import Recording, RecordingChunk
from workloads.streams.exec import DEBUG_POD


def begin(ticket: Ticket) -> int:
    """Create the row of a new recording; its id."""
    options = ticket.options
    user = get_user_model().objects.filter(pk=ticket.user).first()
    target = {
        "namespace": ticket.namespace,
        "pod": ticket.name,
        "container": options.get("container") or "",
        "node": options.get("node") or "",
    }
    row = Recording.objects.create(
        session=ticket.mark,
        user=user,
        username=user.get_username() if user else "",
        cluster_id=ticket.cluster,
        **target,
    )
    return row.pk


def add_chunk(pk: int, number: int, events: str, *, size: int, columns: dict[str, Any]) -> None:
    """Add a chunk of events, and update columns of the recording."""
    # PostgreSQL stores no NUL in text, not even an escaped one in JSON.
    events = events.replace("\\u0000", "")
    RecordingChunk.objects.create(recording_id=pk, number=number, events=events)
    Recording.objects.filter(pk=pk).update(size=size, **columns)


def finish(pk: int, columns: dict[str, Any]) -> None:
    """Store the time of the end, and update columns of the recording."""
    Recording.objects.filter(pk=pk).update(finished_at=timezone.now(), **columns)


@dataclass(frozen=True, slots=True)
class RecordingFilter:
    """Which recordings are meant; "" and None are no condition.

    `name` is a part of the pod's or the node's name. `since` and `until` (exclusive) are about
    the start.
    """

    user: str = ""
    name: str = ""
    container: str = ""
    since: datetime | None = None
    until: datetime | None = None

    def apply(self, rows: QuerySet[Recording]) -> QuerySet[Recording]:
        """The rows that match."""
        if self.user:
            rows = rows.filter(username=self.user)
        if self.name:
            rows = rows.filter(Q(pod__icontains=self.name) | Q(node__icontains=self.name))
        if self.container:
            rows = rows.filter(container=self.container)
        if self.since:
            rows = rows.filter(started_at__gte=self.since)
        if self.until:
            rows = rows.filter(started_at__lt=self.until)
        return rows


def list_recordings(
    *,
    cluster: Cluster,
    namespaces: frozenset[str] | None,
    nodes: bool,
    matching: RecordingFilter,
) -> QuerySet[Recording]:
    """Recordings in a cluster, newest first.

    With `namespaces` only of pods in these, else of all pods, and with `nodes` of nodes too.
    """
    rows = matching.apply(Recording.objects.filter(cluster=cluster))
    if namespaces is not None:
        rows = rows.filter(namespace__in=namespaces, node="")
    if nodes:
        return rows
    # A shell in the debug pod of a node's terminal is a shell on the node.
    debug_pods = Q(namespace=settings.NODE_TERMINAL_NAMESPACE, pod__startswith=DEBUG_POD)
    return rows.filter(node="").exclude(debug_pods)


def find(reference: str) -> Recording:
    """A recording by its id or its session's id; NotFound when there is none."""
    row = None if "\x00" in reference else _find_row(reference)
    if row is None:
        raise NotFound(f"recording {reference[:60]!r} does not exist")
    return row


def _find_row(reference: str) -> Recording | None:
    # More digits would not fit into a bigint; a session's id has 32 characters.
    if reference.isascii() and reference.isdigit() and len(reference) < 18:
        return Recording.objects.filter(pk=int(reference)).first()
    # The row has only the hash of the session's id.
    return Recording.objects.filter(session=public_session_name(reference)).first()


def represent(row: Recording) -> dict[str, Any]:
    """A recording as JSON; `session` is the hash of the session's id, never the id."""
    fields = (
        "id",
        "session",
        "username",
        "cluster_id",
        "namespace",
        "pod",
        "container",
        "node",
        "width",
        "height",
        "size",
        "truncated",
    )
    representation: dict[str, Any] = {name: getattr(row, name) for name in fields}
    for name in ("started_at", "finished_at"):
        time = getattr(row, name)
        representation[name] = None if time is None else f"{time:%Y-%m-%dT%H:%M:%SZ}"
    return representation


def asciicast(row: Recording) -> Iterator[bytes]:
    """The recording as an asciicast v2 file: a header, then one event a line."""
    header = {
        "version": 2,
        "width": row.width,
        "height": row.height,
        "timestamp": int(row.started_at.timestamp()),
        "title": row.node or f"{row.namespace}/{row.pod}",
        "env": {"TERM": "xterm-256color"},
    }
    yield orjson.dumps(header, option=orjson.OPT_APPEND_NEWLINE)
    chunks = row.chunks.order_by("number").values_list("events", flat=True)
    # In parts, as a recording may be larger than a worker's memory.
    for events in chunks.iterator(chunk_size=20):
        yield events.encode()


def delete_expired() -> int:
    """Delete recordings older than TERMINAL_RECORDING_DAYS; how many."""
    limit = timezone.now() - timedelta(days=settings.TERMINAL_RECORDING_DAYS)
    _, counts = Recording.objects.filter(started_at__lt=limit).delete()
    # The chunks are deleted too, but not counted.
    return counts.get("workloads.Recording", 0)
