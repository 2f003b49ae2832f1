"""What a request to an API needs around its view.

It stands for Django's SecurityMiddleware, LocaleMiddleware, CommonMiddleware, CsrfViewMiddleware
and XFrameOptionsMiddleware, which look at each request in twenty steps for what an API cannot have.
The guards are theirs: the host, CSRF of views without exemption, and the same headers.
"""

from collections.abc import Callable
from io import BytesIO
from typing import Any

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.core.handlers.exception import response_for_exception
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.middleware.csrf import CsrfViewMiddleware
from django.middleware.security import SecurityMiddleware
from django.utils import translation
from django.utils.cache import patch_vary_headers

from core.api.headers import PRIVATE, PreparedHeaders

# Hosts that were found to be allowed; a wildcard allows endlessly many.
MOST_HOSTS = 1000


class ApiAnswers:
    """Middleware: host, language and headers of every answer of an API."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response
        self._language = translation.get_supported_language_variant(settings.LANGUAGE_CODE)
        self._hosts: set[tuple[str, ...]] = set()
        self._headers = PreparedHeaders(_standing_headers("http"))
        # With HSTS, where it is on.
        self._https_headers = PreparedHeaders(_standing_headers("https"))
        self._has_hsts = bool(settings.SECURE_HSTS_SECONDS)

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer, or refuse a host that is not ours."""
        language = self._choose_language(request)
        response: HttpResponseBase
        try:
            self._check_host(request)
        except DisallowedHost as error:
            response = response_for_exception(request, error)
        else:
            response = self.get_response(request)
        self._add_headers(request, response, language)
        return response

    def _choose_language(self, request: HttpRequest) -> str:
        meta = request.META
        language = self._language
        if "HTTP_ACCEPT_LANGUAGE" in meta or "HTTP_COOKIE" in meta:
            language = translation.get_language_from_request(request)
        translation.activate(language)
        request.LANGUAGE_CODE = language
        return language

    def _check_host(self, request: HttpRequest) -> None:
        """DisallowedHost for a host outside ALLOWED_HOSTS."""
        host = request.META.get("HTTP_HOST", "")
        # With the list, which a test changes.
        key = (host, *settings.ALLOWED_HOSTS)
        if key in self._hosts:
            return
        request.get_host()
        if host and not settings.USE_X_FORWARDED_HOST:
            if len(self._hosts) >= MOST_HOSTS:
                self._hosts.clear()
            self._hosts.add(key)

    def _add_headers(self, request: HttpRequest, response: HttpResponseBase, language: str) -> None:
        headers = response.headers
        if "Vary" in headers:
            patch_vary_headers(response, ["Accept-Language"])
        else:
            headers["Vary"] = "Accept-Language"
        headers.setdefault("Content-Language", language)
        if isinstance(response, HttpResponse) and "Content-Length" not in headers:
            headers["Content-Length"] = str(len(response.content))
        if self._has_hsts and request.is_secure():
            self._https_headers.add_to(response)
        self._headers.add_to(response)


class CsrfGuard:
    """Middleware: CSRF of the few views of an API that are not exempt, and of pages among them.

    Behind `BodyLimit`, as a token may stand in the body.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response
        self._csrf = CsrfViewMiddleware(get_response)

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Read the visitor's secret, and write a new one where a form of the answer needs it."""
        if "HTTP_COOKIE" in request.META:
            self._csrf.process_request(request)
        response = self.get_response(request)
        if request.META.get("CSRF_COOKIE_NEEDS_UPDATE"):
            self._csrf.process_response(request, response)
        return response

    def process_view(
        self, request: HttpRequest, view: Any, args: Any, kwargs: Any
    ) -> HttpResponseBase | None:
        """Check the token, unless the view takes no cookie for a caller (`csrf_exempt`)."""
        if getattr(view, "csrf_exempt", False):
            return None
        return self._csrf.process_view(request, view, args, kwargs)


def _standing_headers(scheme: str) -> dict[str, str]:
    """The headers that are the same on every answer over http or https."""
    environ = {"REQUEST_METHOD": "GET", "wsgi.url_scheme": scheme, "wsgi.input": BytesIO()}
    request = WSGIRequest(environ)
    response = HttpResponse()
    del response.headers["Content-Type"]
    response.headers["X-Frame-Options"] = settings.X_FRAME_OPTIONS.upper()
    response.headers["Cache-Control"] = PRIVATE
    if settings.SECURE_PROXY_SSL_HEADER:
        header, value = settings.SECURE_PROXY_SSL_HEADER
        request.META[header] = value if scheme == "https" else "http"
    SecurityMiddleware(lambda _: response).process_response(request, response)
    return dict(response.headers)
