"""Who is calling: a bearer token (a JWT or an API token), or a user of the console."""

from dataclasses import dataclass

from django.contrib.auth.models import AbstractBaseUser
from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from access import sign_in, tokens
from access.models import ApiToken
from core.errors import Unauthenticated

BCS_ROOTS = ("/bcsapi/", "/bcsstorage/")


class BearerAuthentication(BaseAuthentication):
    """`Authorization: Bearer <JWT or API token>`.

    In bcs-storage also `X-Bcs-User-Token: <token>`, which its clients send.
    """

    def authenticate(self, request: Request) -> tuple[AbstractBaseUser, ApiToken | str] | None:
        """(user, token row or raw JWT); None without the header.

        Unauthenticated or TokenExpired for an invalid token.
        """
        # `request.headers` would spell every header of the request anew.
        header = request.META.get("HTTP_AUTHORIZATION", "")
        if not header and request.path.startswith(BCS_ROOTS):
            alias = request.META.get("HTTP_X_BCS_USER_TOKEN", "")
            header = f"Bearer {alias}" if alias else ""
        if not header:
            return None
        scheme, _, raw = header.partition(" ")
        raw = raw.strip()
        if scheme.lower() != "bearer" or not raw or not raw.isascii():
            raise Unauthenticated("the Authorization header must be: Bearer <token>")
        if raw.startswith(tokens.PREFIX):
            row = tokens.find_by_token(raw)
            return row.user, row
        return sign_in.user_from_jwt(raw), raw

    def authenticate_header(self, request: Request) -> str:
        """What a 401 asks for."""
        return "Bearer"


@dataclass(frozen=True, slots=True)
class ConsoleSession:
    """What `request.auth` is for a person of the console: the key of their session."""

    key: str
    user: AbstractBaseUser

    @classmethod
    def for_request(cls, request: HttpRequest) -> "ConsoleSession | None":
        """The session of a page's request; None when no user is signed in."""
        user = request.user
        if not isinstance(user, AbstractBaseUser) or not user.is_authenticated:
            return None
        return cls(request.session.session_key or "", user)


class SessionAuthentication(BaseAuthentication):
    """A person of the console, whose pages call the API in process.

    `console_session` is an attribute of the request object: no header or cookie can set it.
    """

    def authenticate(self, request: Request) -> tuple[AbstractBaseUser, ConsoleSession] | None:
        """(user, session), or None for every request from outside."""
        session: ConsoleSession | None = getattr(request._request, "console_session", None)
        return (session.user, session) if session else None
