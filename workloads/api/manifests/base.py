"""What the routes about texts of manifests share: rights first, then the text."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rest_framework.request import Request

from clusters import registry
from clusters.kinds import Kind, lookup_kind, parse_reference
from clusters.models import Cluster
from core.api.audit import AuditEvent, record
from core.api.auth import AccessAttributes, Scope, authorise
from core.api.dialect import DialectView
from core.api.parsing import integer
from core.api.schema import (
    ANYTHING,
    INTEGER,
    MANIFEST,
    TEXT,
)
from core.api.schema import record as schema
from core.errors import DomainError, Invalid
from workloads.api.request_target import RequestTarget
from workloads.manifests.documents import (
    PlannedObject,
    plan,
    read_manifests,
)
from workloads.objects.discovery import discover

CHANGE = schema(path=TEXT, before=ANYTHING, after=ANYTHING)
DOCUMENT = {"index": INTEGER, "kind": TEXT, "namespace": TEXT, "name": TEXT}
ERROR = schema(line=INTEGER, column=INTEGER, path=TEXT, message=TEXT)
CONTENT = {"cluster_id": INTEGER, "namespace": TEXT, "content": MANIFEST}


@dataclass(frozen=True, slots=True)
class AuthorisedObject:
    """An object that the caller may write, with its line for the audit trail."""

    planned: PlannedObject
    event: AuditEvent | None
    scope: Scope


def may_give_any_right(rows: Iterable[AuthorisedObject]) -> bool:
    """Whether the caller administers the whole cluster, and so may write any role.

    Objects without a place are never sent, so the policy was not asked about them.
    """
    return all(row.scope.unbounded for row in rows if row.planned.kind is not None)


class ManifestView(DialectView):
    """What the routes about texts of manifests share: rights first, then the text."""

    aliases = {"clusterId": "cluster_id", "dryRun": "dry_run"}

    def cluster(self, request: Request, reference: object) -> Cluster:
        """A cluster that the caller may see; Invalid without a reference."""
        text = "" if reference is None else str(reference)
        authorise(self, request, AccessAttributes("get", "clusters", cluster=text))
        if not text:
            raise Invalid("cluster_id is required", field="cluster_id")
        return registry.find(integer(text, "cluster_id", minimum=0))

    def begin(self, request: Request, verb: str) -> RequestTarget:
        """The request's members, for callers who may write something in the cluster it names."""
        target = RequestTarget(self, request)
        cluster = _first_cluster(target.body)
        authorise(self, request, AccessAttributes(verb, "manifests", cluster=cluster))
        self.check_input(request)
        target.check()
        return target

    def authorise_objects(
        self,
        request: Request,
        cluster: Cluster,
        planned: Iterable[PlannedObject],
        verb: str,
    ) -> list[AuthorisedObject]:
        """Ask the policy for each object; Forbidden before anything is sent.

        An object without a place in the cluster is never sent, so the policy is not asked.
        """
        allowed = []
        # Objects of one kind in one place need the same right, which is asked once.
        scopes: dict[AccessAttributes, Scope] = {}
        for item in planned:
            if item.kind is None:
                allowed.append(AuthorisedObject(item, None, Scope()))
                continue
            act = object_act(verb, cluster, item.kind, item.namespace, item.name)
            right = act.without_name()
            if right not in scopes:
                scopes[right] = authorise(self, request, act)
            allowed.append(AuthorisedObject(item, record(request, act), scopes[right]))
        return allowed

    def plan_content(
        self, request: Request, target: RequestTarget
    ) -> tuple[Cluster, list[PlannedObject]]:
        """The cluster of `cluster_id`, and where the objects of `content` go in it."""
        cluster = self.cluster(request, target.body.get("cluster_id"))
        if "content" not in target.body:
            raise Invalid("content is required", field="content")
        manifests = read_manifests(target.body["content"])
        return cluster, plan(cluster, manifests, namespace=target.namespace)


def _first_cluster(body: Mapping[str, Any]) -> str:
    """The first cluster that a body names, as text; "" for none. It may be malformed still."""
    targets = body.get("targets")
    places = [body, body.get("from"), *(targets if isinstance(targets, list) else [])]
    for place in places:
        reference = place.get("cluster_id") if isinstance(place, dict) else None
        if reference is not None:
            return str(reference)
    return ""


def object_act(
    verb: str, cluster: Cluster, kind: Kind, namespace: str, name: str = ""
) -> AccessAttributes:
    """The act on one object, as the policy is asked."""
    return AccessAttributes(
        verb,
        kind.plural,
        kind.group,
        str(cluster.pk),
        namespace if kind.namespaced else "",
        name,
        cluster_scoped=not kind.namespaced,
    )


def bad_selector(error: DomainError, field: str) -> DomainError:
    """What the API server says against a label selector as an error of that field."""
    if error.details.get("status") != 400:
        return error
    return Invalid(error.message, field=field)


def kind_in(cluster: Cluster, text: str, *, field: str) -> Kind:
    """A kind by any of its names, or `widgets.v1.example.com` as the cluster serves it.

    Invalid for no kind at all.
    """
    if kind := lookup_kind(text):
        return kind
    name, place = parse_reference(text)
    version, _, group = place.partition(".")
    if not name or not group:
        raise Invalid(
            f"{field} must name a kind, such as deployments or widgets.v1.example.com", field=field
        )
    return discover(cluster, group, version, name)
