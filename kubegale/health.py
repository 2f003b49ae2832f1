"""/healthz (alive), /readyz (database and broker answer), /metrics (Prometheus)."""

import hmac
from collections.abc import Callable
from functools import lru_cache
from http import HTTPStatus

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST

from alerts.gauges import AlertGauges
from core.api import prometheus
from core.api.client_ip import came_from
from operations.gauges import WorkGauges

# Seconds for Redis to accept a connection, and to answer.
TIMEOUT = 3
prometheus.SHARED.register(WorkGauges())
prometheus.SHARED.register(AlertGauges())


@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """200 while the process answers at all."""
    return JsonResponse({"status": "ok"})


def _check_database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


@lru_cache(maxsize=1)
def _broker_client(url: str) -> "redis.Redis":
    return redis.Redis.from_url(url, socket_connect_timeout=TIMEOUT, socket_timeout=TIMEOUT)


def _check_broker() -> None:
    _broker_client(settings.REDIS_URL).ping()


def _state(check: Callable[[], None]) -> str:
    """`ok`, or `failed: ` and the kind of error."""
    try:
        check()
    except (DatabaseError, redis.RedisError, OSError) as error:
        return f"failed: {type(error).__name__}"
    return "ok"


@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """200 when database and broker answer, 503 naming what does not."""
    checks = {
        "database": _state(_check_database),
        "broker": _state(_check_broker),
    }
    if set(checks.values()) == {"ok"}:
        return JsonResponse({"status": "ok", "checks": checks})
    return JsonResponse({"status": "unavailable", "checks": checks}, status=503)


def _may_scrape(request: HttpRequest) -> bool:
    if settings.METRICS_TOKEN:
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if hmac.compare_digest(bearer.encode(), settings.METRICS_TOKEN.encode()):
            return True
    return came_from(request, settings.METRICS_NETWORKS)


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """The metrics of the web server, for METRICS_NETWORKS and the bearer of METRICS_TOKEN.

    Not for everyone: they name clusters.
    """
    if not _may_scrape(request):
        return HttpResponse(
            "metrics are for METRICS_NETWORKS or the bearer of METRICS_TOKEN\n",
            status=HTTPStatus.FORBIDDEN,
            content_type="text/plain; charset=utf-8",
        )
    return HttpResponse(prometheus.text(), content_type=CONTENT_TYPE_LATEST)
