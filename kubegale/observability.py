"""Structured logs: the same format for web servers, workers and commands."""

import logging
import sys
from collections.abc import Callable
from typing import Any

import orjson
import structlog
from django.conf import settings
from django.utils.module_loading import import_string


def _dumps(event: dict[str, Any], *, default: Callable[[Any], Any], **_: Any) -> str:
    """One line of JSON; the standard library takes ten times as long for each request's line."""
    options = orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z
    return orjson.dumps(event, default=default, option=options).decode()


def _drop_trace(entry: logging.LogRecord) -> bool:
    entry.exc_info = None
    entry.exc_text = None
    return True


def _has_trace(entry: logging.LogRecord) -> bool:
    """Whether it is about a fault of ours, not an answer that refuses a request."""
    return entry.levelno >= logging.ERROR and bool(entry.exc_info)


def configure_logging(options: dict[str, Any]) -> None:
    """Log everything to standard error, one line each.

    `options` is the setting LOGGING: {"level": "INFO" …, "format": "json" or "text"}.
    """
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    ending: list[Any] = [
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(serializer=_dumps),
    ]
    if options["format"] == "text":
        ending = [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                exception_formatter=structlog.dev.plain_traceback,
            )
        ]
    structlog.configure(
        processors=[
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *ending,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(options["level"])
    # Django repeats every 4xx and 5xx answer here, which the request log has already. Only the
    # traces of faults outside our own views stand nowhere else.
    logging.getLogger("django.request").addFilter(_has_trace)
    # A host that nobody serves is the client's fault: one line, no trace.
    logging.getLogger("django.security.DisallowedHost").addFilter(_drop_trace)
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    # It reports each request of an agent, which the request log does already.
    logging.getLogger("mcp").setLevel(logging.WARNING)


def start_telemetry(process: str) -> None:
    """Send traces and metrics of this process, when OTEL_EXPORTER_OTLP_ENDPOINT says where to.

    `process` is the last part of its name there. Without the variable no part of it is imported.
    """
    if settings.OTEL_EXPORTER_OTLP_ENDPOINT:
        import_string("kubegale.telemetry.start")(process)
