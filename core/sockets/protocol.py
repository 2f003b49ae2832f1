"""WebSockets on plain ASGI: one object for a connection, frames as JSON, close codes for what went wrong."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson

from core import errors

log = logging.getLogger(__name__)
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
MAX_INCOMING = 1024 * 1024
GOING_AWAY, POLICY, TOO_BIG, FAULT = 1001, 1008, 1009, 1011
UNAUTHENTICATED, FORBIDDEN, NOT_FOUND, IDLE, REPLACED, CLUSTER_LOST, PLACE_LOST = (
    4001,
    4003,
    4004,
    4008,
    4009,
    4010,
    4011,
)


class Disconnected(Exception):
    """The other side, or we, have closed the connection."""


class Closing(Exception):
    """Ends a connection with a code and a reason; not an error."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


def now() -> str:
    """The time of a frame: RFC 3339, UTC, milliseconds."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"


def close_code(error: errors.DomainError) -> int:
    """The close code that says what a domain error says."""
    match error:
        case errors.Unauthenticated():
            return UNAUTHENTICATED
        case errors.Forbidden() | errors.TooManyRequests():
            return FORBIDDEN
        case errors.NotFound():
            return NOT_FOUND
        case errors.ClusterUnavailable():
            return CLUSTER_LOST
        case errors.Expired():
            return PLACE_LOST
        case errors.Internal():
            return FAULT
    return POLICY


class Socket:
    """One accepted connection. Only one task may send at a time."""

    def __init__(
        self,
        scope: Message,
        receive: Receive,
        send: Send,
        *,
        error_code: Callable[[errors.DomainError], int],
    ) -> None:
        self.path = str(scope["path"])
        self.query = dict(
            parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
        )
        self.headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope.get("headers", [])
        }
        self.subprotocols: list[str] = list(scope.get("subprotocols") or [])
        self._receive, self._send, self._error_code = receive, send, error_code
        self.closed = False

    async def accept(self, subprotocol: str | None = None) -> None:
        """Complete the handshake."""
        await self._send({"type": "websocket.accept", "subprotocol": subprotocol})

    async def receive(self) -> str | bytes:
        """The next message; Disconnected at the end."""
        message = await self._receive()
        if message["type"] != "websocket.receive":
            self.closed = True
            raise Disconnected
        data: str | bytes = (
            message["text"] if message.get("text") is not None else message.get("bytes") or b""
        )
        if len(data) > MAX_INCOMING:
            raise Closing(TOO_BIG, "message too big")
        return data

    async def send(self, frame: Mapping[str, Any] | list[Any]) -> None:
        """One frame; waits while the other side does not read. Disconnected when it is gone."""
        if self.closed:
            raise Disconnected
        text = orjson.dumps(frame, option=orjson.OPT_NON_STR_KEYS).decode()
        try:
            await self._send({"type": "websocket.send", "text": text})
        except (OSError, RuntimeError) as error:
            self.closed = True
            raise Disconnected from error

    def error_frame(self, error: errors.DomainError) -> dict[str, Any]:
        """What went wrong, with the code of the JSON API."""
        code = self._error_code(error)
        place = {"status": 410, **error.details} if isinstance(error, errors.Expired) else {}
        return {
            "type": "error",
            "code": code,
            "msg": error.message,
            "data": {"error": error.message, **place},
            "timestamp": now(),
        }

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close, unless that has happened."""
        if self.closed:
            return
        self.closed = True
        try:
            await self._send(
                {
                    "type": "websocket.close",
                    "code": code,
                    "reason": reason.encode()[:120].decode(errors="ignore"),
                }
            )
        except (OSError, RuntimeError):
            return


Handler = Callable[[Socket, Mapping[str, str]], Coroutine[Any, Any, None]]
OPEN: set[Socket] = set()


async def serve(socket: Socket, handler: Handler, arguments: Mapping[str, str]) -> None:
    """Run a handler; whatever ends it becomes a close code, and for errors a frame before it."""
    OPEN.add(socket)
    try:
        await handler(socket, arguments)
        await socket.close()
    except Disconnected:
        pass
    except Closing as closing:
        await socket.close(closing.code, closing.reason)
    except errors.DomainError as error:
        await _fail(socket, error)
    except Exception:
        log.exception("socket failed", extra={"path": socket.path})
        await _fail(socket, errors.Internal("internal server error"))
    finally:
        OPEN.discard(socket)


async def _fail(socket: Socket, error: errors.DomainError) -> None:
    try:
        async with asyncio.timeout(5):
            await socket.send(socket.error_frame(error))
    except (Disconnected, TimeoutError):
        pass
    await socket.close(close_code(error), error.message)


async def close_all() -> None:
    """Tell everyone that this process goes; clients come back with a back-off."""
    await asyncio.gather(*(socket.close(GOING_AWAY, "restart") for socket in list(OPEN)))


async def first_of(*coroutines: Coroutine[Any, Any, Any]) -> None:
    """Run together until the first one ends; the others are cancelled, its exception is raised."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in tasks:
        if task in done:
            task.result()


def same_origin(origin: str, hosts: list[str], allowed: list[str]) -> bool:
    """Whether a browser's Origin is one of our own hosts (`name:port`) or on the list; no Origin means no browser."""
    if not origin or "*" in allowed or origin.rstrip("/") in allowed:
        return True
    try:
        parts = urlsplit(origin.lower())
        port = parts.port
    except ValueError:
        return False
    standard = {"http": 80, "https": 443}.get(parts.scheme)
    if standard is None or not parts.hostname:
        return False
    bare = parts.netloc if port is None else parts.netloc.rpartition(":")[0]
    names = {f"{bare}:{port or standard}"} | ({bare} if port in {None, standard} else set())
    return any(given.lower() in names for given in hosts)
