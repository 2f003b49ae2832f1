"""URL tables: kinds bound to viewsets, optional trailing slashes, a catch-all per dialect."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import URLPattern, re_path

from kubegale.api.dialect import Dialect, UnknownRoute


def catch_all(dialect: Dialect) -> URLPattern:
    """The last route of a dialect: any address not matched before."""
    return re_path(r"^.*$", UnknownRoute.as_view(dialect=dialect), name=f"{dialect.name}-unknown")


class OptionalSlash:
    """Middleware: API routes work with and without a trailing slash, and never redirect."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response
        self.prefixes = tuple(settings.API_PREFIXES)

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Drop the slash before the route is looked up."""
        path = request.path_info
        if path.endswith("/") and path.startswith(self.prefixes):
            request.path_info = path.rstrip("/")
        return self.get_response(request)
