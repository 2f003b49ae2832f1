"""Lists out of the store: of when, from where on, and in which form."""

import base64
import binascii
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import msgspec
import orjson
from django.db import DatabaseError
from django.utils import timezone
from psycopg2 import sql

from clusters import tables
from clusters.kinds import KINDS, Kind
from clusters.lists import ListQuery
from clusters.models import Cluster
from clusters.resource_types import BUILT_IN
from clusters.tables import Column
from clusters.tables.custom import columns_of_definition
from core.errors import Expired, Invalid
from gateway.messages import Request, RequestHead, Response
from gateway.store.database import in_store_thread
from gateway.store.documents import CLUSTER_COLUMN, Formatter
from gateway.store.kinds import is_events
from gateway.store.negotiation import Form, MediaType
from gateway.store.notices import notices
from gateway.store.selection import Selection, parse_selection
from gateway.store.views import StoreView
from storage_api.history import as_of, listing, past_events
from storage_api.history.listing import ListedObject, Moment
from storage_api.query.conditions import Clause
from storage_api.services import change_log, multicluster_watch
from storage_api.services.multicluster import ClusterScope

MAX_LIMIT = 2**63 - 1
# Events of a cluster are read at once: there are no more of them than an hour brings.
MAX_EVENTS = 1_000_000
INCLUDES = ("", "None", "Metadata", "Object")
log = logging.getLogger(__name__)
NAME_IS = sql.SQL("r.resource_name = %s")


class TooLargeVersion(Exception):
    """The version asked for is still to come; `current` is the newest one."""

    def __init__(self, version: int, current: int) -> None:
        super().__init__(version, current)
        self.version = version
        self.current = current


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a list: behind the key, in the cluster of that name."""

    cluster: str = ""
    key: str = ""


Piece = tuple[list[tuple[str, ListedObject]], Position | None]


class ListReader(Protocol):
    """Reads a list piece by piece; the position is None when nothing follows."""

    def read(self, position: Position, size: int) -> Piece:
        """The objects behind the position, at most `size`, each with the name of its cluster."""


@dataclass(frozen=True, slots=True)
class ObjectReader:
    """A list of one kind in some clusters, one after the other."""

    places: Sequence[ClusterScope]
    kind: Kind
    moment: Moment
    namespace: str = ""
    clauses: Sequence[Clause] = ()

    def read(self, position: Position, size: int) -> Piece:
        """As `ListReader`; a piece ends at a number of bytes as well."""
        objects: list[tuple[str, ListedObject]] = []
        length = 0
        for place in self.places:
            if place.name < position.cluster:
                continue
            after = position.key if place.name == position.cluster else ""
            has_more = True
            while has_more:
                if (
                    len(objects)
                    >= min(
                        size,
                        listing.ROWS,
                    )
                    or length >= listing.BYTES
                ):
                    return objects, Position(place.name, after)
                piece, has_more = listing.read_piece(
                    place,
                    self.kind,
                    self.moment,
                    namespace=self.namespace,
                    clauses=self.clauses,
                    after=after,
                    size=size - len(objects),
                )
                objects += [(place.name, obj) for obj in piece]
                length += sum(len(obj.data) for obj in piece)
                if piece:
                    after = piece[-1].key
        return objects, None


class _EventMetadata(msgspec.Struct):
    name: str = ""
    namespace: str = ""


class _Event(msgspec.Struct):
    metadata: _EventMetadata = msgspec.field(default_factory=_EventMetadata)


_EVENTS = msgspec.json.Decoder(_Event)


@dataclass(frozen=True, slots=True)
class EventReader:
    """The Events of some clusters as they were at a moment."""

    view: StoreView
    places: Sequence[ClusterScope]
    selection: Selection
    at: datetime
    namespace: str = ""

    def read(self, position: Position, size: int) -> Piece:
        """As `ListReader`."""
        objects = []
        for place in self.places:
            if place.name >= position.cluster:
                after = position.key if place.name == position.cluster else ""
                events = self._events(place)
                objects += [(place.name, event) for event in events if event.key > after]
        if len(objects) <= size:
            return objects, None
        cluster, last = objects[size - 1]
        return objects[:size], Position(cluster, last.key)

    def _events(self, place: ClusterScope) -> list[ListedObject]:
        cluster = next(row for row in self.view.clusters if row.pk == place.cluster)
        query = ListQuery(
            namespace=self.namespace,
            label_selector=self.selection.label_text,
            field_selector=self.selection.field_text,
            size=MAX_EVENTS,
            namespaces=place.namespaces,
        )
        try:
            page = past_events.page(cluster, query, self.at)
        except Expired:
            # Before the first Event of a cluster there was none; the past does not tell.
            if self.view.at is not None:
                raise
            return []
        events = [
            ListedObject(
                _event_key(item),
                item,
            )
            for item in page.items
        ]
        return sorted(events, key=lambda event: event.key)


def _event_key(raw: bytes) -> str:
    metadata = _EVENTS.decode(raw).metadata
    return f"{metadata.namespace}/{metadata.name}"


# --- options --------------------------------------------------------------------------------------
def parse_limit(head: RequestHead) -> int:
    """The `limit`; 0 is none."""
    text = head.parameter("limit") or "0"
    if not (text.isascii() and text.isdigit()) or int(text) > MAX_LIMIT:
        raise Invalid(f"limit: invalid value {text[:40]!r}: it must be a whole number, 0 or more")
    return int(text)


def parse_version(head: RequestHead) -> int | None:
    """The `resourceVersion`; None without one."""
    text = head.parameter("resourceVersion") or ""
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or int(text) > MAX_LIMIT:
        raise Invalid(f"resourceVersion: Invalid value: {text[:40]!r}: it must be a whole number")
    return int(text)


def _encode_continue(position: Position, moment: Moment) -> str:
    token = orjson.dumps([moment.seq, position.cluster, position.key])
    return base64.urlsafe_b64encode(token).decode().rstrip("=")


def _decode_continue(text: str) -> tuple[int, Position]:
    """(the sequence number that the list is of, where it goes on); Invalid for no token of ours."""
    try:
        padded = text + "=" * (-len(text) % 4)
        seq, cluster, key = orjson.loads(
            base64.b64decode(
                padded,
                altchars=b"-_",
                validate=True,
            )
        )
        # PostgreSQL takes no NUL.
        if (
            not isinstance(
                seq,
                int,
            )
            or not 0 <= seq <= MAX_LIMIT
            or "\0" in cluster + key
        ):
            raise ValueError(text)
    except (ValueError, TypeError, binascii.Error):
        raise Invalid("invalid continue token: continue key is not valid") from None
    return seq, Position(cluster, key)


def choose_moment(
    head: RequestHead,
    view: StoreView,
    *,
    limit: int,
) -> tuple[Moment, Position]:
    """Of when the list is and where it begins.

    Raises Invalid for options that contradict each other; Expired for a version or token whose
    state can no longer be told; TooLargeVersion.
    """
    token = head.parameter("continue") or ""
    version = parse_version(head)
    match = head.parameter("resourceVersionMatch") or ""
    if match not in ("", "Exact", "NotOlderThan"):
        raise Invalid(f"resourceVersionMatch: Unsupported value: {match[:40]!r}")
    if match and version is None:
        raise Invalid("resourceVersionMatch is forbidden unless resourceVersion is provided")
    if token and match:
        raise Invalid("resourceVersionMatch is forbidden when continue is provided")
    if match == "Exact" and version == 0:
        raise Invalid('resourceVersionMatch: "Exact" is forbidden for resourceVersion "0"')
    current = change_log.horizon()
    if token:
        seq, position = _decode_continue(token)
        if view.at is None:
            _check_seq(
                min(seq, current),
                "The provided continue parameter is too old",
            )
        return Moment(min(seq, current), view.at), position
    if view.at is not None or not version:
        return Moment(current, view.at), Position()
    if version > current:
        raise TooLargeVersion(version, current)
    # As in Kubernetes of old: a limited list at a version is a list of exactly that version.
    if match == "Exact" or (limit and not match):
        _check_seq(
            version,
            "The resourceVersion for the provided list is too old.",
        )
        return Moment(version), Position()
    return Moment(current), Position()


def _check_seq(seq: int, sentence: str) -> None:
    try:
        multicluster_watch.check_place(seq)
    except Expired:
        raise Expired(sentence) from None


# --- answers --------------------------------------------------------------------------------------
def formatter(
    request: Request,
    view: StoreView,
    kind: Kind,
    places: Sequence[ClusterScope],
    media: MediaType,
    moment: Moment,
) -> Formatter:
    """How objects of the kind are written; Invalid for an unknown includeObject."""
    include = request.head.parameter("includeObject") or ""
    if include not in INCLUDES:
        raise Invalid(f"unrecognized includeObject value: {include[:40]!r}")
    columns: tuple[Column, ...] = ()
    if media.form is Form.TABLE:
        columns = _columns(kind, places, moment)
        if view.fleet:
            columns = (CLUSTER_COLUMN, *columns)
    now = view.at or timezone.now()
    return Formatter(
        kind,
        media,
        view.fleet,
        now,
        columns,
        include or "Metadata",
    )


def _columns(
    kind: Kind,
    places: Sequence[ClusterScope],
    moment: Moment,
) -> tuple[Column, ...]:
    if kind.group in BUILT_IN:
        return tables.built_in_columns(kind)
    is_named = Clause(NAME_IS, (f"{kind.plural}.{kind.group}",))
    for place in places:
        # Columns are no secret of the definition: an API server shows them with any object.
        whole = ClusterScope(place.cluster, place.name)
        definitions, _ = listing.read_piece(
            whole, KINDS["customresourcedefinitions"], moment, clauses=[is_named], size=1
        )
        if definitions:
            return columns_of_definition(
                orjson.loads(definitions[0].data),
                kind.version,
            )
    return tables.built_in_columns(kind)


def known_places(
    view: StoreView, kind: Kind, places: Sequence[ClusterScope], namespace: str
) -> list[ClusterScope]:
    """The places whose history goes back to the view's moment; Expired when none does."""
    if view.at is None or is_events(kind):
        return list(places)
    known = []
    error: Expired | None = None
    for place in places:
        cluster = cluster_of(view, place)
        try:
            as_of.check_beginning(cluster, kind, view.at, namespace)
        except Expired as expired:
            error = expired
        else:
            known.append(place)
    if error is not None and not known:
        raise error
    return known


def cluster_of(view: StoreView, place: ClusterScope) -> Cluster:
    """The cluster of a place."""
    return next(cluster for cluster in view.clusters if cluster.pk == place.cluster)


@dataclass(frozen=True, slots=True)
class _Listing:
    """A list whose first piece was read."""

    reader: ListReader
    formatter: Formatter
    version: str
    moment: Moment
    limit: int
    warnings: tuple[tuple[str, str], ...]

    def read(
        self,
        position: Position,
        sent: int,
    ) -> tuple[bytes, int, Position | None]:
        """(the next piece as it is written, how many entries it has, what follows)."""
        size = self.limit - sent if self.limit else listing.ROWS
        objects, following = self.reader.read(
            position,
            min(size, listing.ROWS),
        )
        # In the past objects bear the version that they had.
        version = self.version if self.moment.at is None else ""
        entries = self.formatter.list_entries(
            [(cluster, obj.data) for cluster, obj in objects], version
        )
        return entries, len(objects), following

    def is_over(self, sent: int, following: Position | None) -> bool:
        """Whether the answer ends here."""
        return following is None or bool(self.limit and sent >= self.limit)

    def end(self, sent: int, following: Position | None) -> bytes:
        """The end of the answer, with the token to go on with."""
        metadata = {"resourceVersion": self.version}
        if following is not None:
            metadata["continue"] = _encode_continue(
                following,
                self.moment,
            )
        return self.formatter.list_end(metadata, is_empty=not sent)


def _open_listing(
    request: Request,
    view: StoreView,
    kind: Kind,
    places: Sequence[ClusterScope],
    media: MediaType,
) -> tuple[_Listing, Position]:
    limit = parse_limit(request.head)
    selection = parse_selection(request, kind, fleet=view.fleet)
    moment, position = choose_moment(request.head, view, limit=limit)
    namespace = request.info.namespace if kind.namespaced else ""
    chosen = selection.narrow(places)
    known = known_places(view, kind, chosen, namespace)
    reader: ListReader
    if is_events(kind):
        at = view.at or timezone.now()
        reader = EventReader(view, known, selection, at, namespace)
    else:
        reader = ObjectReader(
            known,
            kind,
            moment,
            namespace,
            selection.clauses,
        )
    version = str(moment.seq if view.at is None else int(view.at.timestamp()))
    opened = _Listing(
        reader,
        formatter(request, view, kind, known, media, moment),
        version,
        moment,
        limit,
        notices(view, kind, chosen, known, namespace),
    )
    return opened, position


async def respond_list(
    request: Request,
    view: StoreView,
    kind: Kind,
    places: Sequence[ClusterScope],
    media: MediaType,
) -> Response:
    """A list; a long one is sent piece by piece. Raises as `choose_moment` and `known_places`."""

    def begin() -> tuple[_Listing, bytes, int, Position | None]:
        opened, position = _open_listing(
            request,
            view,
            kind,
            places,
            media,
        )
        return opened, *opened.read(position, 0)

    opened, entries, sent, following = await in_store_thread(begin)
    headers = (("content-type", media.content_type), *opened.warnings)
    start = opened.formatter.list_start
    if opened.is_over(sent, following):
        return Response(
            200,
            start + entries + opened.end(sent, following),
            headers,
        )
    body = _pieces(opened, start + entries, sent, following)
    return Response(200, body, headers)


async def _pieces(
    opened: _Listing, first: bytes, sent: int, following: Position | None
) -> AsyncIterator[bytes]:
    yield first
    while following is not None and not opened.is_over(
        sent,
        following,
    ):
        try:
            entries, count, following = await in_store_thread(
                opened.read,
                following,
                sent,
            )
        except DatabaseError as error:
            # The answer has begun: only its connection can tell that it has no end.
            log.warning("a list could not be read to its end", exc_info=True)
            raise ConnectionAbortedError from error
        if entries:
            yield (opened.formatter.separator if sent else b"") + entries
        sent += count
    yield opened.end(sent, following)


def json_body(value: Any) -> bytes:
    """A document of our own as JSON."""
    return orjson.dumps(value) + b"\n"
