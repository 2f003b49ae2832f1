"""What a caller may do with rules: their own, and those inside the places that are theirs."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, cast

from django.contrib.auth.models import User
from django.db.models import Q
from rest_framework.request import Request

from access import authorization
from access.models import ApiToken
from alerts import scopes
from alerts.models import Rule
from alerts.rules import MAX_NAMES
from core.api.auth import AccessAttributes, Scope, authorise
from core.api.dialect import DialectView
from core.errors import Forbidden, Invalid, NotFound


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who asks, and where they may see alerts."""

    user: User
    scope: Scope
    # Of the API token by which they ask: what is written by it reaches no further.
    limits: Mapping[str, Any]

    @property
    def is_token_of_clusters(self) -> bool:
        """Whether the caller is a token that was cut down to some clusters."""
        return "clusters" in self.limits

    @property
    def is_admin(self) -> bool:
        """Whether the caller may do everything everywhere."""
        return scopes.Fleet.read().is_admin(self.user, self.limits)

    @property
    def sees_everything(self) -> bool:
        """Whether the caller may see every alert of every cluster."""
        return self.scope.clusters is None and self.scope.namespaces is None

    def covers(
        self,
        clusters: frozenset[int] | None,
        namespaces: scopes.Namespaces,
    ) -> bool:
        """Whether the caller sees all of these places."""
        if self.sees_everything:
            return True
        visible = self.scope.clusters or {}
        if not clusters or not clusters <= visible.keys():
            return False
        seen = [visible[pk] for pk in clusters]
        return all(
            places is None or (namespaces is not None and namespaces <= places) for places in seen
        )

    def owns(self, owner_id: int) -> bool:
        """Whether something is the caller's own; a token of some clusters stands for no person."""
        return owner_id == self.user.pk and not self.is_token_of_clusters

    def sees(self, rule: Rule) -> bool:
        """Whether the caller may see the rule."""
        return self.owns(rule.owner_id) or self.covers(*scopes.scope_of(rule))


def viewer_of(view: DialectView, request: Request) -> Viewer:
    """The caller as a viewer of alerts; Forbidden for who may read nothing anywhere."""
    scope = authorise(view, request, AccessAttributes("list", "alerts"))
    token = request.auth if isinstance(request.auth, ApiToken) else None
    return Viewer(cast(User, request.user), scope, authorization.limits_of(token))


def refuse_token_of_clusters(request: Request, things: str) -> None:
    """Forbidden for a token of some clusters: channels and silences are not of a cluster."""
    if isinstance(request.auth, ApiToken) and request.auth.clusters:
        raise Forbidden(f"a token of some clusters may not make {things}")


def visible_rule(viewer: Viewer, rule: Rule) -> Rule:
    """The rule; NotFound when the caller may not see it."""
    if not viewer.sees(rule):
        raise NotFound("there is no such rule")
    return rule


def require_may_change(
    view: DialectView,
    request: Request,
    viewer: Viewer,
    rule: Rule,
) -> None:
    """Forbidden unless the rule is the caller's own, or they may write in all of its places."""
    if not viewer.owns(rule.owner_id):
        _require_write(view, request, rule, verb="update")


def refuse_hidden_clusters(
    view: DialectView,
    request: Request,
    scope: object,
    *,
    kind: str = "alerts",
    in_scope: Collection[int] = (),
) -> None:
    """Forbidden for clusters of a body's scope in which the caller may not list the kind.

    Asked before they are looked up: a cluster that is hidden answers as one that does not exist.
    Those of `in_scope` are in it already, and looked up in any case.
    """
    clusters = scope.get("clusters") if isinstance(scope, dict) else None
    for element in clusters[:MAX_NAMES] if isinstance(clusters, list) else ():
        # Anything else is refused for what it is.
        is_reference = isinstance(element, int | str) and not isinstance(element, bool)
        if is_reference and element != "" and element not in in_scope:
            act = AccessAttributes("list", kind, cluster=str(element))
            authorise(view, request, act)


def require_places(
    view: DialectView,
    request: Request,
    viewer: Viewer,
    rule: Rule,
) -> None:
    """Forbidden for a rule that names places in which the caller may not make one.

    What a rule does not name is all that its owner may see; a token of some clusters may not
    speak for more than these.
    """
    clusters, namespaces = scopes.scope_of(rule)
    if rule.source == Rule.Source.PROMQL:
        # A query reads the metrics of all namespaces.
        for pk in sorted(clusters or ()):
            authorise(
                view,
                request,
                AccessAttributes("list", "nodes", cluster=str(pk)),
            )
    if rule.tenant_id is not None:
        _require_write(view, request, rule, verb="create")
        return
    if clusters is None:
        if viewer.is_token_of_clusters:
            raise Invalid(
                "with this token the rule must name its clusters",
                field="scope.clusters",
            )
        return
    for pk in sorted(clusters):
        if namespaces is None:
            # Narrowed to what the owner may read there, when the rule is evaluated.
            authorise(
                view,
                request,
                AccessAttributes("list", "alerts", cluster=str(pk)),
            )
        for namespace in sorted(namespaces or ()):
            act = AccessAttributes(
                "create",
                "alerts",
                cluster=str(pk),
                namespace=namespace,
            )
            authorise(view, request, act)


def _require_write(
    view: DialectView,
    request: Request,
    rule: Rule,
    *,
    verb: str,
) -> None:
    clusters, namespaces = scopes.scope_of(rule)
    if clusters is None:
        scope = authorise(view, request, AccessAttributes(verb, "alerts"))
        if scope.clusters is not None:
            raise Forbidden(f"you may not {verb} this rule")
        return
    for pk in sorted(clusters):
        for namespace in sorted(namespaces or [""]):
            act = AccessAttributes(
                verb,
                "alerts",
                cluster=str(pk),
                namespace=namespace,
            )
            authorise(view, request, act)


def usable_channels(viewer: Viewer) -> Q:
    """The channels that the caller may send to: their own, their tenants', all for an admin.

    A token of some clusters has those of the tenants in them.
    """
    if viewer.is_admin:
        # An empty Q() would vanish when another condition is joined to it by "or".
        return Q(pk__isnull=False)
    own = Q(pk=None) if viewer.is_token_of_clusters else Q(owner=viewer.user)
    for pk, namespaces in (viewer.scope.clusters or {}).items():
        inside = Q() if namespaces is None else Q(tenant__namespace__in=namespaces)
        own |= Q(tenant__cluster=pk) & inside
    return own


def among(pks: set[int]) -> Q:
    """The rows with these ids."""
    return Q(pk__in=pks)
