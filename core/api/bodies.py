"""Refusing bodies before a view reads them.

The front (package `edge`) refuses what is malformed. Here its refusals get the words of the API at
the address, and large bodies of callers without credentials are refused.
"""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.exceptions import (
    RequestDataTooBig,
    SuspiciousOperation,
)
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import get_resolver

from core.api.dialect import DialectView
from core.api.parsing import claimed_size
from core.front import BODY_LEFT, REFUSAL


class FrontRefusal(SuspiciousOperation):
    """The front could not pass the request on: an HTTP status and a sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class BodyLimit:
    """Middleware: answers what the front refused, and refuses large bodies to pages.

    A refusal of the front goes to the project's handler of bad requests as FrontRefusal. A large
    body to a page, from a caller who has not signed in, goes there as RequestDataTooBig. The API's
    own views ask `raw_body`.
    """

    def __init__(
        self,
        get_response: Callable[[HttpRequest], HttpResponseBase],
    ) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Pass on what was not refused."""
        if refusal := request.META.get(REFUSAL):
            status, _, sentence = refusal.partition(" ")
            return _bad_request(request, FrontRefusal(int(status), sentence))
        return self.get_response(request)

    def process_view(
        self,
        request: HttpRequest,
        view: Any,
        args: Any,
        kwargs: Any,
    ) -> HttpResponse | None:
        """Check the size before the form is read, which looking for its CSRF token does."""
        if claimed_size(request) <= settings.MAX_ANONYMOUS_BODY_BYTES:
            return None
        if issubclass(getattr(view, "cls", object), DialectView):
            # It checks by itself, in `raw_body`, once it has seen the credentials.
            return None
        # Requests to an API have no user yet.
        user = getattr(request, "user", None)
        if request.META.get(BODY_LEFT) or user is None or not user.is_authenticated:
            return _bad_request(request, RequestDataTooBig())
        return None


def _bad_request(request: HttpRequest, error: SuspiciousOperation) -> HttpResponse:
    """The answer of the project's own handler; to raise would log a trace of a client's fault."""
    handler: Any = get_resolver().resolve_error_handler(400)
    response: HttpResponse = handler(request, exception=error)
    response["Content-Length"] = str(len(response.content))
    return response
