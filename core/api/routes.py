"""URL tables: names with slashes, optional trailing slashes, a catch-all for each dialect."""

from collections.abc import Callable, Sequence
from urllib.parse import quote, unquote_to_bytes

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import (
    ResolverMatch,
    URLPattern,
    URLResolver,
    converters,
    re_path,
    register_converter,
)
from django.urls.resolvers import RoutePattern
from django.utils.functional import cached_property

from core.api.dialect import Dialect, UnknownRoute

# Stands for a percent-encoded slash while a route is looked up; no request can hold it, as text out
# of UTF-8 has no surrogates.
ENCODED_SLASH = "\udc2f"


class Segment:
    """Path converter `segment`: text between two slashes, where %2F is a slash of the text."""

    regex = "[^/]+"

    def to_python(self, value: str) -> str:
        """The text that the client meant."""
        return value.replace(ENCODED_SLASH, "/")

    def to_url(self, value: str) -> str:
        """The text, ready for an address."""
        return quote(value, safe="")


register_converter(Segment, "segment")


def catch_all(dialect: Dialect, view: type[UnknownRoute] = UnknownRoute) -> URLPattern:
    """The last route of a dialect: any address not matched before."""
    return re_path(
        r"^.*$",
        view.as_view(dialect=dialect),
        name=f"{dialect.name}-unknown",
    )


Pattern = URLPattern | URLResolver
# Converters that match no slash.
ONE_SEGMENT: frozenset[type] = frozenset(
    {
        converters.IntConverter,
        converters.StringConverter,
        converters.SlugConverter,
        converters.UUIDConverter,
        Segment,
    }
)
# Longer addresses are tried with every pattern.
MOST_SLASHES = 12


class Table(URLResolver):
    """A long table of routes, looked up by the first segment of the address and their number.

    Django tries one pattern after the other, more than a hundred for each request. Here only those
    are tried, in the same order, that can match: their first segment is the address's, or varies,
    and so is the number of their segments.
    """

    def resolve(self, path: str) -> ResolverMatch:
        """The route of an address; Resolver404 for none."""
        match = self.pattern.match(str(path))
        rest = match[0] if match else ""
        segment = rest.partition("/")[0]
        if segment not in self._segments:
            segment = ""
        key = (segment, min(rest.count("/"), MOST_SLASHES))
        part = self._parts.get(key)
        if part is None:
            part = self._parts[key] = self._part(*key)
        return part.resolve(path)

    @cached_property
    def _segments(self) -> frozenset[str]:
        return frozenset(_first_segment(pattern) for pattern in self.url_patterns)

    @cached_property
    def _parts(self) -> dict[tuple[str, int], URLResolver]:
        return {}

    def _part(self, segment: str, slashes: int) -> URLResolver:
        patterns = [
            row
            for row in self.url_patterns
            if _first_segment(row) in (segment, "") and _slashes(row) in (slashes, None)
        ]
        return URLResolver(self.pattern, patterns)


def _slashes(pattern: Pattern) -> int | None:
    """How many slashes every address of the pattern has; None if that varies, or they are many."""
    route = pattern.pattern
    if not isinstance(route, RoutePattern) or not isinstance(pattern, URLPattern):
        return None
    # Not their subclasses: Django's `path` is one of `str`.
    if any(type(part) not in ONE_SEGMENT for part in route.converters.values()):
        return None
    count = str(route).count("/")
    return count if count < MOST_SLASHES else None


def _first_segment(pattern: Pattern) -> str:
    """The text with which every address of the pattern begins, up to a slash; "" if it varies."""
    route = pattern.pattern
    if not isinstance(route, RoutePattern):
        return ""
    segment, slash, _ = str(route).partition("/")
    is_whole = bool(slash) or isinstance(pattern, URLPattern)
    return segment if is_whole and "<" not in segment else ""


def table(prefix: str, patterns: Sequence[Pattern]) -> URLResolver:
    """The routes below a prefix, as `path(prefix, include(patterns))`."""
    return Table(RoutePattern(prefix, is_endpoint=False), list(patterns))


class OptionalSlash:
    """Middleware: API routes work with and without a trailing slash, and never redirect.

    Where the server passes the address as it was sent (gunicorn: RAW_URI), a %2F in it does not
    divide segments: it belongs to the name where names are free (`Segment`), and everywhere else
    there is no such route.
    """

    def __init__(
        self,
        get_response: Callable[[HttpRequest], HttpResponseBase],
    ) -> None:
        self.get_response = get_response
        self.prefixes = tuple(settings.API_PREFIXES)
        self.free_names = tuple(settings.FREE_NAME_PREFIXES)

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Drop the slash before the route is looked up."""
        path = request.path_info
        if path.endswith("/") and path.startswith(self.prefixes):
            request.path_info = path.rstrip("/")
        if path.startswith(self.free_names):
            _keep_encoded_slashes(request)
        elif "%2f" in _raw_path(request).lower():
            # No name here holds a slash, and an empty segment fits no route.
            request.path_info = f"{path.rstrip('/')}//-"
        return self.get_response(request)


def _raw_path(request: HttpRequest) -> str:
    """The address as it was sent, without its query; "" where the server does not say."""
    return str(request.META.get("RAW_URI", "")).partition("?")[0]


def _keep_encoded_slashes(request: HttpRequest) -> None:
    """Look the route up with encoded slashes still apart from those that divide segments."""
    raw = _raw_path(request)
    if "%2f" not in raw.lower() or not raw.startswith("/"):
        return
    parts = raw.replace("%2f", "%2F").split("%2F")
    decoded = [unquote_to_bytes(part).decode("utf-8", "replace") for part in parts]
    path = ENCODED_SLASH.join(decoded)
    # Only where this is the very address that Django decoded: a server may have rewritten it.
    if path.replace(ENCODED_SLASH, "/") == request.path:
        request.path_info = path.rstrip("/")
