"""Letting a WebSocket in: ticket, Origin, seat; and looking again, while it lasts, whether its caller may still be here."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
from django.conf import settings

from core.api.auth import Act, stream_policy
from core.errors import Forbidden, Invalid, Unauthenticated
from core.sockets import connections, tickets
from core.sockets.protocol import Closing, Disconnected, Socket, now, same_origin
from core.sockets.tickets import Ticket

FIRST_FRAME_SECONDS = 10
MISSES = 2


def frame_of(message: str | bytes) -> dict[str, Any]:
    """A client's frame; Invalid when it is no JSON object."""
    try:
        found = orjson.loads(message)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise Invalid("a frame must be a JSON object")
    return found


async def token_of(socket: Socket) -> tuple[str, Mapping[str, Any]]:
    """(ticket, the first frame): out of the address, else out of the first frame's `token`."""
    if given := socket.query.get("token"):
        # Some clients add `?token=` to an address that has one already.
        return given.partition("?")[0], {}
    try:
        async with asyncio.timeout(FIRST_FRAME_SECONDS):
            first = frame_of(await socket.receive())
    except (TimeoutError, Invalid):
        raise Unauthenticated(
            "a ticket is required: ?token= or a first frame with a token"
        ) from None
    token = (
        first.get("token") or (first.get("data") or {}).get("token")
        if isinstance(first.get("data") or {}, dict)
        else first.get("token")
    )
    if not isinstance(token, str) or not token:
        raise Unauthenticated("a ticket is required: ?token= or a first frame with a token")
    return token, first


def check_origin(socket: Socket, host: str) -> None:
    """Forbidden when a page of another site opened the socket."""
    hosts = [known for known in (host, socket.headers.get("host", "")) if known]
    if not same_origin(socket.headers.get("origin", ""), hosts, settings.WS_ALLOWED_ORIGINS):
        raise Forbidden("this Origin may not open streams")


def act_of(ticket: Ticket) -> Act:
    """What the ticket's holder does."""
    if node := ticket.options.get("node"):
        return Act("exec", "nodes", "", str(ticket.cluster), "", str(node))
    return Act(
        "logs" if ticket.kind == "logs" else "exec",
        "pods",
        "",
        str(ticket.cluster),
        ticket.namespace,
        ticket.name,
    )


@dataclass(frozen=True, slots=True)
class Guest:
    """A caller whose socket was let in."""

    user: int
    credential: Mapping[str, Any]
    act: Act | None
    session: str
    seats: str
    limit: int

    async def recheck(self) -> None:
        """Unauthenticated or Forbidden when the caller may no longer do this, and nobody may in a cluster that was removed."""
        await connections.in_database_thread(
            stream_policy().still_allowed, self.credential, self.act
        )
        if self.act is not None:
            await connections.in_database_thread(stream_policy().require_cluster, self.act)

    async def watch(self, notify: Callable[[dict[str, Any]], None], pongs: "Pongs") -> None:
        """Ping, keep the seat, look at the rights again; ends only by an exception."""
        checked = time.monotonic()
        pause = min(settings.STREAM_PING_SECONDS, settings.STREAM_REAUTHORISE_SECONDS)
        pinged = time.monotonic()
        while True:
            await asyncio.sleep(pause)
            moment = time.monotonic()
            if moment - checked >= settings.STREAM_REAUTHORISE_SECONDS:
                checked = moment
                await self.recheck()
            if moment - pinged >= settings.STREAM_PING_SECONDS:
                pinged = moment
                pongs.check()
                notify({"type": "ping", "timestamp": now()})
                await connections.take_seat(self.seats, self.user, self.session, self.limit)


class Pongs:
    """Whether a client that answers pings has stopped to; one that never did is left to the protocol's own pings."""

    def __init__(self) -> None:
        self._seen, self._missed = False, 0

    def heard(self) -> None:
        """A frame came."""
        self._missed = 0

    def answered(self) -> None:
        """A pong came."""
        self._seen, self._missed = True, 0

    def check(self) -> None:
        """Closing after two pings without an answer."""
        self._missed += 1
        if self._seen and self._missed > MISSES:
            raise Closing(1001, "no answer to pings")


@asynccontextmanager
async def seated(guest: Guest) -> AsyncIterator[Guest]:
    """Hold one of the caller's seats."""
    await connections.take_seat(guest.seats, guest.user, guest.session, guest.limit)
    try:
        yield guest
    finally:
        await connections.leave_seat(guest.seats, guest.user, guest.session)


async def redeem(socket: Socket, token: str, kind: str, session: str) -> Ticket:
    """The ticket behind a token, for a page of ours; the rights are looked at once more."""
    ticket = await tickets.redeem(connections.store(), token, kind, session)
    check_origin(socket, ticket.host)
    await connections.in_database_thread(
        stream_policy().still_allowed, ticket.credential, act_of(ticket)
    )
    return ticket


def guest_of(ticket: Ticket, *, seats: str, limit: int) -> Guest:
    """The ticket's caller."""
    return Guest(ticket.user, ticket.credential, act_of(ticket), ticket.mark, seats, limit)


__all__ = [
    "Disconnected",
    "Guest",
    "Pongs",
    "act_of",
    "check_origin",
    "frame_of",
    "guest_of",
    "redeem",
    "seated",
    "token_of",
]
