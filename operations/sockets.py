"""The progress socket: an operation's row, now and after every change, until it is over."""

import asyncio
import uuid
from collections.abc import Mapping
from typing import Any

from django.conf import settings

from clusters.kinds import KINDS
from core.api.auth import Act, stream_policy
from core.errors import Forbidden, NotFound
from core.sockets import connections, handshake, tickets
from core.sockets.handshake import Guest, Pongs
from core.sockets.listening import listen
from core.sockets.protocol import Handler, Socket, first_of, now
from core.sockets.send_buffer import Outbox
from operations import lifecycle
from operations.models import Operation

LOOK_SECONDS = 0.5
SOCKETS_PER_USER = 100


def act_on(row: Operation) -> Act:
    """What looking at an operation is: reading its target."""
    kind = KINDS.get(row.resource)
    where = (str(row.cluster_id or ""), row.namespace, row.name)
    return Act(
        "get",
        row.resource,
        kind.group if kind else "",
        *where,
        cluster_scoped=bool(kind and not kind.namespaced),
    )


async def serve_operation(socket: Socket, arguments: Mapping[str, str]) -> None:
    """WS /ws/operations/{id}: opened by a ticket, or by a bearer token of the JSON API in the Authorization header or the first frame."""
    await socket.accept()
    row, guest = await _guest(socket, arguments["operation"])
    outbox, pongs = Outbox(settings.LOG_BUFFER_BYTES, settings.LOG_STALL_SECONDS), Pongs()
    async with handshake.seated(guest):
        tell = _tell(row.pk, outbox)
        await first_of(
            tell,
            outbox.drain(socket),
            listen(socket, pongs, outbox),
            guest.watch(outbox.notify, pongs),
        )


async def _guest(socket: Socket, reference: str) -> tuple[Operation, Guest]:
    """The operation and its onlooker; what may not be seen does not exist."""
    header = socket.headers.get("authorization", "")
    bearer = header.partition(" ")[2].strip() if header.lower().startswith("bearer ") else ""
    token = bearer or (await handshake.token_of(socket))[0]
    if "token" in socket.query and not bearer:
        ticket = await tickets.redeem(connections.store(), token, "operation", reference)
        host, credential = ticket.host, ticket.credential
    else:
        host, credential = "", await connections.in_database_thread(stream_policy().sign_in, token)
    handshake.check_origin(socket, host)
    row = await connections.in_database_thread(lifecycle.find, reference)
    act = act_on(row)
    try:
        await connections.in_database_thread(stream_policy().still_allowed, credential, act)
    except Forbidden:
        raise NotFound(f"operation {reference} does not exist") from None
    return row, Guest(
        credential["user"], credential, act, uuid.uuid4().hex, "operations", SOCKETS_PER_USER
    )


async def _tell(pk: Any, outbox: Outbox) -> None:
    """A frame for the row as it is, and one after every change."""
    seen: object = None
    while True:
        row = await connections.in_database_thread(_look, pk, seen)
        if row is not None:
            kind, seen = ("MODIFIED" if seen else "ADDED"), row[1]
            data = {"object": row[0], "event_type": kind, "resource_version": str(row[1])}
            await outbox.put({"type": "event", "data": data, "timestamp": now()}, 0)
            if row[2]:
                await outbox.put({"type": "status", "state": "eof", "timestamp": now()}, 0)
                outbox.finish()
                await asyncio.sleep(10)
                return
        await asyncio.sleep(LOOK_SECONDS)


def _look(pk: Any, seen: object) -> tuple[dict[str, Any], str, bool] | None:
    """(the row as JSON, when it changed, whether it is over), or nothing new."""
    row = lifecycle.find(pk)
    stamp = row.updated_at.isoformat()
    return None if stamp == seen else (lifecycle.represent(row), stamp, row.is_final)


ROUTES: dict[str, Handler] = {r"/ws/operations/(?P<operation>[^/]{1,64})": serve_operation}
