"""The access policy behind every route (settings: ACCESS_POLICY)."""

from dataclasses import asdict
from typing import Any

from django.conf import settings
from rest_framework.request import Request

from access import authorization, grants, policy
from access import impersonation as identities
from access.models import ApiToken
from clusters import authority, impersonation
from core.api.auth import Act, Scope
from core.errors import Forbidden


def authorise(request: Request, act: Act) -> Scope:
    """The caller's scope for the act; raises Forbidden, in the same words for what exists and what does not."""
    impersonation.become(lambda: identities.identity_of(request.user))
    token = request.auth if isinstance(request.auth, ApiToken) else None
    scope = authorization.decide(grants.effective_grants(request.user), token, act)
    authority.allow(request._request, lambda: lasting_credential(request), asdict(act))
    return scope


def open_to_all(request: Request, act: Act) -> Scope:
    """Settings' OPEN_ACCESS_POLICY: a dialect that was opened may do all that it documents, as nobody in particular.

    Where OPEN_DIALECTS_CLUSTERS names clusters, no other registered one is reached; Forbidden. Whoever signs in all the same is held
    to their own rights in what they see of Secrets and, in the store, of rows that say who may do what.
    """
    if settings.OPEN_DIALECTS_CLUSTERS:
        authorization.require_opened(act)
    reveals = _reveals_secrets(request, act) if request.user.pk else True
    impersonation.become(lambda: identities.identity_of(request.user))
    authority.allow(request._request, lambda: lasting_credential(request), asdict(act))
    return Scope(reveals=reveals)


def _reveals_secrets(request: Request, act: Act) -> bool:
    """Whether the caller's own rights show the values of Secrets there; Forbidden for rows about access that are not theirs to see."""
    token = request.auth if isinstance(request.auth, ApiToken) else None
    try:
        return authorization.decide(grants.effective_grants(request.user), token, act).reveals
    except Forbidden:
        if policy.is_access_row(act.stored_type):
            raise
        return False


def lasting_credential(request: Request) -> dict[str, Any]:
    """The part of a credential that ordered work goes on with: signing out ends no operation, revoking its API token does.

    The caller of an open dialect is user 0.
    """
    if not request.user.pk:
        return {"user": 0}
    token = {"api_token": request.auth.pk} if isinstance(request.auth, ApiToken) else {}
    return {"user": request.user.pk, "username": request.user.get_username(), **token}
