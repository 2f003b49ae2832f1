"""POST /mcp: who may come in, in the words of every other route; the rest is the event loop's.

The head of a request passes all of Django (host, sign-in). The body is read by `agents.exchange`.
"""

from functools import partial
from http import HTTPStatus
from typing import Any

from django.conf import settings
from rest_framework.request import Request

from agents.caller import Caller
from agents.exchange import converse
from core import errors
from core.api.client_ip import is_cross_site
from core.api.dialect import Dialect, DialectView
from core.errors import Forbidden, Rejected
from core.sockets.exchanges import ON_EVENT_LOOP, TransferResponse

# JSON-RPC leaves these numbers to servers.
REFUSED = -32001
_STATUS: tuple[tuple[type[errors.DomainError], HTTPStatus], ...] = (
    (errors.Unauthenticated, HTTPStatus.UNAUTHORIZED),
    (errors.Forbidden, HTTPStatus.FORBIDDEN),
    (errors.PayloadTooLarge, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (errors.TooManyRequests, HTTPStatus.TOO_MANY_REQUESTS),
    (errors.MethodNotAllowed, HTTPStatus.METHOD_NOT_ALLOWED),
    (errors.NotFound, HTTPStatus.NOT_FOUND),
    (errors.Internal, HTTPStatus.INTERNAL_SERVER_ERROR),
)


def _error(error: errors.DomainError, method: str) -> tuple[int, object]:
    status = next(
        (status for kind, status in _STATUS if isinstance(error, kind)), HTTPStatus.BAD_REQUEST
    )
    body = {
        "jsonrpc": "2.0",
        "id": None,
        "error": {"code": REFUSED, "message": error.message},
    }
    return int(status), body


DIALECT = Dialect(
    name="mcp",
    one=lambda data: data,
    page=lambda page: list(page.items),
    error=_error,
    params={},
)


class AgentDoor(DialectView):
    """The one address of the Model Context Protocol: stateless, each POST is whole in itself."""

    schema = None

    @classmethod
    def is_offered(cls, **values: Any) -> bool:
        """In no OpenAPI document: the protocol describes itself."""
        return False

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse pages of other sites before anything else: their visitors never meant the call."""
        origin = request.headers.get("Origin", "").rstrip("/").lower()
        is_allowed = bool(origin) and origin in settings.WS_ALLOWED_ORIGINS
        if is_cross_site(request) and not is_allowed:
            raise Forbidden("a page of this Origin may not call this")
        super().initial(request, *args, **kwargs)

    def post(self, request: Request) -> Any:
        """Lead to the event loop."""
        if not getattr(request._request, ON_EVENT_LOOP, False):
            raise Rejected(
                "the Model Context Protocol is answered by the event-driven server: "
                "ask at the address of the front, or at the WebSocket port",
                reason="WrongServer",
            )
        return TransferResponse(partial(converse, Caller.from_request(request)))
