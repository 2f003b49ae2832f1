"""The ASGI application: WebSocket routes only; everything else belongs to the WSGI server."""

import asyncio
import logging
import os
import re
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kubegale.settings")
django.setup()

from clusters import stream_clients  # noqa: E402
from core.errors import DomainError, NotFound  # noqa: E402
from core.sockets import connections  # noqa: E402
from core.sockets.protocol import Message, Receive, Send, Socket, close_all, serve  # noqa: E402  # needs the settings
from dialects.kubegale import code_of  # noqa: E402
from operations import sockets as operation_sockets  # noqa: E402
from storage_api import sockets as change_sockets  # noqa: E402
from workloads import sockets as workload_sockets  # noqa: E402
from workloads.streams import terminal  # noqa: E402

ROUTES = [
    (re.compile(rf"{pattern}/?\Z"), handler)
    for module in (workload_sockets, change_sockets, operation_sockets)
    for pattern, handler in module.ROUTES.items()
]
FAREWELL_SECONDS = 2.0
FRONT_PEER = b"x-kubegale-peer"


class WithoutQuery(logging.Filter):
    """uvicorn writes the address of each socket into its log; the ticket in it stays out."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Cut every text at its question mark."""
        if isinstance(record.args, tuple):
            record.args = tuple(
                part.partition("?")[0] if isinstance(part, str) else part for part in record.args
            )
        return True


for name in ("uvicorn.error", "uvicorn.access"):
    logging.getLogger(name).addFilter(WithoutQuery())


def _code(error: DomainError) -> int:
    return code_of(error, "GET")[0]


async def application(scope: Message, receive: Receive, send: Send) -> None:
    """Dispatch by scope type; unknown sockets are closed, plain HTTP is told where it belongs."""
    if scope["type"] != "lifespan":
        _name_client(scope)
    match scope["type"]:
        case "lifespan":
            await _lifespan(receive, send)
        case "websocket":
            await receive()
            await _websocket(Socket(scope, receive, send, error_code=_code))
        case "http":
            await _plain_http(scope, send)


def _name_client(scope: Message) -> None:
    """Behind the front (a unix socket, whose peers have no address) the client is who the front says; elsewhere its header is
    dropped."""
    said = [value for name, value in scope["headers"] if name == FRONT_PEER]
    scope["headers"] = [pair for pair in scope["headers"] if pair[0] != FRONT_PEER]
    if said and os.environ.get("KUBEGALE_WS_SOCKET") and not (scope.get("client") or ("",))[0]:
        scope["client"] = (said[0].decode("latin-1"), 0)


async def _websocket(socket: Socket) -> None:
    for pattern, handler in ROUTES:
        if match := pattern.match(socket.path):
            return await serve(socket, handler, match.groupdict())
    return await serve(socket, _unknown, {})


async def _unknown(socket: Socket, arguments: Any) -> None:
    await socket.accept()
    raise NotFound("no such socket")


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            _say_goodbye_before_stopping()
        else:
            await terminal.end_all()
            await stream_clients.close()
            await connections.close()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def _say_goodbye_before_stopping() -> None:
    """uvicorn closes sockets with 1012 as soon as it is told to stop; ours are told 1001 first, so that clients come back."""
    if threading.current_thread() is not threading.main_thread():
        return
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        before = signal.getsignal(number)
        if callable(before):
            signal.signal(number, _goodbye(loop, before))


def _goodbye(
    loop: asyncio.AbstractEventLoop, before: Callable[[int, FrameType | None], Any]
) -> Callable[[int, FrameType | None], None]:
    async def close_then_stop(number: int, frame: FrameType | None) -> None:
        try:
            async with asyncio.timeout(FAREWELL_SECONDS):
                await close_all()
        except TimeoutError:
            pass
        before(number, frame)

    def handle(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(lambda: asyncio.ensure_future(close_then_stop(number, frame)))

    return handle


async def _plain_http(scope: Message, send: Send) -> None:
    healthy = scope["path"] in {"/healthz", "/healthz/"}
    body = (
        b'{"status":"ok"}'
        if healthy
        else b'{"error":"this port serves WebSocket connections only"}'
    )
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send(
        {"type": "http.response.start", "status": 200 if healthy else 404, "headers": headers}
    )
    await send({"type": "http.response.body", "body": body})
