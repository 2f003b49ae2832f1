"""The progress socket: an operation's row, now and after every change, until it is over."""

import asyncio
import uuid
from collections.abc import Mapping
from typing import Any

from django.conf import settings

from clusters import operations
from clusters.kinds import KINDS
from clusters.models import Operation
from core.api.auth import Act, stream_policy
from core.api.sockets import Socket, first_of, now
from core.errors import Forbidden, NotFound
from workloads.streams import admission, runtime, tickets
from workloads.streams.admission import Guest, Pongs
from workloads.streams.listening import listen
from workloads.streams.send_buffer import Outbox

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
    async with admission.seated(guest):
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
    token = bearer or (await admission.token_of(socket))[0]
    if "token" in socket.query and not bearer:
        ticket = await tickets.redeem(runtime.store(), token, "operation", reference)
        host, credential = ticket.host, ticket.credential
    else:
        host, credential = "", await runtime.in_database_thread(stream_policy().sign_in, token)
    admission.check_origin(socket, host)
    row = await runtime.in_database_thread(operations.find, reference)
    act = act_on(row)
    try:
        await runtime.in_database_thread(stream_policy().still_allowed, credential, act)
    except Forbidden:
        raise NotFound(f"operation {reference} does not exist") from None
    return row, Guest(
        credential["user"], credential, act, uuid.uuid4().hex, "operations", SOCKETS_PER_USER
    )


async def _tell(pk: Any, outbox: Outbox) -> None:
    """A frame for the row as it is, and one after every change."""
    seen: object = None
    while True:
        row = await runtime.in_database_thread(_look, pk, seen)
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
    row = operations.find(pk)
    stamp = row.updated_at.isoformat()
    return None if stamp == seen else (operations.represent(row), stamp, row.is_final)
