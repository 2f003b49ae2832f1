"""API tokens over JSON: users create, list and revoke their own."""

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from rest_framework.request import Request

from access import tokens
from access.models import ApiToken
from core.api.audit import annotate
from core.api.audit import record as record_act
from core.api.auth import AccessAttributes
from core.api.dialect import DialectView, Page
from core.api.parsing import integer, json_body
from core.api.schema import INTEGER, OBJECT, TEXT, OperationSchema, array, nullable, record
from core.errors import Forbidden

# In days.
LONGEST_LIFE = 36500
TOKEN = record(
    id=INTEGER,
    name=TEXT,
    hint=TEXT,
    scopes=array(TEXT),
    clusters=array(TEXT),
    wire=TEXT,
    created_at=TEXT,
    expires_at=nullable(TEXT),
    last_used_at=nullable(TEXT),
    revoked_at=nullable(TEXT),
)
NEW_TOKEN = {
    **TOKEN,
    "properties": {
        **TOKEN["properties"],
        "token": {"type": "string", "description": "Shown this once."},
    },
}
BODY = record(
    required=("name",),
    name=TEXT,
    scopes=array(TEXT),
    clusters=array(TEXT),
    expires_in_days=nullable(INTEGER),
    wire={"type": "string", "enum": ["", "doc", "go"]},
)


def _require_owner(view: DialectView, request: Request, verb: str) -> Any:
    """The user, for a caller who signed in; Forbidden for one with an API token.

    A token must not create tokens: a narrow one could create a wide one.
    """
    event = record_act(request, AccessAttributes(verb, "tokens"))
    if isinstance(request.auth, ApiToken):
        event.allowed = False
        raise Forbidden("an API token cannot manage API tokens: sign in with your password")
    view.check_input(request)
    return request.user


def _parse_days(body: Mapping[str, Any]) -> int | None:
    """The lifetime in days: the body's, else the settings'; None does not expire."""
    days = body.get("expires_in_days", settings.API_TOKEN_DAYS or None)
    if days is None:
        return None
    return integer(
        days,
        "expires_in_days",
        minimum=1,
        maximum=LONGEST_LIFE,
    )


class Tokens(DialectView):
    """GET and POST /auth/tokens."""

    operations = {
        "get": OperationSchema("Your API tokens", TOKEN, paged=True),
        "post": OperationSchema(
            "Make an API token; it is shown once",
            NEW_TOKEN,
            body=BODY,
            answer_name="NewApiToken",
        ),
    }

    def get(self, request: Request) -> Any:
        """All of the caller's tokens, newest first; never the tokens themselves."""
        owner = _require_owner(self, request, "list")
        items = [tokens.represent(row) for row in ApiToken.objects.filter(user=owner)]
        return Page(items, len(items), 1, max(len(items), 1))

    def post(self, request: Request) -> Any:
        """The new token with `token`, this once."""
        user = _require_owner(self, request, "create")
        body = json_body(request)
        row, raw = tokens.create_api_token(
            user,
            tokens.check_name(body.get("name")),
            scopes=tokens.check_scopes(body.get("scopes")),
            clusters=tokens.check_clusters(body.get("clusters")),
            wire=tokens.check_wire(body.get("wire")),
            days=_parse_days(body),
        )
        annotate(
            request,
            name=row.name,
            details={"hint": row.hint, "scopes": row.scopes, "clusters": row.clusters},
        )
        return {**tokens.represent(row), "token": raw}


class TokenDetail(DialectView):
    """DELETE /auth/tokens/{id}."""

    operations = {"delete": OperationSchema("Revoke an API token", OBJECT)}

    def delete(self, request: Request, pk: str) -> Any:
        """{}: the token is revoked.

        Another user's token answers as one that does not exist.
        """
        user = _require_owner(self, request, "delete")
        token = tokens.revoke(user, integer(pk, "id", minimum=0, maximum=2**63 - 1))
        annotate(request, name=token.name)
        return {}
