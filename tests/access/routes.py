"""Every route of every dialect, with arguments that make sense, and how each dialect says no."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.core.signals import request_finished
from django.db import close_old_connections
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
SPACE = "team-a"
ARGUMENTS = {
    "namespace": SPACE,
    "group": "apps",
    "version": "v1",
    "plural": "deployments",
    "resource_type": "Pod",
    "resourceType": "Pod",
}
# The door of agents leads to these very routes; `tests/agents` walk through it.
OUTSIDE = {"schema", "docs", "healthz", "readyz", "metrics", "mcp"}


@dataclass(frozen=True)
class Route:
    """One address and what can be done there."""

    name: str
    address: str
    methods: tuple[str, ...]


def walk(arguments: Mapping[str, str]) -> Iterator[Route]:
    """Every route but the admin's, the console's and the platform's own."""
    for prefix, pattern in _patterns(get_resolver().url_patterns, "/"):
        view = getattr(pattern.callback, "view_class", None) or getattr(
            pattern.callback, "cls", None
        )
        if (
            view is None
            or not hasattr(view, "dialect")
            or (pattern.name or "").endswith("-unknown")
            or pattern.name in OUTSIDE
        ):
            continue
        address = re.sub(
            r"<(?:\w+:)?(\w+)>",
            lambda part: arguments.get(part[1], ARGUMENTS.get(part[1], "x")),
            prefix,
        )
        yield Route(f"{_dialect(pattern)}:{pattern.name}", address, tuple(_methods(pattern, view)))


def _dialect(pattern: URLPattern) -> str:
    callback: Any = pattern.callback
    bound = getattr(callback, "initkwargs", None) or callback.view_initkwargs
    return str(bound["dialect"].name)


def _patterns(
    patterns: list[URLPattern | URLResolver], prefix: str
) -> Iterator[tuple[str, URLPattern]]:
    for pattern in patterns:
        address = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _patterns(pattern.url_patterns, address)
        else:
            yield address, pattern


def _methods(pattern: URLPattern, view: Any) -> Iterator[str]:
    actions = getattr(pattern.callback, "actions", None)
    for method in METHODS:
        if method.lower() in actions if actions else hasattr(view, method.lower()):
            yield method


def call(client: Client, method: str, route: Route, sent: Mapping[str, Any]) -> Any:
    """The answer; everything is said in the query and in the body, so that each dialect finds it where it looks."""
    body = json.dumps(sent) if method in {"POST", "PUT"} else ""
    query = {key: str(value) for key, value in sent.items()}
    return client.generic(
        method, route.address, body, content_type="application/json", query_params=query
    )


def _close(response: Any) -> None:
    """As every server does, for what streams holds a place until then; the connection is the test's, though."""
    request_finished.disconnect(close_old_connections)
    response.close()
    request_finished.connect(close_old_connections)


def verdict(response: Any) -> str:
    """`unknown` (no credentials), `denied` or `allowed`; an answer of 500 and more that is no document's own fails the test."""
    if response.streaming:
        _close(response)
    if response.status_code == 401:
        return "unknown"
    if response.status_code == 403:
        return "denied"
    if (
        response["Content-Type"].startswith("application/json")
        and not response.streaming
        and response.content
    ):
        answer = json.loads(response.content)
        if isinstance(answer, dict) and answer.get("code") == 1005:
            return "denied"
        assert not (isinstance(answer, dict) and answer.get("code") == 5001), answer
    return "allowed"
