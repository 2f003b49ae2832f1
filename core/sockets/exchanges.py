"""HTTP requests that are answered on the event loop: long up- and downloads.

The request's head passes through all of Django (middleware, routes, sign-in, rights, checks of its
input) as a request without a body, in a database thread. A view that wants to go on here returns a
`TransferResponse`; whatever else it returns is the answer. So there is one door for both servers.
"""

import asyncio
import io
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from typing import Any

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.base import BaseHandler
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from core.api.long_lived import recheck_of_request
from core.errors import ClusterUnavailable, Forbidden, Invalid, Unauthenticated
from core.front import BEHIND_FRONT
from core.sockets.connections import in_database_thread

log = logging.getLogger(__name__)
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
# An attribute of the request: its body comes on the event loop.
ON_EVENT_LOOP = "is_on_event_loop"
# Headers of a body that the view does not see, and of the front.
_BODY_HEADERS = frozenset({b"content-length", b"transfer-encoding", b"expect"})
_FRONT_HEADERS = (b"x-kubegale-",)
# Bytes: what is taken out of a large part of an answer at once.
PART = 256 * 1024


class ClientLeft(Exception):
    """The client has closed its connection."""


class Exchange:
    """One request and its answer on the event loop.

    The caller's rights are checked again every STREAM_REAUTHORISE_SECONDS, between two parts.
    """

    def __init__(self, scope: Message, receive: Receive, send: Send, request: HttpRequest) -> None:
        self.request = request
        self.started = False
        self.headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        self._receive = receive
        self._send = send
        self._check = recheck_of_request(request)
        self._checked = time.monotonic()
        self._base: Mapping[str, str] = {}

    def use_headers_of(self, response: HttpResponseBase) -> None:
        """Send what middleware has set on a response with the answer, too."""
        self._base = dict(response.items())

    @property
    def content_length(self) -> int | None:
        """What the request says of its body's size; None when it says nothing."""
        text = self.headers.get("content-length", "")
        return int(text) if text.isascii() and text.isdigit() else None

    async def body(self) -> AsyncIterator[bytes]:
        """The request's body as it comes; ClientLeft when it is cut off."""
        more = True
        while more:
            try:
                async with asyncio.timeout(settings.FILES_IDLE_SECONDS):
                    message = await self._receive()
            except TimeoutError:
                raise Invalid("the body came too slowly") from None
            if message["type"] == "http.disconnect":
                raise ClientLeft
            more = message.get("more_body", False)
            if message.get("body"):
                await self._recheck()
                yield message["body"]

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Send the head of the answer."""
        self.started = True
        merged = {name.lower(): value for name, value in self._base.items()}
        # Those are of the response that only led here.
        merged.pop("content-length", None)
        merged |= {name.lower(): value for name, value in headers.items()}
        pairs = [(name.encode(), value.encode("latin-1")) for name, value in merged.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": pairs})

    async def answer(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
        """Send a small answer as a whole, be it that the caller has no right any more."""
        await self.start(status, headers)
        await self._pass_on(content)
        await self.finish()

    async def send(self, data: bytes) -> None:
        """Send a part of the answer; waits while the client does not read."""
        await self._recheck()
        await self._pass_on(data)

    async def _pass_on(self, data: bytes) -> None:
        for start in range(0, len(data), PART):
            await self._send(
                {
                    "type": "http.response.body",
                    "body": data[start : start + PART],
                    "more_body": True,
                }
            )

    async def finish(self) -> None:
        """End the answer."""
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def wait_until_left(self) -> None:
        """Return when the client has closed its connection; what it still sends is dropped."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def include_new_rights(self) -> None:
        """Check from now on also what the request was allowed since it came here."""
        self._check = recheck_of_request(self.request)

    async def confirm_right(self, fresh: float = 0.0) -> None:
        """Forbidden or Unauthenticated once the caller has lost the right.

        Not asked again within `fresh` seconds of the last time.
        """
        if time.monotonic() - self._checked < fresh:
            return
        try:
            with suppress(ClusterUnavailable):
                await in_database_thread(self._check)
        except (Forbidden, Unauthenticated) as error:
            log.info("the transfer at %s ends: %s", self.request.path, error.message)
            raise
        self._checked = time.monotonic()

    async def _recheck(self) -> None:
        await self.confirm_right(settings.STREAM_REAUTHORISE_SECONDS)


class TransferResponse(HttpResponse):
    """Says that the answer is made on the event loop, by `transfer`."""

    def __init__(self, transfer: Callable[[Exchange], Awaitable[None]]) -> None:
        super().__init__()
        self.transfer = transfer


class _Handler(BaseHandler):
    """Django's middleware and routes, loaded once."""

    def __init__(self) -> None:
        self.load_middleware()


_handlers: list[_Handler] = []


def _respond(request: HttpRequest) -> HttpResponseBase:
    if not _handlers:
        _handlers.append(_Handler())
    response = _handlers[0].get_response(request)
    response.close()
    return response


async def serve_exchange(scope: Message, receive: Receive, send: Send) -> None:
    """Answer one HTTP request."""
    request = _request(scope)
    response = await in_database_thread(_respond, request)
    exchange = Exchange(scope, receive, send, request)
    if not isinstance(response, TransferResponse):
        content = getattr(response, "content", b"")
        await exchange.answer(response.status_code, dict(response.items()), content)
        return
    exchange.use_headers_of(response)
    # An answer that has begun and does not end breaks the connection: the client sees that
    # something lacks. An error raised here would be logged as a fault of ours.
    with suppress(Forbidden, Unauthenticated):
        await response.transfer(exchange)


def _request(scope: Message) -> HttpRequest:
    """The request without its body, which comes later and only to the view that wants it."""
    headers = [
        (name, value)
        for name, value in scope["headers"]
        if name not in _BODY_HEADERS and not name.startswith(_FRONT_HEADERS)
    ]
    request = ASGIRequest({**scope, "headers": headers}, io.BytesIO())
    if os.environ.get("KUBEGALE_WS_SOCKET"):
        request.META[BEHIND_FRONT] = True
    setattr(request, ON_EVENT_LOOP, True)
    return request


async def run_until_left(exchange: Exchange, work: Awaitable[None]) -> None:
    """Do the work, and stop as soon as the client closes; ClientLeft then."""
    task = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(exchange.wait_until_left())
    try:
        await asyncio.wait({task, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientLeft
        await task
    finally:
        for other in (task, watching):
            other.cancel()
        await asyncio.gather(task, watching, return_exceptions=True)
