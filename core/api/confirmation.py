"""Confirming sensitive operations: refuse once with a token, do it when the same request comes again with it (contract, section 3).

A token fits one user, method, address, body and object, works once and lives two minutes. Scripts say `confirm=true` (query or body)
or send `X-Confirm: <name>` instead. CONFIRMATION_LEVEL: `off` asks never, `protected` (default) for what is protected, `all` for
every delete and drain.
"""

import hashlib
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.core.cache import cache
from rest_framework.request import Request

from core.api.parsing import boolean, json_body, raw_body
from core.errors import ConfirmationRequired, DomainError

EXPIRES_IN = 120
# More than anybody confirms in two minutes; the oldest is forgotten for the one after.
TOKENS_PER_USER = 200
COUNTER_SECONDS = 86_400
NAMES = ("confirm", "confirm_token")


@dataclass(frozen=True, slots=True)
class Guarded:
    """What is about to be done, and to what: `identity` is the object's uid, `protected` says why it is protected ("" when it is not)."""

    action: str
    kind: str
    name: str
    namespace: str = ""
    identity: str = ""
    protected: str = ""
    require_name: bool = False
    impact: Callable[[], Mapping[str, Any]] = field(default=lambda: {})


def confirm(request: Request, guarded: Guarded) -> None:
    """Return when the request may go on; ConfirmationRequired, with a fresh token in its details, when it must come again."""
    if settings.CONFIRMATION_LEVEL == "off" or (
        settings.CONFIRMATION_LEVEL == "protected" and not guarded.protected
    ):
        return
    body = _body(request)
    if _short_form(request, body, guarded):
        return
    token = _token(request, body)
    wanted = fingerprint(request, body, guarded)
    if token and _redeem(request, token, wanted):
        return
    said = (
        "the confirmation is not, or no longer, good for this request"
        if token
        else f"{guarded.action} needs to be confirmed"
    )
    raise ConfirmationRequired(
        f"{said}: {guarded.kind} {guarded.name} {guarded.protected}".rstrip(),
        **_invitation(request, guarded, wanted),
    )


def answer(request: Request, guarded: Guarded) -> bool | None:
    """Whether an operation that is always shown first was confirmed: False when nobody tried to, None when the token is not good."""
    body = _body(request)
    if _short_form(request, body, guarded):
        return True
    token = _token(request, body)
    return (
        (_redeem(request, token, fingerprint(request, body, guarded)) or None) if token else False
    )


def invite(request: Request, guarded: Guarded) -> dict[str, Any]:
    """{"confirm_token","expires_in"} for the same request, to be sent again."""
    return {
        "confirm_token": _new_token(request, fingerprint(request, _body(request), guarded)),
        "expires_in": EXPIRES_IN,
    }


def _token(request: Request, body: Mapping[str, Any]) -> str:
    return request.headers.get("X-Confirm-Token") or str(
        request.query_params.get("confirm_token") or body.get("confirm_token") or ""
    )


def _body(request: Request) -> dict[str, Any]:
    try:
        return json_body(request)
    except DomainError:
        return {}


def _short_form(request: Request, body: Mapping[str, Any], guarded: Guarded) -> bool:
    """`confirm=true`, or the very name in X-Confirm."""
    return boolean(request.query_params.get("confirm", body.get("confirm", False)), "confirm") or (
        bool(guarded.name) and request.headers.get("X-Confirm") == guarded.name
    )


def fingerprint(request: Request, body: Mapping[str, Any], guarded: Guarded) -> str:
    """A digest of who asks for what on which object; the confirmation itself is left out."""
    query = sorted(
        (key, value)
        for key in request.query_params
        if key not in NAMES
        for value in request.query_params.getlist(key)
    )
    plain = {key: value for key, value in body.items() if key not in NAMES}
    content = json.dumps(plain, sort_keys=True) if body else raw_body(request).decode("latin-1")
    parts = [
        str(request.user.pk),
        request.method or "",
        request.path,
        json.dumps(query),
        content,
        guarded.action,
        guarded.identity,
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _slot_key(user: object, slot: str) -> str:
    return f"confirmation:{user}:{slot}"


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _new_token(request: Request, wanted: str) -> str:
    """A token in the user's next slot; TOKENS_PER_USER requests later its slot is taken by another."""
    user = request.user.pk
    counter = _slot_key(user, "count")
    cache.add(counter, 0, COUNTER_SECONDS)
    try:
        slot = cache.incr(counter) % TOKENS_PER_USER
    except ValueError:
        # The counter expired between the two calls.
        slot = 0
    token = f"{slot}.{secrets.token_urlsafe(24)}"
    cache.set(_slot_key(user, str(slot)), (_digest(token), wanted), EXPIRES_IN)
    return token


def _invitation(request: Request, guarded: Guarded, wanted: str) -> dict[str, Any]:
    resource = {"kind": guarded.kind, "namespace": guarded.namespace, "name": guarded.name}
    return {
        "confirm_token": _new_token(request, wanted),
        "expires_in": EXPIRES_IN,
        "action": guarded.action,
        "resource": resource,
        "impact": {
            "pods": None,
            "pvcs": None,
            "children": None,
            "warnings": [],
            **guarded.impact(),
        },
        "require_name": guarded.require_name,
    }


def _redeem(request: Request, token: str, wanted: str) -> bool:
    """Whether the token fits; a fitting one is spent, and of two at once only one wins."""
    slot = token.partition(".")[0]
    if not (slot.isascii() and slot.isdigit() and len(slot) < 6):
        return False
    key = _slot_key(request.user.pk, slot)
    return cache.get(key) == (_digest(token), wanted) and bool(cache.delete(key))
