"""The watch socket: the changes of many clusters, given out as fast as the client reads, with a place to go on from."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import orjson
from django.conf import settings

from core.sockets import connections, handshake, tickets
from core.sockets.handshake import Guest, Pongs
from core.sockets.listening import listen
from core.sockets.protocol import Handler, Socket, first_of, now
from core.sockets.send_buffer import Outbox
from storage_api.api.watching import Following

PATIENCE = 24 * 3600.0


async def serve_changes(socket: Socket, arguments: Mapping[str, str]) -> None:
    """WS /ws/watch/{session}: opened by a ticket; `after` on the address goes before the ticket's."""
    await socket.accept()
    token, _ = await handshake.token_of(socket)
    ticket = await tickets.redeem(connections.store(), token, "watch", arguments["session"])
    handshake.check_origin(socket, ticket.host)
    asked = {**ticket.options, **({"after": after} if (after := socket.query.get("after")) else {})}
    guest = Guest(
        ticket.user, ticket.credential, None, ticket.session, "watch", settings.WATCHES_PER_USER
    )
    async with handshake.seated(guest):
        watch = await connections.in_database_thread(Following, ticket.credential, asked)
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


async def _tell(watch: Following, outbox: Outbox) -> None:
    """A frame for each change, and now and then the place, also when nothing happened."""
    checked = beat = time.monotonic()
    while True:
        moment = time.monotonic()
        if moment - checked >= settings.STREAM_REAUTHORISE_SECONDS:
            await connections.in_database_thread(watch.look_again)
            checked = moment
        for frame in await connections.in_database_thread(watch.next):
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


ROUTES: dict[str, Handler] = {r"/ws/watch/(?P<session>[0-9a-f]{32})": serve_changes}
