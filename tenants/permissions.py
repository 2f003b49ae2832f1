"""The access policy behind every route: who may do what, where."""

from rest_framework.request import Request

from kubegale.api.auth import Act, Scope
from kubegale.errors import Forbidden


def authorise(request: Request, act: Act) -> Scope:
    """The caller's scope for the act; raises Forbidden when the right is lacking."""
    if getattr(request.user, "is_superuser", False):
        return Scope()
    raise Forbidden(f"you may not {act.verb} {act.kind or 'this'} here")
