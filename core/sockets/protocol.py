"""WebSockets on plain ASGI: a connection as an object, frames as JSON, close codes for errors."""

import asyncio
import logging
import random
from collections.abc import (
    Awaitable,
    Callable,
    Coroutine,
    Mapping,
    MutableMapping,
)
from contextlib import suppress
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
# Close codes of RFC 6455.
GOING_AWAY = 1001
# Between these, clients are told to connect again when the process goes.
RETRY_SECONDS = (1.0, 8.0)
POLICY = 1008
TOO_BIG = 1009
FAULT = 1011
# Close codes of the documents (4000 to 4999 belong to applications).
UNAUTHENTICATED = 4001
FORBIDDEN = 4003
NOT_FOUND = 4004
IDLE = 4008
REPLACED = 4009
CLUSTER_LOST = 4010
PLACE_LOST = 4011
# A close frame holds at most 125 bytes, two of them the code.
REASON_BYTES = 120
STANDARD_PORTS = {"http": 80, "https": 443}


class Disconnected(Exception):
    """The other side, or we, have closed the connection."""


class Closing(Exception):
    """Ends a connection with a code and a reason; not an error."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def now() -> str:
    """The time of a frame: RFC 3339, UTC, milliseconds."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"


def close_code(error: errors.DomainError) -> int:
    """The close code for a domain error."""
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
    """One connection. Only one task may send at a time.

    `error_code` gives the code of the JSON API for a domain error.
    """

    def __init__(
        self,
        scope: Message,
        receive: Receive,
        send: Send,
        *,
        error_code: Callable[[errors.DomainError], int],
    ) -> None:
        query_string = scope.get("query_string", b"").decode("latin-1")
        self.path = str(scope["path"])
        self.query = dict(parse_qsl(query_string, keep_blank_values=True))
        self.headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope.get("headers", [])
        }
        self.subprotocols: list[str] = list(scope.get("subprotocols") or [])
        self.closed = False
        self._receive = receive
        self._send = send
        self._error_code = error_code

    async def accept(self, subprotocol: str | None = None) -> None:
        """Complete the handshake."""
        await self._send(
            {
                "type": "websocket.accept",
                "subprotocol": subprotocol,
            }
        )

    async def receive(self) -> str | bytes:
        """The next message; Disconnected at the end, Closing when it is too big."""
        message = await self._receive()
        if message["type"] != "websocket.receive":
            self.closed = True
            raise Disconnected
        # ASGI says either `text` or `bytes`, and the other one may be there as None.
        data: str | bytes = message.get("bytes") or b""
        if message.get("text") is not None:
            data = message["text"]
        if len(data) > MAX_INCOMING:
            raise Closing(TOO_BIG, "message too big")
        return data

    async def send(self, frame: Mapping[str, Any] | list[Any]) -> None:
        """Send one frame as JSON; waits while the other side does not read. Disconnected."""
        if self.closed:
            raise Disconnected
        text = orjson.dumps(frame, option=orjson.OPT_NON_STR_KEYS).decode()
        try:
            await self._send({"type": "websocket.send", "text": text})
        except (OSError, RuntimeError) as error:
            self.closed = True
            raise Disconnected from error

    def error_frame(self, error: errors.DomainError) -> dict[str, Any]:
        """{"type","code","msg","data":{"error",…},"timestamp"}, with the code of the JSON API."""
        data: dict[str, Any] = {"error": error.message}
        if isinstance(error, errors.Expired):
            # Kubernetes' 410 Gone: the client has to list again before it watches on.
            data |= {"status": 410, **error.details}
        return {
            "type": "error",
            "code": self._error_code(error),
            "msg": error.message,
            "data": data,
            "timestamp": now(),
        }

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection; does nothing when it is closed."""
        if self.closed:
            return
        self.closed = True
        text = reason.encode()[:REASON_BYTES].decode(errors="ignore")
        with suppress(OSError, RuntimeError):
            await self._send(
                {
                    "type": "websocket.close",
                    "code": code,
                    "reason": text,
                }
            )


Handler = Callable[[Socket, Mapping[str, str]], Coroutine[Any, Any, None]]
# The sockets of this process, for `close_all`.
OPEN: set[Socket] = set()


async def serve(socket: Socket, handler: Handler, arguments: Mapping[str, str]) -> None:
    """Run a handler until it ends; an exception becomes a close code, an error also a frame."""
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
    """Send the error and close; a client that does not read has five seconds for it."""
    with suppress(Disconnected, TimeoutError):
        async with asyncio.timeout(5):
            await socket.send(socket.error_frame(error))
    await socket.close(close_code(error), error.message)


async def close_all() -> None:
    """Close every socket of this process, telling its client when to connect again.

    Each is told a time of its own, so that they do not come to the other processes all at once.
    """
    await asyncio.gather(*(socket.close(GOING_AWAY, _restart_reason()) for socket in list(OPEN)))


def _restart_reason() -> str:
    # No secret: any spread will do.
    seconds = random.uniform(*RETRY_SECONDS)  # noqa: S311
    return f"restart; retry after {seconds:.1f} s"


async def first_of(*coroutines: Coroutine[Any, Any, Any]) -> None:
    """Run together until the first one ends; cancel the others and raise its exception, if any."""
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
    """Whether a browser's Origin is one of our own hosts (`name:port`) or in `allowed`.

    Programs send no Origin, and are let in.
    """
    if not origin or "*" in allowed or origin.rstrip("/") in allowed:
        return True
    try:
        parts = urlsplit(origin.lower())
        port = parts.port
    except ValueError:
        return False
    standard = STANDARD_PORTS.get(parts.scheme)
    if standard is None or not parts.hostname:
        return False
    bare = parts.netloc if port is None else parts.netloc.rpartition(":")[0]
    names = {f"{bare}:{port or standard}"}
    if port in {None, standard}:
        # A Host header leaves the scheme's own port out.
        names.add(bare)
    return any(host.lower() in names for host in hosts)
