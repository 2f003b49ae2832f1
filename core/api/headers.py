"""Security headers of every answer: no copy in any cache, no inline script in the admin site."""

from collections.abc import Callable, Mapping

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

# Answers carry tokens, secrets and what only their caller may see.
PRIVATE = "no-store"
ADMIN = "/admin/"
# Its pickers for dates and choices style elements one by one; no script stands in a page's text.
ADMIN_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'self'; "
    "frame-src 'self'; frame-ancestors 'none'; base-uri 'none'; object-src 'none'"
)


class PrivateAnswers:
    """Middleware behind the static files: forbids caches, and limits scripts in the admin site.

    A view that sets Cache-Control itself is left alone.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """The answer with Cache-Control, and Content-Security-Policy in the admin site."""
        response = self.get_response(request)
        if not response.has_header("Cache-Control"):
            response["Cache-Control"] = PRIVATE
        if request.path.startswith(ADMIN) and not response.has_header("Content-Security-Policy"):
            response["Content-Security-Policy"] = ADMIN_POLICY
        return response


class PreparedHeaders:
    """Headers that every answer gets, unless its view has set them; checked once, when made."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        # Django looks twice at each character of a header that is set, to refuse line breaks.
        checked = HttpResponse(headers=headers).headers
        self._pairs = [(name.lower(), (name, checked[name])) for name in headers]

    def add_to(self, response: HttpResponseBase) -> None:
        """Set those that the answer does not have."""
        store = response.headers._store
        for key, pair in self._pairs:
            store.setdefault(key, pair)
