"""One request of the Model Context Protocol on the event loop: its body is read within limits.

The protocol itself is spoken by `agents.server`, which the event-driven server registers here:
web servers and workers import this module, and must not load the protocol's library.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import orjson
from django.conf import settings

from agents.caller import Caller
from core.errors import Invalid
from core.sockets.exchanges import ClientLeft, Exchange


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer over HTTP."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class ProtocolServer(Protocol):
    """Speaks the protocol: a request's headers and body become an answer."""

    async def reply(self, caller: Caller, headers: Mapping[str, str], body: bytes) -> Reply: ...


_servers: list[ProtocolServer] = []
# What starts a server where none is yet.
_starters: list[Callable[[], Awaitable[None]]] = []
JSON = {"content-type": "application/json"}
# Requests of one person that one process answers at once.
_running: dict[int, int] = {}


def register(server: ProtocolServer) -> None:
    """Use this server from now on."""
    _servers[:] = [server]


def unregister(server: ProtocolServer) -> None:
    """Use it no longer."""
    if server in _servers:
        _servers.remove(server)


def start_with(starter: Callable[[], Awaitable[None]]) -> None:
    """Call this, from now on, when there is no server; it returns once there is one."""
    _starters[:] = [starter]


async def converse(caller: Caller, exchange: Exchange) -> None:
    """Answer the request."""
    try:
        reply = await _reply(caller, exchange)
    except ClientLeft:
        return
    await exchange.answer(reply.status, reply.headers, reply.content)


async def _reply(caller: Caller, exchange: Exchange) -> Reply:
    limit = settings.AGENT_BODY_BYTES
    too_large = refusal(413, f"the body is larger than {limit} bytes")
    if (exchange.content_length or 0) > limit:
        return too_large
    body = bytearray()
    try:
        async with asyncio.timeout(settings.AGENT_BODY_SECONDS):
            async for part in exchange.body():
                if len(body) + len(part) > limit:
                    return too_large
                body += part
    except (TimeoutError, Invalid):
        return refusal(408, "the body came too slowly")
    if not _servers and _starters:
        await _starters[0]()
    if not _servers:
        return refusal(
            503,
            "the server is starting or stopping: try again in a moment",
        )
    if _running.get(caller.user, 0) >= settings.AGENT_CALLS_PER_USER:
        return refusal(429, "too many calls at once", {"retry-after": "1"})
    _running[caller.user] = _running.get(caller.user, 0) + 1
    try:
        return await _servers[0].reply(caller, exchange.headers, bytes(body))
    finally:
        _running[caller.user] -= 1
        if not _running[caller.user]:
            del _running[caller.user]


def refusal(
    status: int,
    message: str,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """A refusal over HTTP, in JSON-RPC's shape."""
    body = {"jsonrpc": "2.0", "id": None, "error": {"code": -32001, "message": message}}
    return Reply(status, {**JSON, **(headers or {})}, orjson.dumps(body))
