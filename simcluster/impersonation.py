"""Impersonation: requests that are decided as another user's, for callers who may."""

import dataclasses
from collections.abc import Iterable, Mapping
from urllib.parse import unquote

from simcluster import authentication
from simcluster.authentication import ANONYMOUS, Attributes, User
from simcluster.store import Store

_EXTRA = "impersonate-extra-"
_ACCOUNT = "system:serviceaccount:"
_AUTHENTICATED = "system:authenticated"
_UNAUTHENTICATED = "system:unauthenticated"
_CORE = ""
_AUTHENTICATION = "authentication.k8s.io"


class UserMissingError(ValueError):
    """A request impersonates groups, a uid or extra values without a user."""


def user_of(caller: User, headers: Iterable[tuple[str, str]], store: Store) -> User:
    """The user whose rights decide a request: the caller, or the one that its headers name.

    ApiError 403 when the caller may not impersonate one of the parts; UserMissingError for parts
    without a user.
    """
    requested: dict[str, list[str]] = {}
    for name, value in headers:
        if name.lower().startswith("impersonate-"):
            requested.setdefault(name.lower(), []).append(value)
    name = requested.get("impersonate-user", [""])[0]
    groups = requested.get("impersonate-group", [])
    uid = requested.get("impersonate-uid", [""])[0]
    extra = {
        unquote(header.removeprefix(_EXTRA)).lower(): tuple(values)
        for header, values in requested.items()
        if header.startswith(_EXTRA)
    }
    if not name:
        if groups or uid or extra:
            raise UserMissingError(_without_user(groups, uid, extra))
        return caller
    # Each part needs its own right; one refusal refuses the request.
    for what in _parts(name, groups, uid, extra):
        if not authentication.allowed(caller, what, store):
            raise authentication.refusal(caller, what)
    return User(name, _groups_of(name, groups), uid, tuple(extra.items()))


def _parts(
    name: str, groups: list[str], uid: str, extra: Mapping[str, tuple[str, ...]]
) -> list[Attributes]:
    """What the caller needs the verb `impersonate` for."""
    user = Attributes("impersonate", _CORE, "users", name=name)
    if account := _account_of(name):
        user = dataclasses.replace(
            user,
            resource="serviceaccounts",
            namespace=account[0],
            name=account[1],
        )
    parts = [
        user,
        *(Attributes("impersonate", _CORE, "groups", name=group) for group in groups),
    ]
    parts += [
        Attributes("impersonate", _AUTHENTICATION, "userextras", key, name=value)
        for key, values in extra.items()
        for value in values
    ]
    return [*parts, Attributes("impersonate", _AUTHENTICATION, "uids", name=uid)] if uid else parts


def _account_of(name: str) -> tuple[str, str] | None:
    """Namespace and name of a service account; None for another user."""
    namespace, _, account = name.removeprefix(_ACCOUNT).partition(":")
    if not name.startswith(_ACCOUNT) or not namespace or not account or ":" in account:
        return None
    return namespace, account


def _groups_of(name: str, groups: list[str]) -> tuple[str, ...]:
    """The groups of the headers, or those of a service account, and system:authenticated."""
    account = _account_of(name)
    if account and not groups:
        groups = [
            "system:serviceaccounts",
            f"system:serviceaccounts:{account[0]}",
        ]
    if _AUTHENTICATED in groups or _UNAUTHENTICATED in groups:
        return tuple(groups)
    return (
        *groups,
        _UNAUTHENTICATED if name == ANONYMOUS.name else _AUTHENTICATED,
    )


def _without_user(groups: list[str], uid: str, extra: Mapping[str, tuple[str, ...]]) -> str:
    # Go prints an ObjectReference: kind, namespace, name, uid, two versions, field path.
    parts = [f"{{Group  {group}    }}" for group in groups]
    parts += [
        f"{{UserExtra  {value}    {key}}}" for key, values in extra.items() for value in values
    ]
    parts += [f"{{UID  {uid}    }}"] if uid else []
    return f"requested [{' '.join(parts)}] without impersonating a user"
