"""Letting a WebSocket in: ticket, Origin, quota.

While it lasts, `SocketClient.watch` pings the client and checks again whether it may still be here.
"""

import asyncio
import hmac
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson
from django.conf import settings
from django.http import parse_cookie

from core.api.auth import AccessAttributes, stream_policy
from core.errors import Forbidden, Invalid, Unauthenticated
from core.sockets import connections, quota, tickets
from core.sockets.protocol import (
    Closing,
    Socket,
    now,
    same_origin,
)
from core.sockets.tickets import Ticket

# How long a client may take to send its ticket.
FIRST_FRAME_SECONDS = 10
# Pings without an answer before the client counts as gone.
MISSES = 2
NO_TICKET = "a ticket is required: ?token= or a first frame with a token"


def parse_frame(message: str | bytes) -> dict[str, Any]:
    """A client's frame; Invalid when it is no JSON object."""
    try:
        frame = orjson.loads(message)
    except orjson.JSONDecodeError:
        frame = None
    if not isinstance(frame, dict):
        raise Invalid("a frame must be a JSON object")
    return frame


async def read_token(
    socket: Socket,
) -> tuple[str, Mapping[str, Any]]:
    """(token, first frame): the ticket's token from the address, else from the first frame.

    The frame is {} when the token came with the address. Unauthenticated when there is no token
    within FIRST_FRAME_SECONDS.
    """
    if token := socket.query.get("token"):
        # Some clients add `?token=` to an address that has one already.
        return token.partition("?")[0], {}
    try:
        async with asyncio.timeout(FIRST_FRAME_SECONDS):
            frame = parse_frame(await socket.receive())
    except (TimeoutError, Invalid):
        raise Unauthenticated(NO_TICKET) from None
    token = frame.get("token")
    data = frame.get("data")
    if not token and isinstance(data, dict):
        # The browser's frames carry everything inside `data`.
        token = data.get("token")
    if not isinstance(token, str) or not token:
        raise Unauthenticated(NO_TICKET)
    return token, frame


def check_origin(socket: Socket, host: str) -> None:
    """Forbidden when a page of another site opened the socket.

    `host` is where the ticket was issued; `*` and the hosts of WS_ALLOWED_ORIGINS are allowed too.
    """
    hosts = [name for name in (host, socket.headers.get("host", "")) if name]
    origin = socket.headers.get("origin", "")
    if not same_origin(origin, hosts, settings.WS_ALLOWED_ORIGINS):
        raise Forbidden("this Origin may not open streams")


def check_browser(socket: Socket, host: str, credential: Mapping[str, Any]) -> None:
    """Forbidden when another browser than the console's session was opened in came.

    `host` is where the ticket was issued. Sockets on a host of their own get no cookie from the
    browser: there nothing but another session's cookie tells.
    """
    session = stream_policy().console_session(credential)
    if session is None:
        return
    cookie = parse_cookie(socket.headers.get("cookie", "")).get(settings.SESSION_COOKIE_NAME, "")
    if not cookie and _has_own_host(host):
        return
    if not hmac.compare_digest(cookie.encode(), session.encode()):
        raise Forbidden("only the browser that opened the session comes back to it")


def _has_own_host(host: str) -> bool:
    """Whether sockets have another host than the pages at `host`; ports do not matter."""
    own_name = urlsplit(settings.WS_BASE_URL).hostname
    return bool(own_name) and own_name != urlsplit(f"//{host}").hostname


def ticket_attributes(ticket: Ticket) -> AccessAttributes:
    """What the ticket's holder does, as the policy judges it."""
    cluster = str(ticket.cluster)
    if node := ticket.options.get("node"):
        return AccessAttributes("exec", "nodes", cluster=cluster, name=str(node))
    return AccessAttributes(
        "logs" if ticket.kind == "logs" else "exec",
        "pods",
        cluster=cluster,
        namespace=ticket.namespace,
        name=ticket.name,
    )


@dataclass(frozen=True, slots=True)
class SocketClient:
    """The caller of a socket that was let in.

    `quota_kind` says in which quota the socket counts, `limit` its size, `session` the public
    name. `act` is None for what needs no right beyond being signed in; `more_acts` are needed too.
    """

    user: int
    credential: Mapping[str, Any]
    act: AccessAttributes | None
    session: str
    quota_kind: str
    limit: int
    more_acts: Sequence[AccessAttributes] = ()

    async def recheck(self) -> None:
        """Unauthenticated, Forbidden or ClusterNotFound when the caller may no longer do this."""
        policy = stream_policy()
        await connections.in_database_thread(policy.still_allowed, self.credential, self.act)
        if self.act is not None:
            await connections.in_database_thread(policy.require_cluster, self.act)
        for act in self.more_acts:
            await connections.in_database_thread(policy.still_allowed, self.credential, act)

    async def renew_slot(self) -> None:
        """Go on counting in the quota; TooManyRequests when the slot was lost and none is free."""
        await quota.acquire_slot(self.quota_kind, self.user, self.session, self.limit)

    async def watch(
        self,
        notify: Callable[[dict[str, Any]], None],
        keep_alive: "KeepAlive",
    ) -> None:
        """Ping, renew the slot and check the rights again; ends only by an exception."""
        checked = time.monotonic()
        pinged = checked
        pause = min(
            settings.STREAM_PING_SECONDS,
            settings.STREAM_REAUTHORISE_SECONDS,
        )
        while True:
            await asyncio.sleep(pause)
            moment = time.monotonic()
            if moment - checked >= settings.STREAM_REAUTHORISE_SECONDS:
                checked = moment
                await self.recheck()
            if moment - pinged >= settings.STREAM_PING_SECONDS:
                pinged = moment
                keep_alive.check()
                notify({"type": "ping", "timestamp": now()})
                await self.renew_slot()


class KeepAlive:
    """Notices when a client that used to answer pings has stopped.

    A client that never answered one is left to the WebSocket protocol's own pings.
    """

    def __init__(self) -> None:
        self._answers_pings = False
        self._missed = 0

    def note_frame(self) -> None:
        """A frame came."""
        self._missed = 0

    def note_pong(self) -> None:
        """A pong came."""
        self._answers_pings = True
        self._missed = 0

    def check(self) -> None:
        """Count one ping; Closing after MISSES of them without an answer."""
        self._missed += 1
        if self._answers_pings and self._missed > MISSES:
            raise Closing(1001, "no answer to pings")


@asynccontextmanager
async def hold_quota(client: SocketClient) -> AsyncIterator[SocketClient]:
    """Count the caller's stream in for the length of the block; TooManyRequests above the limit."""
    await quota.acquire_slot(client.quota_kind, client.user, client.session, client.limit)
    try:
        yield client
    finally:
        await quota.release_slot(client.quota_kind, client.user, client.session)


async def redeem(socket: Socket, token: str, kind: str, session: str) -> Ticket:
    """The ticket of a token, which is spent by it.

    Unauthenticated when it is not valid, Forbidden when another site's page opened the socket, or
    when the caller lost the right since the ticket was issued.
    """
    ticket = await tickets.redeem(connections.async_redis(), token, kind, session)
    check_origin(socket, ticket.host)
    await connections.in_database_thread(
        stream_policy().still_allowed,
        ticket.credential,
        ticket_attributes(ticket),
    )
    return ticket


def client_of_ticket(ticket: Ticket, *, quota_kind: str, limit: int) -> SocketClient:
    """The ticket's caller, who counts in the quota `quota_kind` of `limit` streams."""
    return SocketClient(
        user=ticket.user,
        credential=ticket.credential,
        act=ticket_attributes(ticket),
        session=ticket.mark,
        quota_kind=quota_kind,
        limit=limit,
    )
