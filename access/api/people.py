"""Users over JSON: for admins of everything."""

from collections.abc import Iterable
from typing import Any

from django.contrib.auth.models import User
from rest_framework.request import Request

from access import authorization, grants, users
from access.models import ApiToken
from core.api.audit import annotate
from core.api.auth import AccessAttributes, authorise
from core.api.dialect import DialectView, Page
from core.api.pagination import page_request
from core.api.parsing import boolean, json_body
from core.api.schema import (
    BOOLEAN,
    INTEGER,
    OBJECT,
    PAGING,
    TEXT,
    OperationSchema,
    array,
    nullable,
    record,
)
from core.errors import Forbidden, Invalid

PERSON = record(
    id=INTEGER,
    username=TEXT,
    email=TEXT,
    is_active=BOOLEAN,
    role=TEXT,
    groups=array(TEXT),
    grants=array(OBJECT),
    last_login=nullable(TEXT),
    date_joined=TEXT,
)
NEW_PERSON = record(
    required=("username", "password", "role"),
    username=TEXT,
    password=TEXT,
    role=TEXT,
    cluster=TEXT,
    namespace=TEXT,
    email=TEXT,
)
PERSON_CHANGE = record(
    required=(),
    email=TEXT,
    is_active=BOOLEAN,
    password=TEXT,
    groups=array(TEXT),
)


def represent(user: User) -> dict[str, Any]:
    """A user as JSON data in the shape of PERSON, without anything of the password."""
    rows = list(grants.grants_of_user(user).select_related("user", "group", "cluster"))
    return {
        "id": user.pk,
        "username": user.get_username(),
        "email": user.email,
        "is_active": user.is_active,
        "role": grants.highest_role(user, rows),
        "groups": [group.name for group in user.groups.all()],
        "grants": [grants.represent(row) for row in rows],
        "last_login": None if user.last_login is None else f"{user.last_login:%Y-%m-%dT%H:%M:%SZ}",
        "date_joined": f"{user.date_joined:%Y-%m-%dT%H:%M:%SZ}",
    }


def require_password_session(request: Request) -> None:
    """Forbidden for API tokens: with a user's or group's rights they could exceed their scopes."""
    if isinstance(request.auth, ApiToken):
        raise Forbidden("an API token cannot change people: sign in with your password")


def _text(body: dict[str, Any], name: str, default: str | None = None) -> str:
    value = body.get(name, default)
    if not isinstance(value, str) or "\x00" in value:
        raise Invalid(f"{name} must be text", field=name)
    return value


class People(DialectView):
    """GET and POST /users."""

    operations = {
        "get": OperationSchema(
            "People, by name",
            PERSON,
            query=PAGING,
            paged=True,
        ),
        "post": OperationSchema(
            "Make a user with a role on everything, a cluster or a namespace",
            PERSON,
            body=NEW_PERSON,
        ),
    }

    def get(self, request: Request) -> Any:
        """One page."""
        authorise(self, request, AccessAttributes("list", "users"))
        page = page_request(request.query_params)
        keyword = request.query_params.get("keyword", "").replace("\x00", "")
        users_by_name = User.objects.filter(username__icontains=keyword).order_by("username")
        rows = users_by_name.prefetch_related("groups")[page.offset : page.offset + page.size]
        items = [represent(user) for user in rows]
        return Page(items, users_by_name.count(), page.page, page.size)

    def post(self, request: Request) -> Any:
        """The new user.

        Conflict for a name that exists, Invalid for a weak password, Forbidden for a role that the
        caller may not grant.
        """
        body = json_body(request)
        authorise(self, request, AccessAttributes("create", "users"))
        name = _text(body, "username")
        role = grants.role_of(body.get("role"))
        where = {field: _text(body, field, "") for field in ("cluster", "namespace")}
        token = request.auth if isinstance(request.auth, ApiToken) else None
        # Otherwise an admin of a namespace could make an admin of everything.
        authorization.require_may_grant(request.user, token, role, **where)
        email = _text(body, "email", "")
        user = users.create(
            name,
            _text(body, "password"),
            role=role,
            email=email,
            by=request.user.get_username(),
            **where,
        )
        annotate(request, name=name, details={"role": role, **where})
        return represent(user)


class PersonDetail(DialectView):
    """GET and PUT /users/{name}."""

    refused_as = "PUT"
    operations = {
        "get": OperationSchema("One person", PERSON),
        "put": OperationSchema(
            "Change address, groups or password of somebody, or switch them off",
            PERSON,
            body=PERSON_CHANGE,
        ),
    }

    def get(self, request: Request, name: str) -> Any:
        """The person."""
        authorise(self, request, AccessAttributes("get", "users", name=name))
        return represent(users.find(name))

    def put(self, request: Request, name: str) -> Any:
        """The changed user.

        Forbidden for API tokens: with another user's group or password they could do more than
        their scopes allow. Invalid when callers deactivate themselves.
        """
        body = json_body(request)
        authorise(self, request, AccessAttributes("update", "users", name=name))
        require_password_session(request)
        user = users.find(name)
        is_self = user.pk == request.user.pk
        if is_self and "is_active" in body and not boolean(body["is_active"], "is_active"):
            raise Invalid("you cannot deactivate yourself", field="is_active")
        users.change(user, **_parse_changes(body))
        # The names of the members only: a password is among the values.
        annotate(request, details={"changed": sorted(set(body) & set(PERSON_CHANGE["properties"]))})
        return represent(users.find(name))


def _parse_changes(body: dict[str, Any]) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for field in ("email", "password"):
        if field in body:
            changes[field] = _text(body, field)
    if "is_active" in body:
        changes["is_active"] = boolean(body["is_active"], "is_active")
    if "groups" in body:
        changes["groups"] = _parse_group_names(body["groups"])
    return changes


def _parse_group_names(value: object) -> Iterable[str]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise Invalid("groups must be a list of names", field="groups")
    # A name that is repeated means one membership.
    return list(dict.fromkeys(value))
