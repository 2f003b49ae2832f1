"""Who is calling: a bearer token, either a JWT or an API token."""

from django.contrib.auth.models import AbstractBaseUser
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from kubegale.errors import Unauthenticated
from tenants import services, tokens
from tenants.models import ApiToken


class BearerAuthentication(BaseAuthentication):
    """`Authorization: Bearer <JWT or API token>`."""

    def authenticate(self, request: Request) -> tuple[AbstractBaseUser, ApiToken | str] | None:
        """(user, token row or raw JWT); None without the header; Unauthenticated or TokenExpired when it is no good."""
        header = request.headers.get("Authorization", "")
        if not header:
            return None
        scheme, _, raw = header.partition(" ")
        raw = raw.strip()
        if scheme.lower() != "bearer" or not raw or not raw.isascii():
            raise Unauthenticated("the Authorization header must be: Bearer <token>")
        if raw.startswith(tokens.PREFIX):
            row = tokens.api_token(raw)
            return row.user, row
        return services.user_of_jwt(raw), raw

    def authenticate_header(self, request: Request) -> str:
        """What a 401 asks for."""
        return "Bearer"
