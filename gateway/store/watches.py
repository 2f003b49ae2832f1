"""Kubernetes' watch over the log of changes, with the log's sequence as resourceVersion."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TypeVar

import orjson
from django.conf import settings
from django.db import DatabaseError
from django.utils import timezone

from clusters.kinds import Kind
from clusters.resource_types import resource_type
from core.errors import (
    ClusterUnavailable,
    DomainError,
    Expired,
    Forbidden,
    Invalid,
)
from gateway.messages import Request, RequestHead
from gateway.status import status_object
from gateway.store.documents import error_event
from gateway.store.kinds import find_kind, visible_places
from gateway.store.lists import (
    ObjectReader,
    Position,
    formatter,
    parse_version,
)
from gateway.store.log_follower import log_follower, shared_calls
from gateway.store.negotiation import MediaType
from gateway.store.notices import notices
from gateway.store.selection import parse_selection
from gateway.store.views import StoreView, open_view
from storage_api.history import listing
from storage_api.history.listing import Moment
from storage_api.services import change_log, multicluster_watch
from storage_api.services.change_log import LogPosition
from storage_api.services.multicluster import ClusterScope
from storage_api.services.multicluster_watch import GAP, WatchView

# Watches at the same place of the log share a read that is not older.
SHARED_SECONDS = 2.0
TRUE = ("true", "1", "t", "T", "TRUE", "True")
FALSE = ("false", "0", "f", "F", "FALSE", "False")


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """What a watch asks for: where it begins, and what it is told besides changes.

    `after` is the version to go on from; None begins with the objects that there are. `marks_end`:
    a bookmark says that all of those were sent.
    """

    after: int | None
    from_now: bool
    marks_end: bool
    bookmarks: bool
    seconds: float


def parse_options(head: RequestHead) -> WatchOptions:
    """The options of a watch; Invalid for those that cannot be used."""
    version = parse_version(head)
    sends_initial = _parse_bool(head, "sendInitialEvents")
    bookmarks = bool(_parse_bool(head, "allowWatchBookmarks"))
    match = head.parameter("resourceVersionMatch") or ""
    if sends_initial is not None and match != "NotOlderThan":
        raise Invalid("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
    if sends_initial is None and match:
        raise Invalid("resourceVersionMatch is forbidden for watch unless sendInitialEvents is set")
    begins_with_state = sends_initial or (sends_initial is None and not version)
    return WatchOptions(
        after=None if begins_with_state else version or None,
        from_now=not begins_with_state and not version,
        marks_end=bool(sends_initial),
        bookmarks=bookmarks,
        seconds=_parse_seconds(head),
    )


def _parse_bool(head: RequestHead, name: str) -> bool | None:
    text = head.parameter(name)
    if text is None or text == "":
        return None
    if text not in TRUE + FALSE:
        raise Invalid(f"{name}: invalid value {text[:40]!r}: it must be true or false")
    return text in TRUE


def _parse_seconds(head: RequestHead) -> float:
    text = head.parameter("timeoutSeconds") or "0"
    if not (text.isascii() and text.isdigit()) or len(text) > 10:
        raise Invalid(f"timeoutSeconds: invalid value {text[:40]!r}: it must be a whole number")
    longest = settings.STORAGE_WATCH_SECONDS
    return min(float(text) or longest, longest)


log = logging.getLogger(__name__)
Frames = tuple[bytes, int]
T = TypeVar("T")


class Watch:
    """One client's watch of a kind over the clusters of the fleet that they may see."""

    def __init__(
        self,
        request: Request,
        kind: Kind,
        places: Sequence[ClusterScope],
        media: MediaType,
    ) -> None:
        """Read the request; uses the database. Raises Invalid for what cannot be used."""
        view = open_view(request.target, request.caller)
        self._request = request
        self._kind = kind
        self._options = parse_options(request.head)
        self._selection = parse_selection(request, kind, fleet=True)
        self._places = tuple(self._selection.narrow(places))
        self._namespace = request.info.namespace if kind.namespaced else ""
        self._began: datetime = timezone.now()
        self._formatter = formatter(
            request, view, kind, places, media, Moment(change_log.horizon())
        )
        self.warnings = notices(
            view,
            kind,
            self._places,
            self._places,
            self._namespace,
        )
        self._position = 0

    async def events(self) -> AsyncIterator[bytes]:
        """The events, line by line, until the time is over or the right is gone."""
        ends_at = time.monotonic() + self._options.seconds
        try:
            async for lines in self._initial_events():
                yield lines
            async for lines in self._changes(ends_at):
                yield lines
        except DomainError as error:
            yield error_event(_status_of(error))
        except DatabaseError as error:
            # The client comes again, with the last version that it got.
            log.warning("a watch could not be read on", exc_info=True)
            raise ConnectionAbortedError from error

    # --- the beginning ----------------------------------------------------------------------------
    async def _initial_events(self) -> AsyncIterator[bytes]:
        """The objects that there are, when the client asks for them; sets the position."""
        call = shared_calls().call
        if self._options.after is not None:
            self._position = self._options.after
            await self._check_place()
            return
        self._position = await call(
            "horizon",
            change_log.horizon,
            seconds=0,
        )
        if self._options.from_now:
            return
        reader = ObjectReader(
            self._places,
            self._kind,
            Moment(self._position),
            self._namespace,
            self._selection.clauses,
        )
        position: Position | None = Position()
        while position is not None:
            lines, position = await self._shared(
                ("initial", position),
                self._read_initial(
                    reader,
                    position,
                ),
            )
            if lines:
                yield lines
        if self._options.marks_end and self._options.bookmarks:
            yield self._formatter.bookmark(
                str(self._position),
                is_initial_end=True,
            )

    async def _check_place(self) -> None:
        """Expired when changes behind the position are no longer in the log."""
        try:
            await shared_calls().call(
                ("place", self._position),
                partial(multicluster_watch.check_place, self._position),
                seconds=SHARED_SECONDS,
            )
        except Expired as error:
            raise Expired(error.message) from None

    def _read_initial(
        self, reader: ObjectReader, position: Position
    ) -> Callable[[], tuple[bytes, Position | None]]:
        version = str(self._position)

        def read() -> tuple[bytes, Position | None]:
            objects, following = reader.read(position, listing.ROWS)
            write = replace(self._formatter, now=timezone.now())
            lines = [
                write.watch_event(
                    "ADDED",
                    obj.data,
                    cluster,
                    version,
                )
                for cluster, obj in objects
            ]
            return b"".join(lines), following

        return read

    # --- what comes after -------------------------------------------------------------------------
    async def _changes(self, ends_at: float) -> AsyncIterator[bytes]:
        stored_as = resource_type(self._kind)
        follower = log_follower()
        checked_at = time.monotonic()
        marked_at = checked_at
        with follower.follow(stored_as) as changed:
            while (now := time.monotonic()) < ends_at:
                if now - checked_at >= settings.STREAM_REAUTHORISE_SECONDS:
                    checked_at = now
                    await self._ask_again()
                changed.clear()
                if follower.may_have_changed(
                    stored_as,
                    self._position,
                ):
                    lines, self._position = await self._shared(
                        ("changes", self._position, follower.settled),
                        self._read_changes(
                            self._position,
                            follower.settled,
                        ),
                    )
                    if lines:
                        yield lines
                    continue
                self._position = max(self._position, follower.settled)
                if self._options.bookmarks and now - marked_at >= settings.STORAGE_WATCH_HEARTBEAT:
                    marked_at = now
                    yield self._formatter.bookmark(str(self._position))
                wake_at = min(
                    ends_at,
                    checked_at + settings.STREAM_REAUTHORISE_SECONDS,
                )
                if self._options.bookmarks:
                    wake_at = min(
                        wake_at,
                        marked_at + settings.STORAGE_WATCH_HEARTBEAT,
                    )
                await _wait(changed, wake_at - now)

    def _read_changes(
        self,
        after: int,
        settled: int,
    ) -> Callable[[], Frames]:
        view = WatchView(
            [(self._kind, self._places)],
            [self._namespace] if self._namespace else [],
            self._selection.labels,
            self._selection.fields,
        )

        def read() -> Frames:
            entries, reached = multicluster_watch.read_changes(
                view,
                LogPosition(after),
                settled,
            )
            write = replace(self._formatter, now=timezone.now())
            lines = [
                write.watch_event(
                    entry.type,
                    entry.data.encode(),
                    entry.cluster,
                    str(entry.seq),
                )
                for entry in entries
                # What a lost watch of the collector may have missed has no word in Kubernetes.
                if entry.type != GAP
            ]
            return b"".join(lines), reached

        return read

    async def _shared(
        self,
        step: tuple[object, ...],
        function: Callable[[], T],
    ) -> T:
        """A read that all watches share which show the same and stand at the same place."""
        key = (
            step,
            self._kind,
            self._places,
            self._namespace,
            self._selection.label_text,
            self._selection.field_text,
            self._formatter.media,
            self._formatter.include,
            self._position,
        )
        return await shared_calls().call(
            key,
            function,
            seconds=SHARED_SECONDS,
        )

    # --- rights -----------------------------------------------------------------------------------
    async def _ask_again(self) -> None:
        """Ask for the rights again; Forbidden, Unauthenticated or Expired end the watch."""
        request = self._request
        key = (
            "rights",
            orjson.dumps(
                request.caller.credential,
                option=orjson.OPT_SORT_KEYS,
            ),
            self._kind,
            self._namespace,
        )
        seconds = settings.STREAM_REAUTHORISE_SECONDS / 2
        try:
            answer = await shared_calls().call(
                key,
                self._visible_places,
                seconds=seconds,
            )
            # A client that read nothing for days may have been left behind.
            await self._check_place()
        except (ClusterUnavailable, DatabaseError):
            # Who does not answer takes no right away; it is asked again.
            return
        if answer is None:
            raise Forbidden(f"you may no longer watch {self._kind.plural} here")
        view, visible = answer
        self._change_places(
            view,
            tuple(self._selection.narrow(visible)),
        )

    def _visible_places(self) -> tuple[StoreView, list[ClusterScope]] | None:
        request = self._request
        view = open_view(request.target, request.caller)
        stored = find_kind(view, request.info)
        if stored is None:
            return (view, []) if view.clusters else None
        places = visible_places(
            view,
            stored,
            request.info,
            request.caller,
        )
        return None if places is None else (view, places)

    def _change_places(
        self,
        view: StoreView,
        places: tuple[ClusterScope, ...],
    ) -> None:
        """Go on in other places; Expired when objects came to be or ceased to be visible at once.

        The log tells nothing of those. Of a cluster that was registered meanwhile it tells all.
        """
        if places == self._places:
            return
        new_ids = {cluster.pk for cluster in view.clusters if cluster.created_at >= self._began}
        known = [place for place in places if place.cluster not in new_ids]
        before = [place for place in self._places if place.cluster not in new_ids]
        if known != before:
            raise Expired("what you may see has changed: list again")
        self._places = places


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), max(seconds, 0.01))
    except TimeoutError:
        return


def _status_of(error: DomainError) -> dict[str, object]:
    codes = {"expired": 410, "forbidden": 403, "unauthenticated": 401, "token_expired": 401}
    return status_object(codes.get(error.code, 500), error.message)
