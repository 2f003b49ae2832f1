"""The watch socket: the changes of many clusters, as fast as the client reads them.

Each frame has the seq to go on from.
"""

import time
from collections.abc import Mapping
from typing import Any

import orjson
from django.conf import settings

from core.sockets import connections, handshake, tickets
from core.sockets.handshake import KeepAlive, SocketClient
from core.sockets.listening import listen
from core.sockets.protocol import Handler, Socket, first_of, now
from core.sockets.send_buffer import SendBuffer
from storage_api.api.watching import MulticlusterWatch
from storage_api.services import change_signal

# How many seconds a client may read nothing. A watch waits for it, and expires by itself.
PATIENCE = 24 * 3600.0


async def serve_changes(socket: Socket, arguments: Mapping[str, str]) -> None:
    """WS /ws/watch/{session}: opened by a ticket; `after` in the query wins over the ticket's."""
    await socket.accept()
    token, _ = await handshake.read_token(socket)
    ticket = await tickets.redeem(
        connections.async_redis(),
        token,
        "watch",
        arguments["session"],
    )
    handshake.check_origin(socket, ticket.host)
    options = dict(ticket.options)
    # A client that connects again goes on where it was.
    after = socket.query.get("after")
    if after:
        options["after"] = after
    socket_client = SocketClient(
        ticket.user, ticket.credential, None, ticket.session, "watch", settings.WATCHES_PER_USER
    )
    async with handshake.hold_quota(socket_client):
        watch = await connections.in_database_thread(
            MulticlusterWatch,
            ticket.credential,
            options,
        )
        # A watch may not skip anything: while the client does not read, neither do we.
        outbox = SendBuffer(settings.LOG_BUFFER_BYTES, PATIENCE)
        keep_alive = KeepAlive()
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
            _send_changes(watch, outbox),
            outbox.drain(socket),
            listen(socket, keep_alive, outbox),
            socket_client.watch(outbox.notify, keep_alive),
        )


async def _send_changes(watch: MulticlusterWatch, outbox: SendBuffer) -> None:
    """A frame for each change, and from time to time a bookmark, also when nothing happened."""
    last_check = time.monotonic()
    last_bookmark = last_check
    while True:
        moment = time.monotonic()
        if moment - last_check >= settings.STREAM_REAUTHORISE_SECONDS:
            await connections.in_database_thread(watch.look_again)
            last_check = moment
        for frame in await connections.in_database_thread(watch.next):
            await outbox.put(_event(frame), len(orjson.dumps(frame)))
        if moment - last_bookmark >= settings.STORAGE_WATCH_HEARTBEAT:
            last_bookmark = moment
            await outbox.put({"type": "bookmark", "seq": watch.place, "timestamp": now()}, 0)
        if watch.idle:
            await change_signal.signal.wait_async(
                watch.mark, watch.interest, settings.STORAGE_WATCH_POLL
            )


def _event(frame: dict[str, Any]) -> dict[str, Any]:
    """The event frame of the contract.

    {"type": "event", "seq", "data": {"object", "event_type", "resource_version", …}, "timestamp"}.
    """
    data = {key: value for key, value in frame.items() if key not in ("type", "seq", "at")}
    return {
        "type": "event",
        "seq": frame["seq"],
        "data": {"event_type": frame["type"], **data},
        "timestamp": frame["at"],
    }


ROUTES: dict[str, Handler] = {r"/ws/watch/(?P<session>[0-9a-f]{32})": serve_changes}
