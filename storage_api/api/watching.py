"""GET /watch: the changes of many clusters as they happen, as server-sent events; the WebSocket gives out the same (docs/streams.md)."""

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
from core.api.auth import Act, Scope, stream_policy
from core.api.client_ip import client_address
from core.api.dialect import DialectView
from core.api.parsing import integer
from core.api.schema import INTEGER, TEXT, Described, Query
from core.errors import DomainError, Expired, Forbidden, Invalid
from core.stream_limits import stopping
from core.times import rfc3339
from storage_api.api.multicluster import chosen, shown
from storage_api.api.stream_limits import Seated
from storage_api.query import selectors
from storage_api.services import change_log, multicluster, multicluster_watch
from storage_api.services.change_log import Start
from storage_api.services.multicluster import Place
from storage_api.services.multicluster_watch import Entry, View

Frame = dict[str, Any]
OPTIONS = ("clusters", "kinds", "namespaces", "labelSelector", "after")
MAX_SEQ = 2**63 - 1
# Settled places are shared by the streams of a process for so long.
SHARED = 0.2


class Following:
    """One client's watch. Everything here talks to the database; rights are the credential's, looked at again by `look_again`.

    `asked`: clusters, kinds and namespaces as comma lists, labelSelector, and `after`: a `seq` (0 the oldest kept; absent: from now on).
    Invalid or NotFound for what cannot be read, Forbidden when nothing of it may be seen, Expired when the place is no longer kept.
    """

    def __init__(self, credential: Mapping[str, Any], asked: Mapping[str, str]) -> None:
        self._credential, self._asked = credential, asked
        if any("\0" in value for value in asked.values()):
            raise Invalid("a parameter holds a NUL")
        labels = selectors.labels(asked.get("labelSelector", ""))
        if labels is None:
            raise Invalid("labelSelector cannot be read", field="labelSelector")
        self._labels = labels
        self.problems: list[dict[str, Any]] = []
        self.idle = False
        self._view, self._kinds, self._ids = self._look()
        after = asked.get("after", "")
        self._start = (
            Start(integer(after, "after", minimum=0, maximum=MAX_SEQ))
            if after
            else change_log.now()
        )
        multicluster_watch.check_place(self._start.seq)

    @property
    def place(self) -> int:
        """Up to where everything was given out."""
        return self._start.seq

    def look_again(self) -> None:
        """Credentials, grants, kinds and clusters as they are by now. Unauthenticated, Forbidden, or Expired when reading was too slow."""
        self._view, self._kinds, self._ids = self._look()
        multicluster_watch.check_place(self.place)

    def next(self) -> list[Frame]:
        """The next changes, at most a page, which may hold none that fit; `idle` says that there is nothing to read on for now."""
        settled = multicluster_watch.horizon.within(SHARED)
        entries, reached = multicluster_watch.read(self._view, self._start, settled)
        self.idle = reached >= settled
        self._start = Start(reached, self._start.seen)
        return [self._frame(entry) for entry in entries if entry.cluster in self._ids]

    def _look(self) -> tuple[View, dict[str, Kind], dict[str, int]]:
        kinds = self._wanted()
        acts = [
            Act("search", kind.plural, kind.group, cluster_scoped=not kind.namespaced)
            for kind in kinds
        ]
        scopes = stream_policy().scopes(self._credential, acts)
        if not any(scopes):
            raise Forbidden("you may not watch any of this")
        clusters = list(registry.clusters().filter(impersonate=False).values_list("pk", "name"))
        found = [
            (kind, _places(scope, clusters))
            for kind, scope in zip(kinds, scopes, strict=True)
            if scope
        ]
        known = {place.cluster: place for _, places in found for place in places}
        left, self.problems = chosen(_words(self._asked, "clusters"), list(known.values()))
        ids = {place.name: place.cluster for place in left}
        narrowed = [
            (kind, [place for place in places if place.name in ids]) for kind, places in found
        ]
        view = View(narrowed, _words(self._asked, "namespaces"), self._labels)
        return view, {resource_type(kind): kind for kind in kinds}, ids

    def _wanted(self) -> Sequence[Kind]:
        """The kinds that were asked for; Secrets only by name. Before anything is collected, those that will be."""
        if words := _words(self._asked, "kinds"):
            return list(dict.fromkeys(multicluster.find_kind(word) for word in words))
        return [
            kind
            for kind in multicluster.collected_kinds() or KINDS.values()
            if (kind.group, kind.plural) != SECRETS
        ]

    def _frame(self, entry: Entry) -> Frame:
        kind = self._kinds[entry.resource_type]
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
            "object": None
            if entry.type == multicluster_watch.GAP
            else orjson.Fragment(shown(entry.data.encode(), kind)),
        }


def _places(scope: Scope, clusters: Iterable[tuple[int, str]]) -> list[Place]:
    if scope.clusters is None:
        return [Place(pk, name) for pk, name in clusters]
    return [Place(pk, name, scope.clusters[pk]) for pk, name in clusters if pk in scope.clusters]


def _words(asked: Mapping[str, str], name: str) -> list[str]:
    return [word for part in asked.get(name, "").split(",") if (word := part.strip())]


class Watch(DialectView):
    """GET /watch."""

    operations = {
        "get": Described(
            "The changes of many clusters as they happen",
            TEXT,
            query=(
                Query(
                    "after",
                    INTEGER,
                    description="Go on after this seq; 0 is the oldest kept; from now on when absent. Last-Event-ID too.",
                ),
                Query(
                    "clusters",
                    TEXT,
                    description="Ids or names, comma list; all that the caller may see when absent.",
                ),
                Query(
                    "kinds",
                    TEXT,
                    description="Comma list; all that are collected but Secrets when absent.",
                ),
                Query("namespaces", TEXT, description="Comma list."),
                Query("labelSelector", TEXT),
            ),
            answer_types=("text/event-stream",),
        )
    }

    def get(self, request: Request) -> HttpResponseBase:
        """Server-sent events; `id` is the seq to go on from. A place that is no longer kept is an ERROR event with code 410."""
        query = request.query_params
        asked = {name: query[name] for name in OPTIONS if name in query}
        if last := request.headers.get("Last-Event-ID", "").strip():
            asked["after"] = last
        try:
            following: Following | Expired = Following(stream_policy().credential(request), asked)
        except Expired as error:
            following = error
        self.check_input(request)
        caller = f"user {request.user.pk}" if request.user.pk else client_address(request)
        body = Seated(
            caller,
            lambda: (
                self._lost(following) if isinstance(following, Expired) else self._events(following)
            ),
        )
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingHttpResponse(body, content_type="text/event-stream", headers=headers)

    def farewell(self, error: DomainError) -> bytes:
        """The same ERROR event as for any other end."""
        return b"".join(self._lost(error))

    def _events(self, following: Following) -> Generator[bytes, None, None]:
        yield b"retry: 2000\n\n"
        yield _event(
            {"type": "BOOKMARK", "seq": following.place, "partial_errors": following.problems}
        )
        try:
            yield from _told(following)
        except DomainError as error:
            yield from self._lost(error)

    def _lost(self, error: DomainError) -> Generator[bytes, None, None]:
        """Say why it ends. What reconnects by itself after a gap goes on at `latest`, having been told."""
        _, body = self.dialect.error(error, "GET")
        code = (
            410
            if isinstance(error, Expired)
            else 401
            if error.code in ("unauthenticated", "token_expired")
            else 403
        )
        status = {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "code": code,
            "reason": error.code,
            "message": error.message,
        }
        place = {"seq": error.details["latest"]} if "latest" in error.details else {}
        yield _event(
            {"type": "ERROR", **place, **(body if isinstance(body, dict) else {}), "object": status}
        )


def _told(following: Following) -> Generator[bytes, None, None]:
    began = checked = beat = time.monotonic()
    while (now := time.monotonic()) - began < settings.STORAGE_WATCH_SECONDS:
        if now - checked >= settings.STREAM_REAUTHORISE_SECONDS:
            following.look_again()
            checked = now
        for frame in following.next():
            yield _event(frame)
        if now - beat >= settings.STORAGE_WATCH_HEARTBEAT:
            beat = now
            yield _event({"type": "BOOKMARK", "seq": following.place})
        if stopping.is_set():
            return
        if following.idle:
            connection.close_if_unusable_or_obsolete()
            time.sleep(settings.STORAGE_WATCH_POLL)
            yield b""


def _event(frame: Frame) -> bytes:
    """One server-sent event; JSON text has no line ends."""
    place = b"id: %d\n" % frame["seq"] if "seq" in frame else b""
    return place + b"data: " + orjson.dumps(frame) + b"\n\n"
