"""Cluster rows that this request has looked up already: the right and the work ask for the same one."""

from collections.abc import Callable
from contextvars import ContextVar

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from clusters.models import Cluster

_found: ContextVar[dict[str, Cluster] | None] = ContextVar("lookups", default=None)


def known(reference: str) -> Cluster | None:
    """The row, when this request has read it; outside requests nothing is ever kept."""
    kept = _found.get()
    return kept.get(reference) if kept else None


def keep(reference: str, cluster: Cluster) -> Cluster:
    """Remember the row until the request is answered or a cluster is changed."""
    if (kept := _found.get()) is not None:
        kept[reference] = cluster
    return cluster


def forget() -> None:
    """Rows have changed: read them anew."""
    if (kept := _found.get()) is not None:
        kept.clear()


class Fresh:
    """Middleware: every request reads each cluster's row once, and never one of an earlier request."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Begin with nothing; end the same, since streamed answers must notice what changes meanwhile."""
        before = _found.set({})
        try:
            return self.get_response(request)
        finally:
            _found.reset(before)
