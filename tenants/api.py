"""Sign-in over JSON (contract README, KubeGale sign-in)."""

from dataclasses import asdict
from typing import Any

from rest_framework.request import Request

from kubegale.api.dialect import DialectView
from kubegale.api.parsing import json_body
from kubegale.api.schema import INTEGER, OBJECT, TEXT, Described, array, record
from tenants import grants, services

PAIR = record(token=TEXT, refresh_token=TEXT, expires_in=INTEGER)


class Login(DialectView):
    """POST {"username","password"} -> {"token","refresh_token","expires_in"}."""

    public = True
    operations = {"post": Described("Sign in", PAIR, body=record(username=TEXT, password=TEXT))}
    authentication_classes = []

    def post(self, request: Request) -> Any:
        """Sign in."""
        body = json_body(request)
        address = str(request.META.get("REMOTE_ADDR", ""))
        return asdict(services.sign_in(body.get("username"), body.get("password"), address=address))


class Refresh(DialectView):
    """POST {"refresh_token"} -> a new pair; the old refresh token is spent."""

    public = True
    operations = {"post": Described("Trade a refresh token for a new pair", PAIR, body=record(refresh_token=TEXT))}
    authentication_classes = []

    def post(self, request: Request) -> Any:
        """Trade a refresh token for a new pair."""
        return asdict(services.refresh(json_body(request).get("refresh_token")))


class Logout(DialectView):
    """POST: ends the access token, and its refresh token."""

    operations = {"post": Described("Sign out", OBJECT, body=record(required=(), refresh_token=TEXT))}

    def post(self, request: Request) -> Any:
        """Sign out; API tokens are not ended here."""
        if isinstance(request.auth, str):
            services.sign_out(request.auth, json_body(request).get("refresh_token"))
        return {}


class Me(DialectView):
    """GET -> who the caller is."""

    operations = {"get": Described("Who the caller is", record(id=INTEGER, username=TEXT, email=TEXT, role=TEXT, grants=array(OBJECT)))}

    def get(self, request: Request) -> Any:
        """{"id","username","email","role","grants"}."""
        user, rows = request.user, list(grants.of_user(request.user).select_related("user", "group", "cluster"))
        shown = [grants.represent(row) for row in rows]
        role = grants.highest(user, rows)
        return {"id": user.pk, "username": user.get_username(), "email": getattr(user, "email", ""), "role": role, "grants": shown}
