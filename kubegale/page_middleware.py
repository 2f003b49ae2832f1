"""Middleware of pages that APIs do without, or in short: they know neither sessions nor messages.

Besides its time, each of them ties the request to itself, so that it would live, with its body,
until the garbage collector runs.
"""

from typing import cast

from django.conf import settings
from django.contrib.auth import middleware as auth
from django.contrib.messages import middleware as messages
from django.contrib.sessions import middleware as sessions
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import translation
from django.utils.cache import patch_vary_headers
from django.utils.deprecation import MiddlewareMixin


class OnlyPages(MiddlewareMixin):
    """Mix-in: requests to an API pass by."""

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Run the middleware for pages alone."""
        is_api = request.path_info.startswith(settings.API_PREFIXES)
        answer = self.get_response(request) if is_api else super().__call__(request)
        return cast(HttpResponseBase, answer)


class SessionMiddleware(OnlyPages, sessions.SessionMiddleware):
    """Sessions of pages."""


class AuthenticationMiddleware(OnlyPages, auth.AuthenticationMiddleware):
    """`request.user` of pages; APIs authenticate by themselves."""


class MessageMiddleware(OnlyPages, messages.MessageMiddleware):
    """What the next page says once."""


class LocaleMiddleware(MiddlewareMixin):
    """The language of an answer, by cookie and header: no address of ours names one.

    Django's own looks for one in the address, twice in each request.
    """

    def process_request(self, request: HttpRequest) -> None:
        """Choose the language."""
        translation.activate(translation.get_language_from_request(request))
        request.LANGUAGE_CODE = translation.get_language()

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        """Say which it is, and what it depends on."""
        patch_vary_headers(response, ["Accept-Language"])
        response.headers.setdefault("Content-Language", translation.get_language())
        return response
