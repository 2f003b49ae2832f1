"""Recordings of terminals in the database: begun, added to, finished, replayed as asciicast v2, and forgotten in time."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import orjson
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db.models import QuerySet
from django.utils import timezone

from clusters.models import Cluster
from core.errors import NotFound
from core.sockets.tickets import Ticket, mark
from workloads.models import Recording, RecordingChunk


def begin(ticket: Ticket) -> int:
    """The row of a new recording."""
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
    """One more chunk, and what is known of the whole."""
    RecordingChunk.objects.create(
        recording_id=pk, number=number, events=events.replace("\\u0000", "")
    )
    Recording.objects.filter(pk=pk).update(size=size, **columns)


def finish(pk: int, columns: dict[str, Any]) -> None:
    """Note the end, and what is known of the whole."""
    Recording.objects.filter(pk=pk).update(finished_at=timezone.now(), **columns)


def search(
    *, cluster: Cluster, namespaces: frozenset[str] | None, nodes: bool
) -> QuerySet[Recording]:
    """Recordings in a cluster, newest first; those of the namespaces when they are given, else those on nodes too if `nodes` says so."""
    found = Recording.objects.filter(cluster=cluster)
    if namespaces is not None:
        return found.filter(namespace__in=namespaces, node="")
    return found if nodes else found.filter(node="")


def find(reference: str) -> Recording:
    """A recording by id, or by its session's id, of which the row has only the hash; NotFound when there is none."""
    named = (
        {"pk": int(reference)}
        if reference.isascii() and reference.isdigit() and len(reference) < 18
        else {"session": mark(reference)}
    )
    if "\x00" in reference or (found := Recording.objects.filter(**named).first()) is None:
        raise NotFound(f"recording {reference[:60]!r} does not exist")
    return found


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
    times = {name: getattr(row, name) for name in ("started_at", "finished_at")}
    shown = {
        name: None if moment is None else f"{moment:%Y-%m-%dT%H:%M:%SZ}"
        for name, moment in times.items()
    }
    return {**{name: getattr(row, name) for name in fields}, **shown}


def asciicast(row: Recording) -> Iterator[bytes]:
    """The recording as an asciicast v2 file: a header, then one event a line."""
    title = f"{row.node or f'{row.namespace}/{row.pod}'}"
    header = {
        "version": 2,
        "width": row.width,
        "height": row.height,
        "timestamp": int(row.started_at.timestamp()),
        "title": title,
    }
    yield orjson.dumps(
        {**header, "env": {"TERM": "xterm-256color"}}, option=orjson.OPT_APPEND_NEWLINE
    )
    for events in (
        row.chunks.order_by("number").values_list("events", flat=True).iterator(chunk_size=20)
    ):
        yield events.encode()


def delete_expired() -> int:
    """Delete recordings older than TERMINAL_RECORDING_DAYS; how many."""
    old = timezone.now() - timedelta(days=settings.TERMINAL_RECORDING_DAYS)
    return Recording.objects.filter(started_at__lt=old).delete()[1].get("workloads.Recording", 0)
