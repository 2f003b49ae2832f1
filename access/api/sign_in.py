"""Sign-in over JSON (contract README, KubeGale sign-in)."""

from dataclasses import asdict
from typing import Any

from rest_framework.request import Request

from access import grants, sign_in
from access.models import ApiToken
from core.api.audit import annotate
from core.api.audit import record as record_act
from core.api.auth import AccessAttributes
from core.api.client_ip import client_address
from core.api.dialect import DialectView
from core.api.parsing import json_body
from core.api.schema import INTEGER, OBJECT, TEXT, OperationSchema, array, record
from core.errors import Forbidden

PAIR = record(token=TEXT, refresh_token=TEXT, expires_in=INTEGER)


class Login(DialectView):
    """POST {"username","password"} -> {"token","refresh_token","expires_in"}."""

    public = True
    operations = {
        "post": OperationSchema("Sign in", PAIR, body=record(username=TEXT, password=TEXT))
    }
    authentication_classes = []

    def post(self, request: Request) -> Any:
        """Sign in."""
        record_act(request, AccessAttributes("login", "sessions"))
        body = json_body(request)
        # Recorded before the password is checked, so that failures have their name too.
        name = sign_in.existing_username(body.get("username"))
        annotate(request, username=name, name=name)
        return asdict(
            sign_in.sign_in(
                body.get("username"), body.get("password"), address=client_address(request)
            )
        )


class Refresh(DialectView):
    """POST {"refresh_token"} -> a new pair; the old refresh token is used up."""

    public = True
    operations = {
        "post": OperationSchema(
            "Trade a refresh token for a new pair", PAIR, body=record(refresh_token=TEXT)
        )
    }
    authentication_classes = []

    def post(self, request: Request) -> Any:
        """Trade a refresh token for a new pair."""
        return asdict(sign_in.refresh(json_body(request).get("refresh_token")))


class Logout(DialectView):
    """POST: ends the access token, and its refresh token."""

    operations = {
        # Callers hand back what signing in gave them; the refresh token is what is read.
        "post": OperationSchema(
            "Sign out",
            OBJECT,
            body=record(required=(), refresh_token=TEXT, token=TEXT, expires_in=INTEGER),
        )
    }

    def post(self, request: Request) -> Any:
        """Sign out; API tokens are not ended here."""
        record_act(
            request, AccessAttributes("logout", "sessions", name=request.user.get_username())
        )
        self.check_input(request)
        if isinstance(request.auth, str):
            sign_in.sign_out(request.auth, json_body(request).get("refresh_token"))
        return {}


class Password(DialectView):
    """POST {"password","new_password"}: a new password; earlier JWTs and console sessions end."""

    operations = {
        "post": OperationSchema(
            "Change your password", PAIR, body=record(password=TEXT, new_password=TEXT)
        )
    }

    def post(self, request: Request) -> Any:
        """A new pair, since the earlier ones are revoked."""
        record_act(
            request, AccessAttributes("update", "passwords", name=request.user.get_username())
        )
        if isinstance(request.auth, ApiToken):
            raise Forbidden("an API token cannot change a password: sign in with it")
        self.check_input(request)
        body = json_body(request)
        return asdict(
            sign_in.change_password(
                request.user,
                body.get("password"),
                body.get("new_password"),
                address=client_address(request),
            )
        )


class Me(DialectView):
    """GET -> who the caller is."""

    operations = {
        "get": OperationSchema(
            "Who the caller is",
            record(
                id=INTEGER,
                username=TEXT,
                email=TEXT,
                role=TEXT,
                platform_role=TEXT,
                grants=array(OBJECT),
            ),
        )
    }

    def get(self, request: Request) -> Any:
        """{"id","username","email","role","platform_role","grants"}.

        `role` is the highest role held anywhere, `platform_role` the one held on everything.
        """
        user = request.user
        own = grants.grants_of_user(user).select_related("user", "group", "cluster")
        rows = list(own)
        return {
            "id": user.pk,
            "username": user.get_username(),
            "email": getattr(user, "email", ""),
            "role": grants.highest_role(user, rows),
            "platform_role": grants.platform_role(user, rows),
            "grants": [grants.represent(row) for row in rows],
        }
