"""GET /watch: the changes of many clusters as they happen, as server-sent events.

The WebSocket gives out the same changes (docs/streams.md).
"""

import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any

import orjson
from django.conf import settings
from django.db import connection
from django.http import HttpResponseBase, StreamingHttpResponse
from rest_framework.request import Request

from clusters import registry
from clusters.kinds import KINDS, Kind
from clusters.resource_types import SECRETS, resource_type
from core.api.auth import AccessAttributes, Scope, stream_policy
from core.api.client_ip import client_address
from core.api.dialect import DialectView
from core.api.parsing import integer, split_words
from core.api.schema import INTEGER, TEXT, OperationSchema, QueryParameter
from core.errors import DomainError, Expired, Forbidden, Invalid
from core.stream_limits import stopping
from core.times import rfc3339
from storage_api.api.multicluster import mask_secret, select_places
from storage_api.api.stream_limits import LimitedStream
from storage_api.query import selectors
from storage_api.services import change_log, change_signal, multicluster, multicluster_watch
from storage_api.services.change_log import LogPosition
from storage_api.services.change_signal import Interest
from storage_api.services.multicluster import ClusterScope
from storage_api.services.multicluster_watch import WatchEntry, WatchView

Frame = dict[str, Any]
OPTIONS = ("clusters", "kinds", "namespaces", "labelSelector", "after")
MAX_SEQ = 2**63 - 1
# Streams of a process share for so many seconds up to where the log is settled.
SHARED = 0.2


class MulticlusterWatch:
    """One client's watch.

    `options` are clusters, kinds and namespaces as comma lists, labelSelector, and `after`: the
    seq to go on from (0 the oldest that there is; absent: from now on). Everything here uses the
    database. Rights are the credential's; `look_again` checks them again.

    Raises Invalid or NotFound for what cannot be parsed, Forbidden when the caller may see none
    of it, Expired when the log does not go back to `after`.
    """

    def __init__(
        self,
        credential: Mapping[str, Any],
        options: Mapping[str, str],
    ) -> None:
        self._credential = credential
        self._options = options
        if any("\0" in value for value in options.values()):
            raise Invalid("a parameter contains a NUL character")
        labels = selectors.labels(options.get("labelSelector", ""))
        if labels is None:
            raise Invalid("labelSelector cannot be parsed", field="labelSelector")
        self._labels = labels
        self.problems: list[dict[str, Any]] = []
        self.idle = False
        # What `change_signal` waits from.
        self.mark = 0
        self._view, self._kinds, self._ids = self._resolve()
        after = options.get("after", "")
        if after:
            self._start = LogPosition(integer(after, "after", minimum=0, maximum=MAX_SEQ))
        else:
            self._start = change_log.current_position()
        multicluster_watch.check_place(self._start.seq)

    @property
    def place(self) -> int:
        """The seq up to which every change was returned."""
        return self._start.seq

    @property
    def interest(self) -> Interest:
        """What wakes this watch."""
        return Interest(self._ids.keys(), self._kinds.keys())

    def look_again(self) -> None:
        """Resolve credentials, grants, kinds and clusters again.

        Raises Unauthenticated, Forbidden, or Expired when the client was too slow.
        """
        self._view, self._kinds, self._ids = self._resolve()
        multicluster_watch.check_place(self.place)

    def next(self) -> list[Frame]:
        """The next changes: at most a page, which may have none that match.

        `idle` then says whether there is nothing more to read for now.
        """
        self.mark = change_signal.signal.mark()
        # What a stream was woken for is settled, whatever was known before.
        known = multicluster_watch.horizon.within(SHARED)
        settled = max(known, change_signal.signal.place)
        entries, reached = multicluster_watch.read_changes(self._view, self._start, settled)
        self.idle = reached >= settled
        self._start = LogPosition(reached, self._start.seen)
        return [self._frame(entry) for entry in entries if entry.cluster in self._ids]

    def _resolve(self) -> tuple[WatchView, dict[str, Kind], dict[str, int]]:
        """(what to read, kinds by resource type, ids of clusters by name)."""
        kinds = self._resolve_kinds()
        acts = [
            AccessAttributes(
                "search",
                kind.plural,
                kind.group,
                cluster_scoped=not kind.namespaced,
            )
            for kind in kinds
        ]
        scopes = stream_policy().scopes(self._credential, acts)
        if not any(scopes):
            raise Forbidden("you may not watch any of this")
        clusters = list(registry.clusters().filter(impersonate=False).values_list("pk", "name"))
        visible = [
            (kind, _places(scope, clusters))
            for kind, scope in zip(kinds, scopes, strict=True)
            if scope
        ]
        by_cluster = {place.cluster: place for _, places in visible for place in places}
        references = split_words(self._options.get("clusters", ""))
        matching, self.problems = select_places(references, list(by_cluster.values()))
        ids = {place.name: place.cluster for place in matching}
        narrowed = [
            (kind, [place for place in places if place.name in ids]) for kind, places in visible
        ]
        namespaces = split_words(self._options.get("namespaces", ""))
        view = WatchView(narrowed, namespaces, self._labels)
        return view, {resource_type(kind): kind for kind in kinds}, ids

    def _resolve_kinds(self) -> Sequence[Kind]:
        """The kinds that the options name, else all that are collected but Secrets."""
        references = split_words(self._options.get("kinds", ""))
        if references:
            kinds = [multicluster.find_kind(reference) for reference in references]
            return list(dict.fromkeys(kinds))
        # Before anything is collected: what will be.
        collected = multicluster.collected_kinds() or KINDS.values()
        return [kind for kind in collected if (kind.group, kind.plural) != SECRETS]

    def _frame(self, entry: WatchEntry) -> Frame:
        kind = self._kinds[entry.resource_type]
        manifest = None
        if entry.type != multicluster_watch.GAP:
            manifest = orjson.Fragment(mask_secret(entry.data.encode(), kind))
        return {
            "type": entry.type,
            "seq": entry.seq,
            "at": rfc3339(entry.at, digits=3),
            "cluster_id": self._ids[entry.cluster],
            "cluster_name": entry.cluster,
            "kind": kind.name,
            "group": kind.group,
            "plural": kind.plural,
            "namespace": entry.namespace,
            "name": entry.name,
            "uid": entry.uid,
            "resource_version": entry.resource_version,
            "object": manifest,
        }


def _places(scope: Scope, clusters: Iterable[tuple[int, str]]) -> list[ClusterScope]:
    if scope.clusters is None:
        return [ClusterScope(pk, name) for pk, name in clusters]
    return [
        ClusterScope(pk, name, scope.clusters[pk]) for pk, name in clusters if pk in scope.clusters
    ]


class Watch(DialectView):
    """GET /watch."""

    operations = {
        "get": OperationSchema(
            "The changes of many clusters as they happen",
            TEXT,
            query=(
                QueryParameter(
                    "after",
                    INTEGER,
                    description="Go on after this seq; 0 is the oldest kept;"
                    " from now on when absent. Last-Event-ID too.",
                ),
                QueryParameter(
                    "clusters",
                    TEXT,
                    description="Ids or names, comma list;"
                    " all that the caller may see when absent.",
                ),
                QueryParameter(
                    "kinds",
                    TEXT,
                    description="Comma list; all that are collected but Secrets when absent.",
                ),
                QueryParameter("namespaces", TEXT, description="Comma list."),
                QueryParameter("labelSelector", TEXT),
            ),
            answer_types=("text/event-stream",),
        )
    }

    def get(self, request: Request) -> HttpResponseBase:
        """Server-sent events; `id` is the seq to go on from.

        Where the log does not go back to that seq, the only event is an ERROR with code 410.
        """
        query = request.query_params
        options = {name: query[name] for name in OPTIONS if name in query}
        # Browsers send it by themselves when they connect again.
        last_event_id = request.headers.get("Last-Event-ID", "").strip()
        if last_event_id:
            options["after"] = last_event_id
        try:
            watch: MulticlusterWatch | Expired = MulticlusterWatch(
                stream_policy().credential(request), options
            )
        except Expired as error:
            watch = error
        self.check_input(request)
        caller = f"user {request.user.pk}" if request.user.pk else client_address(request)

        def events() -> Generator[bytes, None, None]:
            # An EventSource tells its page of events alone, never of a failed answer.
            return self._error(watch) if isinstance(watch, Expired) else self._events(watch)

        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingHttpResponse(
            LimitedStream(caller, events),
            content_type="text/event-stream",
            headers=headers,
        )

    def farewell(self, error: DomainError) -> bytes:
        """The same ERROR event as at any other end."""
        return b"".join(self._error(error))

    def _events(self, watch: MulticlusterWatch) -> Generator[bytes, None, None]:
        yield b"retry: 2000\n\n"
        yield _event({"type": "BOOKMARK", "seq": watch.place, "partial_errors": watch.problems})
        try:
            yield from _follow(watch)
        except DomainError as error:
            yield from self._error(error)

    def _error(self, error: DomainError) -> Generator[bytes, None, None]:
        """An ERROR event; after a gap its seq is where a client goes on when it connects again."""
        _, body = self.dialect.error(error, "GET")
        status = {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "code": _status_code(error),
            "reason": error.code,
            "message": error.message,
        }
        place = {"seq": error.details["latest"]} if "latest" in error.details else {}
        members = body if isinstance(body, dict) else {}
        yield _event({"type": "ERROR", **place, **members, "object": status})


def _status_code(error: DomainError) -> int:
    """The code of the Status, as an API server's watch would have it."""
    if isinstance(error, Expired):
        return 410
    if error.code in ("unauthenticated", "token_expired"):
        return 401
    return 403


def _follow(watch: MulticlusterWatch) -> Generator[bytes, None, None]:
    """Events until the stream's time is over or the process stops."""
    began = time.monotonic()
    last_check = began
    last_bookmark = began
    while (now := time.monotonic()) - began < settings.STORAGE_WATCH_SECONDS:
        if now - last_check >= settings.STREAM_REAUTHORISE_SECONDS:
            watch.look_again()
            last_check = now
        for frame in watch.next():
            yield _event(frame)
        if now - last_bookmark >= settings.STORAGE_WATCH_HEARTBEAT:
            last_bookmark = now
            yield _event({"type": "BOOKMARK", "seq": watch.place})
        if stopping.is_set():
            return
        if watch.idle:
            # A stream never ends a request, which would renew its connection to the database.
            connection.close_if_unusable_or_obsolete()
            change_signal.signal.wait(watch.mark, watch.interest, settings.STORAGE_WATCH_POLL)
            # Nothing to send; the server gets the chance to notice that the client has gone.
            yield b""


def _event(frame: Frame) -> bytes:
    """One server-sent event; JSON text has no line ends."""
    event_id = b"id: %d\n" % frame["seq"] if "seq" in frame else b""
    return event_id + b"data: " + orjson.dumps(frame) + b"\n\n"
