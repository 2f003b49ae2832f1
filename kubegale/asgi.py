"""The ASGI application: WebSocket routes only; everything else belongs to the WSGI server."""

import asyncio
import logging
import os
import re
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kubegale.settings")
django.setup()


# These need the settings.
from agents.loading import ServerTask  # noqa: E402
from clusters import stream_clients  # noqa: E402
from core.errors import DomainError, NotFound  # noqa: E402
from core.sockets import connections  # noqa: E402
from core.sockets.exchanges import serve_exchange  # noqa: E402
from core.sockets.protocol import (  # noqa: E402
    Message,
    Receive,
    Send,
    Socket,
    close_all,
    serve,
)
from dialects.kubegale import code_of  # noqa: E402
from gateway.listening import Gateway  # noqa: E402
from operations import sockets as operation_sockets  # noqa: E402
from storage_api import sockets as change_sockets  # noqa: E402
from workloads import sockets as workload_sockets  # noqa: E402
from workloads.streams import terminal  # noqa: E402

ROUTES = [
    (re.compile(rf"{pattern}/?\Z"), handler)
    for module in (workload_sockets, change_sockets, operation_sockets)
    for pattern, handler in module.ROUTES.items()
]
# Addresses that this server answers itself; the front's `edge.routes` names the same ones.
TRANSFERS = (
    ({"GET", "HEAD"}, re.compile(r"/(?:api/v1/kubernetes/pods|clusters)/.*/files/download/?\Z")),
    ({"POST"}, re.compile(r"/(?:api/v1/kubernetes/pods|clusters)/.*/files/?\Z")),
    ({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}, re.compile(r"/mcp/?\Z")),
)
FAREWELL_SECONDS = 2.0
FRONT_PEER = b"x-kubegale-peer"


class WithoutQuery(logging.Filter):
    """Log filter for uvicorn, which logs the address of each socket: removes the ticket in it."""

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
    """Dispatch by the scope's type."""
    if scope["type"] != "lifespan":
        _name_client(scope)
    match scope["type"]:
        case "lifespan":
            await _lifespan(receive, send)
        case "websocket":
            await receive()
            await _websocket(Socket(scope, receive, send, error_code=_code))
        case "http":
            await _http(scope, receive, send)


def is_transfer(method: str, path: str) -> bool:
    """Whether a request is an up- or download, or an agent's."""
    return any(method in methods and pattern.match(path) for methods, pattern in TRANSFERS)


def _name_client(scope: Message) -> None:
    """Set the client that the front names on its unix socket; elsewhere drop the front's header."""
    headers = scope["headers"]
    peers = [value for name, value in headers if name == FRONT_PEER]
    scope["headers"] = [pair for pair in headers if pair[0] != FRONT_PEER]
    # A peer on a unix socket has no address of its own.
    address = (scope.get("client") or ("",))[0]
    if peers and os.environ.get("KUBEGALE_WS_SOCKET") and not address:
        scope["client"] = (peers[0].decode("latin-1"), 0)


async def _websocket(socket: Socket) -> None:
    for pattern, handler in ROUTES:
        if match := pattern.match(socket.path):
            return await serve(socket, handler, match.groupdict())
    return await serve(socket, _unknown, {})


async def _unknown(socket: Socket, arguments: Any) -> None:
    await socket.accept()
    raise NotFound("no such socket")


async def _lifespan(receive: Receive, send: Send) -> None:
    gateway = Gateway()
    agents = ServerTask()
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            _close_sockets_before_stopping()
            try:
                await gateway.start()
            except (OSError, DomainError) as error:
                failure = f"the gateway cannot listen: {error}"
                await send({"type": "lifespan.startup.failed", "message": failure})
                return
        else:
            await agents.close()
            await gateway.stop()
            await terminal.end_all()
            await stream_clients.close()
            await connections.close()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def _close_sockets_before_stopping() -> None:
    """Close sockets with 1001 when the process has to stop, so that clients connect again.

    uvicorn would close them with 1012 at once.
    """
    if threading.current_thread() is not threading.main_thread():
        # Only the main thread may set signal handlers; tests run servers in others.
        return
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        uvicorn_handler = signal.getsignal(number)
        if callable(uvicorn_handler):
            signal.signal(number, _closing_handler(loop, uvicorn_handler))


def _closing_handler(
    loop: asyncio.AbstractEventLoop,
    original: Callable[[int, FrameType | None], Any],
) -> Callable[[int, FrameType | None], None]:
    """A signal handler that closes the sockets and then calls the original one."""

    async def close_and_stop(number: int, frame: FrameType | None) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL_SECONDS):
                await close_all()
        original(number, frame)

    def handle(number: int, frame: FrameType | None) -> None:
        # The handler interrupts the loop anywhere: the work is done in its next round.
        loop.call_soon_threadsafe(lambda: asyncio.ensure_future(close_and_stop(number, frame)))

    return handle


async def _http(scope: Message, receive: Receive, send: Send) -> None:
    """Transfers of files and agents, 200 for /healthz, 404 for everything else."""
    if is_transfer(scope["method"], scope["path"]):
        await serve_exchange(scope, receive, send)
        return
    status = 404
    body = b'{"error":"this port serves WebSocket connections only"}'
    if scope["path"] in {"/healthz", "/healthz/"}:
        status = 200
        body = b'{"status":"ok"}'
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": headers,
        }
    )
    await send({"type": "http.response.body", "body": body})
