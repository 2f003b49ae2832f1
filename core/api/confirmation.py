"""Confirming sensitive operations (contract, section 3).

The request is refused once, with a token, and done when it comes again with that token. A token
fits one user, method, address, body and object, works once and lives two minutes. Scripts send
`confirm=true` (query or body) or `X-Confirm: <name>` instead. CONFIRMATION_LEVEL: `off` never asks,
`protected` (default) asks for what is protected, `all` for every delete and drain.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.core.cache import cache
from rest_framework.request import Request

from core.api.parsing import boolean, json_body, raw_body
from core.errors import ConfirmationRequired, DomainError
from core.one_time_tokens import OneTimeToken

# Seconds that a token lives.
EXPIRES_IN = 120
# More than anybody confirms in two minutes; the next one replaces the oldest.
TOKENS_PER_USER = 200
TOKEN_BYTES = 24
MAX_SLOT_DIGITS = 5
COUNTER_SECONDS = 86_400
# The parameters that carry a confirmation, in the query or in the body.
NAMES = ("confirm", "confirm_token")


@dataclass(frozen=True, slots=True)
class ConfirmationRequest:
    """What is about to be done, and to which object.

    `identity` is the object's uid. `protected` says why the object is protected ("" when it is
    not). `impact` is called only for a refusal, and says what the operation would take along.
    """

    action: str
    kind: str
    name: str
    namespace: str = ""
    identity: str = ""
    protected: str = ""
    require_name: bool = False
    impact: Callable[[], Mapping[str, Any]] = field(default=lambda: {})


def require_confirmation(request: Request, guarded: ConfirmationRequest) -> None:
    """Return when the request may go on.

    ConfirmationRequired, with a new token in its details, when it must come again.
    """
    level = settings.CONFIRMATION_LEVEL
    if level == "off" or (level == "protected" and not guarded.protected):
        return
    body = _readable_body(request)
    if _is_confirmed_directly(request, body, guarded):
        return
    token = _token_of(request, body)
    digest = fingerprint(request, body, guarded)
    if token and redeem_token(request.user.pk, token, digest):
        return
    reason = f"{guarded.action} needs to be confirmed"
    if token:
        reason = "the confirmation is not, or no longer, good for this request"
    raise ConfirmationRequired(
        f"{reason}: {guarded.kind} {guarded.name} {guarded.protected}".rstrip(),
        **_refusal_details(request, guarded, digest),
    )


def is_confirmed(request: Request, guarded: ConfirmationRequest) -> bool | None:
    """Whether an operation that always shows a preview first was confirmed.

    True when it was, False without a confirmation in the request, None when its token is not valid.
    """
    body = _readable_body(request)
    if _is_confirmed_directly(request, body, guarded):
        return True
    token = _token_of(request, body)
    if not token:
        return False
    return redeem_token(request.user.pk, token, fingerprint(request, body, guarded)) or None


def issue_confirmation(request: Request, guarded: ConfirmationRequest) -> dict[str, Any]:
    """{"confirm_token", "expires_in" (seconds)} for the same request, to be sent again."""
    digest = fingerprint(request, _readable_body(request), guarded)
    return {
        "confirm_token": issue_token(request.user.pk, digest),
        "expires_in": EXPIRES_IN,
    }


def _token_of(request: Request, body: Mapping[str, Any]) -> str:
    header = request.headers.get("X-Confirm-Token")
    parameter = request.query_params.get("confirm_token") or body.get("confirm_token")
    return header or str(parameter or "")


def _readable_body(request: Request) -> dict[str, Any]:
    """The members of the body; none when it is no JSON object, which the view itself reports."""
    try:
        return json_body(request)
    except DomainError:
        return {}


def _is_confirmed_directly(
    request: Request, body: Mapping[str, Any], guarded: ConfirmationRequest
) -> bool:
    """Whether the request says `confirm=true`, or the object's very name in X-Confirm."""
    confirmed = request.query_params.get("confirm", body.get("confirm", False))
    if boolean(confirmed, "confirm"):
        return True
    return bool(guarded.name) and request.headers.get("X-Confirm") == guarded.name


def fingerprint(request: Request, body: Mapping[str, Any], guarded: ConfirmationRequest) -> str:
    """The SHA-256 (hexadecimal) of who asks for what on which object.

    The confirmation itself is left out, so that the request and its repetition are equal.
    """
    query = sorted(
        (key, value)
        for key in request.query_params
        if key not in NAMES
        for value in request.query_params.getlist(key)
    )
    members = {key: value for key, value in body.items() if key not in NAMES}
    content = json.dumps(members, sort_keys=True)
    if not body:
        # A body that is no JSON object counts byte for byte.
        content = raw_body(request).decode("latin-1")
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


def _next_slot(user: object) -> int:
    """The user's slots are a ring: TOKENS_PER_USER tokens later a slot is used again."""
    counter = _slot_key(user, "count")
    cache.add(counter, 0, COUNTER_SECONDS)
    try:
        return cache.incr(counter) % TOKENS_PER_USER
    except ValueError:
        # The counter expired between the two calls.
        return 0


def issue_token(user: object, digest: str) -> str:
    """A new token, `slot.secret`, of a user's id for what has this fingerprint."""
    slot = str(_next_slot(user))
    token = OneTimeToken.generate(size=TOKEN_BYTES, prefix=f"{slot}.")
    cache.set(_slot_key(user, slot), (token.digest, digest), EXPIRES_IN)
    return token.secret


def _refusal_details(request: Request, guarded: ConfirmationRequest, digest: str) -> dict[str, Any]:
    """The members of a refusal: the token, the object and what the operation takes along."""
    impact = {
        "pods": None,
        "pvcs": None,
        "children": None,
        "warnings": [],
        **guarded.impact(),
    }
    return {
        "confirm_token": issue_token(request.user.pk, digest),
        "expires_in": EXPIRES_IN,
        "action": guarded.action,
        "resource": {
            "kind": guarded.kind,
            "namespace": guarded.namespace,
            "name": guarded.name,
        },
        "impact": impact,
        "require_name": guarded.require_name,
    }


def redeem_token(user: object, token: str, digest: str) -> bool:
    """Whether the user's token fits the fingerprint; a token that fits is spent."""
    slot = token.partition(".")[0]
    if not (slot.isascii() and slot.isdigit() and len(slot) <= MAX_SLOT_DIGITS):
        return False
    key = _slot_key(user, slot)
    if cache.get(key) != (OneTimeToken(token).digest, digest):
        return False
    # Of two requests with the same token only one deletes it, and only that one goes on.
    return bool(cache.delete(key))
