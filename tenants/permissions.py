"""The access policy behind every route (settings: ACCESS_POLICY)."""

from django.conf import settings
from rest_framework.request import Request

from clusters import identity
from kubegale.api.auth import Act, Scope
from tenants import decisions, grants, identities
from tenants.models import ApiToken


def authorise(request: Request, act: Act) -> Scope:
    """The caller's scope for the act; raises Forbidden, in the same words for what exists and what does not."""
    identity.become(lambda: identities.of(request.user))
    token = request.auth if isinstance(request.auth, ApiToken) else None
    return decisions.decide(grants.holdings(request.user), token, act)


def open_to_all(request: Request, act: Act) -> Scope:
    """Settings' OPEN_ACCESS_POLICY: a dialect that was opened may do all that it documents, as nobody in particular.

    Where OPEN_DIALECTS_CLUSTERS names clusters, no other registered one is reached; Forbidden.
    """
    if settings.OPEN_DIALECTS_CLUSTERS:
        decisions.require_opened(act)
    identity.become(lambda: identities.of(request.user))
    return Scope()
