"""Structured logs with a request id, and the numbers behind /metrics."""

import logging
import re
import sys
import time
import uuid
from collections.abc import Callable
from typing import Any

import structlog
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from prometheus_client import Counter, Histogram

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
REQUESTS = Counter("kubegale_http_requests_total", "Requests answered", ["method", "route", "status"])
SECONDS = Histogram("kubegale_http_request_seconds", "Time to answer, without streaming", ["method", "route"])
log = structlog.stdlib.get_logger("kubegale.request")


def configure_logging(options: dict[str, Any]) -> None:
    """Send everything that is logged to standard error, one line each, as JSON or as text."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    ending: list[Any] = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    if options["format"] == "text":
        ending = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ending]
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(options["level"])
    # Django repeats every 4xx and 5xx answer here; the request line below has them already.
    logging.getLogger("django.request").setLevel(logging.CRITICAL)
    logging.getLogger("urllib3").setLevel(logging.ERROR)


def request_id(request: HttpRequest) -> str:
    """The caller's X-Request-Id when it is a plain word, else a new one."""
    given = request.headers.get("X-Request-Id", "")
    return given if REQUEST_ID.match(given) else uuid.uuid4().hex


class RequestLog:
    """Middleware: one log line and one count for each request, and X-Request-Id on each answer."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Time the request and say what came of it; query strings and bodies are never logged."""
        identity, started = request_id(request), time.perf_counter()
        request.id = identity  # type: ignore[attr-defined]
        structlog.contextvars.bind_contextvars(request_id=identity)
        try:
            response = self.get_response(request)
            response["X-Request-Id"] = identity
            self._record(request, response.status_code, time.perf_counter() - started)
            return response
        finally:
            structlog.contextvars.clear_contextvars()

    def _record(self, request: HttpRequest, status: int, seconds: float) -> None:
        method = request.method or "?"
        match = getattr(request, "resolver_match", None)
        route = match.route if match else "none"
        REQUESTS.labels(method, route, status).inc()
        SECONDS.labels(method, route).observe(seconds)
        log.info("request", method=method, path=request.path, status=status, ms=round(seconds * 1000, 1))
