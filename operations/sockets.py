"""The progress socket: an operation's row, now and after every change, until it is over."""

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from core.api.auth import stream_policy
from core.errors import Forbidden, NotFound
from core.sockets import connections, handshake, tickets
from core.sockets.handshake import KeepAlive, SocketClient
from core.sockets.listening import listen
from core.sockets.protocol import Handler, Socket, first_of, now
from core.sockets.send_buffer import SendBuffer
from operations import lifecycle, reading
from operations.models import Operation
from operations.visibility import target_acts

# Seconds between two reads of a row.
POLL_SECONDS = 0.5
# Seconds that the client has to read the last frame and close.
LINGER_SECONDS = 10
SOCKETS_PER_USER = 100


async def serve_operation(socket: Socket, arguments: Mapping[str, str]) -> None:
    """WS /ws/operations/{id}: the operation as JSON, now and after each change.

    Opened by a ticket, or by a bearer token of the JSON API in the Authorization header or the
    first frame.
    """
    await socket.accept()
    row, socket_client = await _admit(socket, arguments["operation"])
    outbox = SendBuffer(settings.LOG_BUFFER_BYTES, settings.LOG_STALL_SECONDS)
    keep_alive = KeepAlive()
    async with handshake.hold_quota(socket_client):
        await first_of(
            _send_changes(row.pk, outbox),
            outbox.drain(socket),
            listen(socket, keep_alive, outbox),
            socket_client.watch(outbox.notify, keep_alive),
        )


async def _admit(socket: Socket, reference: str) -> tuple[Operation, SocketClient]:
    """The operation and its client; NotFound also for an operation that they may not see."""
    credential, host = await _sign_in(socket, reference)
    handshake.check_origin(socket, host)
    row = await connections.in_database_thread(lifecycle.find, reference)
    acts = target_acts(row)
    try:
        for act in acts:
            await connections.in_database_thread(stream_policy().still_allowed, credential, act)
    except Forbidden:
        raise NotFound(f"operation {reference} does not exist") from None
    return row, SocketClient(
        credential["user"],
        credential,
        acts[0],
        uuid.uuid4().hex,
        "operations",
        SOCKETS_PER_USER,
        more_acts=acts[1:],
    )


async def _sign_in(socket: Socket, reference: str) -> tuple[Mapping[str, Any], str]:
    """(credential, host for which a ticket was issued); Unauthenticated without either."""
    header = socket.headers.get("authorization", "")
    bearer = ""
    if header.lower().startswith("bearer "):
        bearer = header.partition(" ")[2].strip()
    token = bearer or (await handshake.read_token(socket))[0]
    if "token" in socket.query and not bearer:
        ticket = await tickets.redeem(connections.async_redis(), token, "operation", reference)
        return ticket.credential, ticket.host
    credential = await connections.in_database_thread(stream_policy().sign_in, token)
    return credential, ""


async def _send_changes(pk: int, outbox: SendBuffer) -> None:
    """Send a frame for the row as it is, and one after every change, until it is final."""
    last_version = ""
    while True:
        snapshot = await connections.in_database_thread(
            _read_change,
            pk,
            last_version,
        )
        if snapshot is not None:
            event_type = "MODIFIED" if last_version else "ADDED"
            last_version = snapshot.version
            data = {
                "object": snapshot.document,
                "event_type": event_type,
                "resource_version": snapshot.version,
            }
            await outbox.put({"type": "event", "data": data, "timestamp": now()}, 0)
            if snapshot.is_final:
                await outbox.put({"type": "status", "state": "eof", "timestamp": now()}, 0)
                # The outbox still sends what it has: wait for that, else the socket closes first.
                outbox.finish()
                await asyncio.sleep(LINGER_SECONDS)
                return
        await asyncio.sleep(POLL_SECONDS)


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """A row as JSON, its version (when it changed), and whether nothing more will change."""

    document: dict[str, Any]
    version: str
    is_final: bool


def _read_change(pk: int, last_version: str) -> _Snapshot | None:
    """The row, None when its version is still the last one; NotFound once it was purged."""
    row = lifecycle.find(pk)
    version = row.updated_at.isoformat()
    if version == last_version:
        return None
    return _Snapshot(reading.represent(row), version, row.is_final)


ROUTES: dict[str, Handler] = {r"/ws/operations/(?P<operation>[^/]{1,64})": serve_operation}
