"""A log line and metrics for each request."""

import re
import time
import uuid
from collections.abc import Callable
from functools import cache

import structlog
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from prometheus_client import Counter, Histogram

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
# Any other method is counted as "other": Prometheus keeps a label value for ever.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
REQUESTS = Counter(
    "kubegale_http_requests_total",
    "Requests answered",
    ["method", "route", "status"],
)
SECONDS = Histogram(
    "kubegale_http_request_seconds",
    "Time to answer, without streaming",
    ["method", "route"],
)
log = structlog.stdlib.get_logger("kubegale.request")
# Looking up a label costs as much as counting; there are no more of them than routes.
_requests = cache(REQUESTS.labels)
_seconds = cache(SECONDS.labels)


def request_id(request: HttpRequest) -> str:
    """The caller's X-Request-Id when it is a plain word, else a new one."""
    header = request.META.get("HTTP_X_REQUEST_ID", "")
    return header if REQUEST_ID.match(header) else uuid.uuid4().hex


class RequestLog:
    """Middleware: one log line and one count for each request, and X-Request-Id on each answer."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer, then log and count the request; query strings and bodies are never logged."""
        started = time.perf_counter()
        identity = request_id(request)
        request.id = identity  # type: ignore[attr-defined]
        structlog.contextvars.bind_contextvars(request_id=identity)
        try:
            response = self.get_response(request)
            response["X-Request-Id"] = identity
            self._record(
                request,
                response.status_code,
                time.perf_counter() - started,
            )
            return response
        finally:
            structlog.contextvars.clear_contextvars()

    def _record(self, request: HttpRequest, status: int, seconds: float) -> None:
        method = request.method if request.method in METHODS else "other"
        match = getattr(request, "resolver_match", None)
        route = match.route if match else "none"
        _requests(method, route, status).inc()
        _seconds(method, route).observe(seconds)
        log.info(
            "request",
            method=method,
            path=request.path,
            status=status,
            ms=round(seconds * 1000, 1),
        )
