"""Sign-in over JSON (contract README, KubeGale sign-in)."""

from dataclasses import asdict
from typing import Any

from rest_framework.request import Request

from kubegale.api.dialect import DialectView
from kubegale.api.parsing import json_body
from tenants import services


class Login(DialectView):
    """POST {"username","password"} -> {"token","refresh_token","expires_in"}."""

    public = True
    authentication_classes = []

    def post(self, request: Request) -> Any:
        """Sign in."""
        body = json_body(request)
        address = str(request.META.get("REMOTE_ADDR", ""))
        return asdict(services.sign_in(body.get("username"), body.get("password"), address=address))


class Refresh(DialectView):
    """POST {"refresh_token"} -> a new pair; the old refresh token is spent."""

    public = True
    authentication_classes = []

    def post(self, request: Request) -> Any:
        """Trade a refresh token for a new pair."""
        return asdict(services.refresh(json_body(request).get("refresh_token")))


class Logout(DialectView):
    """POST: ends the access token, and its refresh token."""

    def post(self, request: Request) -> Any:
        """Sign out; API tokens are not ended here."""
        if isinstance(request.auth, str):
            services.sign_out(request.auth, json_body(request).get("refresh_token"))
        return {}


class Me(DialectView):
    """GET -> who the caller is."""

    def get(self, request: Request) -> Any:
        """{"id","username","email","role","grants"}."""
        user = request.user
        role = "admin" if user.is_superuser else ""
        return {"id": user.pk, "username": user.get_username(), "email": getattr(user, "email", ""), "role": role, "grants": []}
