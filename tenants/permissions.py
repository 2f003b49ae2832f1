"""The access policy behind every route (settings: ACCESS_POLICY)."""

from rest_framework.request import Request

from kubegale.api.auth import Act, Scope
from tenants import decisions, grants
from tenants.models import ApiToken


def authorise(request: Request, act: Act) -> Scope:
    """The caller's scope for the act; raises Forbidden, in the same words for what exists and what does not."""
    token = request.auth if isinstance(request.auth, ApiToken) else None
    return decisions.decide(grants.holdings(request.user), token, act)
