"""The watch socket: the changes of many clusters, given out as fast as the client reads, with a place to go on from."""

import asyncio
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Protocol, cast

import orjson
from django.conf import settings
from django.utils.module_loading import import_string

from core.api.sockets import Socket, first_of, now
from workloads.streams import admission, runtime, tickets
from workloads.streams.admission import Guest, Pongs
from workloads.streams.listening import listen
from workloads.streams.send_buffer import Outbox

PATIENCE = 24 * 3600.0


class ChangeWatch(Protocol):
    """One client's watch, behind CHANGE_WATCH; all of it talks to the database."""

    problems: list[dict[str, Any]]
    idle: bool

    @property
    def place(self) -> int: ...

    def look_again(self) -> None: ...

    def next(self) -> list[dict[str, Any]]: ...


@lru_cache(maxsize=1)
def _change_watch(dotted: str) -> Callable[[Mapping[str, Any], Mapping[str, str]], ChangeWatch]:
    return cast(
        Callable[[Mapping[str, Any], Mapping[str, str]], ChangeWatch], import_string(dotted)
    )


def change_watch() -> Callable[[Mapping[str, Any], Mapping[str, str]], ChangeWatch]:
    """What makes a watch out of a credential and options."""
    return _change_watch(settings.CHANGE_WATCH)


async def serve_changes(socket: Socket, arguments: Mapping[str, str]) -> None:
    """WS /ws/watch/{session}: opened by a ticket; `after` on the address goes before the ticket's."""
    await socket.accept()
    token, _ = await admission.token_of(socket)
    ticket = await tickets.redeem(runtime.store(), token, "watch", arguments["session"])
    admission.check_origin(socket, ticket.host)
    asked = {**ticket.options, **({"after": after} if (after := socket.query.get("after")) else {})}
    guest = Guest(
        ticket.user, ticket.credential, None, ticket.session, "watch", settings.WATCHES_PER_USER
    )
    async with admission.seated(guest):
        watch = await runtime.in_database_thread(change_watch(), ticket.credential, asked)
        # Nothing may be left out of a watch: while the client does not read, neither do we.
        outbox, pongs = Outbox(settings.LOG_BUFFER_BYTES, PATIENCE), Pongs()
        outbox.notify(
            {
                "type": "status",
                "state": "connected",
                "seq": watch.place,
                "partial_errors": watch.problems,
                "timestamp": now(),
            }
        )
        await first_of(
            _tell(watch, outbox),
            outbox.drain(socket),
            listen(socket, pongs, outbox),
            guest.watch(outbox.notify, pongs),
        )


async def _tell(watch: ChangeWatch, outbox: Outbox) -> None:
    """A frame for each change, and now and then the place, also when nothing happened."""
    checked = beat = time.monotonic()
    while True:
        moment = time.monotonic()
        if moment - checked >= settings.STREAM_REAUTHORISE_SECONDS:
            await runtime.in_database_thread(watch.look_again)
            checked = moment
        for frame in await runtime.in_database_thread(watch.next):
            await outbox.put(_event(frame), len(orjson.dumps(frame)))
        if moment - beat >= settings.STORAGE_WATCH_HEARTBEAT:
            beat = moment
            await outbox.put({"type": "bookmark", "seq": watch.place, "timestamp": now()}, 0)
        if watch.idle:
            await asyncio.sleep(settings.STORAGE_WATCH_POLL)


def _event(frame: dict[str, Any]) -> dict[str, Any]:
    """The event frame of the contract: {"type":"event","seq","data":{"object","event_type","resource_version", …}}."""
    data = {key: value for key, value in frame.items() if key not in ("type", "seq", "at")}
    return {
        "type": "event",
        "seq": frame["seq"],
        "data": {"event_type": frame["type"], **data},
        "timestamp": frame["at"],
    }
