"""The access policy behind every route (settings: ACCESS_POLICY)."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from rest_framework.request import Request

from access import authorization, grants, policy
from access import impersonation as identities
from access.models import ApiToken
from access.policy import EffectiveGrant
from clusters import authority, impersonation
from core.api.auth import AccessAttributes, Scope
from core.api.inner_calls import AGENTS, via_of
from core.errors import Forbidden


def authorise(request: Request, act: AccessAttributes) -> Scope:
    """The caller's scope for the act (settings: ACCESS_POLICY).

    Forbidden otherwise, in the same words whether the object exists or not.
    """
    impersonation.set_current(lambda: identities.identity_of(request.user))
    scope = authorization.decide(_grants_of(request), _token_of(request), act)
    _record_allowed(request, act)
    return scope


def authorise_each(request: Request, acts: Sequence[AccessAttributes]) -> list[Scope | None]:
    """What `authorise` gives for each of many acts (settings: ACCESS_POLICY_OF_MANY).

    None for a refused one.
    """
    impersonation.set_current(lambda: identities.identity_of(request.user))
    scopes = authorization.decide_each(_grants_of(request), _token_of(request), acts)
    for act, scope in zip(acts, scopes, strict=True):
        if scope is not None:
            _record_allowed(request, act)
    return scopes


def _token_of(request: Request) -> ApiToken | None:
    return request.auth if isinstance(request.auth, ApiToken) else None


def _record_allowed(request: Request, act: AccessAttributes) -> None:
    """Note the act for work that goes on after the request, whose worker asks for it again."""
    authority.record_allowed_act(
        request._request, lambda: lasting_credential(request), act.without_name()
    )


def _grants_of(request: Request) -> list[EffectiveGrant]:
    """What the caller may do and where; by the way of agents never more than agents may."""
    effective = grants.effective_grants(request.user)
    if via_of(request._request) != AGENTS:
        return effective
    return policy.narrow(effective, rights=policy.AGENT_RIGHTS, clusters=None)


def authorise_open(request: Request, act: AccessAttributes) -> Scope:
    """The scope for an act in an open dialect (settings: OPEN_ACCESS_POLICY).

    Anonymous callers may do everything that the dialect documents. Forbidden for registered
    clusters outside OPEN_DIALECTS_CLUSTERS, when that is set. A caller who signs in anyway sees
    only those values of Secrets, and those rows of the store that give rights, that their own
    grants allow.
    """
    if settings.OPEN_DIALECTS_CLUSTERS:
        authorization.require_opened(act)
    reveals = _reveals_secrets(request, act) if request.user.pk else True
    impersonation.set_current(lambda: identities.identity_of(request.user))
    _record_allowed(request, act)
    return Scope(reveals=reveals)


def _reveals_secrets(request: Request, act: AccessAttributes) -> bool:
    """Whether the caller's own rights show the values of Secrets there.

    Forbidden for rows of the store that give rights and that the caller may not see.
    """
    effective = grants.effective_grants(request.user)
    try:
        return authorization.decide(effective, _token_of(request), act).reveals
    except Forbidden:
        if policy.is_access_row(act.stored_type):
            raise
        return False


def lasting_credential(request: Request) -> dict[str, Any]:
    """The part of a credential that an operation keeps: {"user","username","api_token"}.

    Signing out does not end an operation, revoking its API token does. The anonymous caller of an
    open dialect is user 0.
    """
    if not request.user.pk:
        return {"user": 0}
    token = {"api_token": request.auth.pk} if isinstance(request.auth, ApiToken) else {}
    return {"user": request.user.pk, "username": request.user.get_username(), **token}
