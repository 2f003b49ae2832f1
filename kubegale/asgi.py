"""The ASGI application: WebSocket routes only; everything else belongs to the WSGI server."""

import gc
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kubegale.settings")
django.setup()
gc.freeze()
gc.set_threshold(50_000, 20, 50)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


async def application(scope: Message, receive: Receive, send: Send) -> None:
    """Dispatch by scope type; unknown sockets are closed, plain HTTP is told where it belongs."""
    match scope["type"]:
        case "lifespan":
            await _lifespan(receive, send)
        case "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 4004, "reason": "no such socket"})
        case "http":
            await _plain_http(scope, send)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _plain_http(scope: Message, send: Send) -> None:
    healthy = scope["path"] in {"/healthz", "/healthz/"}
    body = b'{"status":"ok"}' if healthy else b'{"error":"this port serves WebSocket connections only"}'
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200 if healthy else 404, "headers": headers})
    await send({"type": "http.response.body", "body": body})
