"""Cluster rows that this request has read: the permission check and the view both need one."""

from collections.abc import Callable
from contextvars import ContextVar

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from clusters.models import Cluster

_cache: ContextVar[dict[str, Cluster] | None] = ContextVar("clusters", default=None)


def get(reference: str) -> Cluster | None:
    """The row that this request has read by an id or name; None outside of requests."""
    cache = _cache.get()
    return cache.get(reference) if cache else None


def put(reference: str, cluster: Cluster) -> Cluster:
    """Keep the row until the request is answered or a cluster is changed, and return it."""
    cache = _cache.get()
    if cache is not None:
        cache[reference] = cluster
    return cluster


def clear() -> None:
    """Read every row again: clusters have changed."""
    cache = _cache.get()
    if cache is not None:
        cache.clear()


class RequestCacheMiddleware:
    """Middleware: each request reads a cluster's row once, and never gets an earlier request's."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer with an empty cache, and drop it when the response object is made.

        A streamed body runs after that, and must notice changes while it lasts.
        """
        token = _cache.set({})
        try:
            return self.get_response(request)
        finally:
            _cache.reset(token)
