"""Who is calling: a bearer token (a JWT or an API token), or a person of the console."""

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
    """`Authorization: Bearer <JWT or API token>`; in bcs-storage also `X-Bcs-User-Token: <token>`, which its clients send."""

    def authenticate(self, request: Request) -> tuple[AbstractBaseUser, ApiToken | str] | None:
        """(user, token row or raw JWT); None without the header; Unauthenticated or TokenExpired when it is no good."""
        header = request.headers.get("Authorization", "")
        if not header and request.path.startswith(BCS_ROOTS):
            alias = request.headers.get("X-Bcs-User-Token", "")
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
    def of(cls, request: HttpRequest) -> "ConsoleSession | None":
        """The session behind a page's request; None when nobody is signed in."""
        user = request.user
        return (
            cls(request.session.session_key or "", user)
            if isinstance(user, AbstractBaseUser) and user.is_authenticated
            else None
        )


class SessionAuthentication(BaseAuthentication):
    """A person of the console, calling in process; nothing that comes over the wire can set what is looked at here."""

    def authenticate(self, request: Request) -> tuple[AbstractBaseUser, ConsoleSession] | None:
        """(user, session), or None for every request from outside."""
        session: ConsoleSession | None = getattr(request._request, "console_session", None)
        return (session.user, session) if session else None
