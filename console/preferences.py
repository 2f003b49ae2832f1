"""How the person arranged the console: read for every page, changed by a few small forms."""

from collections.abc import Mapping
from typing import Any, cast

from django.core.cache import cache
from django.http import HttpRequest

from console.api_client import call

PATH = "/api/v1/auth/preferences"
CACHE_SECONDS = 5
MAX_NAMESPACES = 50


def _cache_key(request: HttpRequest) -> str:
    return f"console-preferences:{request.session.session_key}"


def read(request: HttpRequest) -> Mapping[str, Any]:
    """{"views", "hidden_columns", "column_widths"}, remembered by the session for seconds."""
    document = cache.get(_cache_key(request))
    if document is None:
        document = call(request, "GET", PATH).data
        cache.set(_cache_key(request), document, CACHE_SECONDS)
    return cast("Mapping[str, Any]", document)


def write(request: HttpRequest, **members: Any) -> None:
    """Replace members of the document; ApiRefusal when one is wrong."""
    document = call(request, "PUT", PATH, body=members).data
    cache.set(_cache_key(request), document, CACHE_SECONDS)


def read_fresh(request: HttpRequest) -> Mapping[str, Any]:
    """The document as it is stored now, to change a part of it."""
    cache.delete(_cache_key(request))
    return read(request)


def namespace_cookie(cluster: object) -> str:
    """The cookie with the namespaces that the person chose in a cluster."""
    return f"namespaces-{cluster}"


def chosen_namespaces(request: HttpRequest, cluster: object) -> list[str]:
    """The namespaces that tables of a cluster narrow themselves to; [] is all."""
    return split_namespaces(request.COOKIES.get(namespace_cookie(cluster), ""))


def split_namespaces(text: str) -> list[str]:
    """The names of a comma list."""
    names = [name.strip() for name in text.split(",")]
    return [name for name in names if name][:MAX_NAMESPACES]
