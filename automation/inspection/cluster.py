"""The inspection of one cluster: every kind once, in an order in which checks know what they need.

Objects are looked at one by one and forgotten; findings are limited for each check, and counted
beyond that, so that the largest cluster costs no more memory than a small one.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from django.utils import timezone

from automation.cluster_objects import Authorise, ClusterObjects, Namespaces
from automation.inspection import access, certificates, objects
from automation.inspection.catalogue import CHECKS, SEVERITY_ORDER, Severity
from automation.inspection.facts import Facts, Thresholds, mapping
from automation.inspection.hits import Checker, Hit
from clusters.kinds import KINDS, Kind
from clusters.manifests import Object
from clusters.models import Cluster
from core.api.attributes import AccessAttributes
from core.errors import SHAPE_ERRORS, DomainError, Forbidden, NotFound
from core.times import rfc3339

# Findings that a report keeps of one check in one cluster.
MAX_FINDINGS = 200
# Kubernetes' own namespaces: what runs there needs rights that nothing else should have.
SYSTEM_NAMESPACES = frozenset(["kube-system", "kube-public", "kube-node-lease"])
# What other checks need comes first.
ORDER = (
    "nodes",
    "limitranges",
    "poddisruptionbudgets",
    "horizontalpodautoscalers",
    "deployments",
    "statefulsets",
    "daemonsets",
    "cronjobs",
    "jobs",
    "pods",
    "persistentvolumeclaims",
    "persistentvolumes",
    "resourcequotas",
    "secrets",
    "ingresses",
    "networkpolicies",
    "roles",
    "clusterroles",
    "rolebindings",
    "clusterrolebindings",
)
BY_KIND: dict[str, Checker] = {
    **objects.BY_KIND,
    **access.BY_KIND,
    "secrets": certificates.check_secret,
}


@dataclass(slots=True)
class InspectionScope:
    """What to inspect, for whom.

    `namespaces` None is all; Kubernetes' own are then left out unless `system`, except for what is
    about the cluster as a whole. `categories` None is every category.
    """

    authorise: Authorise
    namespaces: Namespaces = None
    system: bool = False
    thresholds: Thresholds = field(default_factory=Thresholds)
    categories: frozenset[str] | None = None
    # Whether a namespaced object is one of those that the task is about.
    is_chosen: Callable[[Object], bool] = lambda obj: True


def inspect_cluster(
    cluster: Cluster,
    scope: InspectionScope,
    *,
    beat: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """What the checks find in a cluster, as JSON data.

    {"cluster_id","cluster","version","inspected_at","objects":{plural: count},"ages":{plural:
    seconds or None},"skipped":[{"kind","reason"}],"counts":{check: number},"findings":[…]}.
    A kind that cannot be read is skipped and named. `beat` is called now and then, and may raise.
    """
    inspection = _Inspection(cluster, scope)
    inspection.check_connection()
    for plural in ORDER:
        beat()
        inspection.read(KINDS[plural], beat)
    return inspection.result()


class _Inspection:
    def __init__(
        self,
        cluster: Cluster,
        scope: InspectionScope,
    ) -> None:
        self._cluster = cluster
        self._scope = scope
        self._facts = Facts(
            timezone.now(),
            cluster.version,
            scope.thresholds,
        )
        self._reader = ClusterObjects(
            cluster,
            scope.authorise,
            scope.namespaces,
        )
        self._objects: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self._findings: list[dict[str, Any]] = []
        self._skipped: list[dict[str, str]] = []

    def check_connection(self) -> None:
        """When the credentials of the cluster's connection end."""
        end = self._cluster.credentials_expire_at
        if end is None:
            return
        act = AccessAttributes(
            "get",
            "clusters",
            cluster=str(self._cluster.pk),
        )
        try:
            self._scope.authorise(act)
        except Forbidden:
            return
        for hit in certificates.check_end(
            "credentials-expire",
            end,
            self._facts,
        ):
            self._add(hit, None, None)

    def read(
        self,
        kind: Kind,
        beat: Callable[[], None],
    ) -> None:
        """Look at every object of a kind."""
        try:
            for number, obj in enumerate(self._reader.read(kind)):
                if number % 1000 == 999:
                    beat()
                self._objects[kind.plural] += 1
                self._facts.note(obj)
                if self._is_inspected(kind, obj):
                    self._look_at(kind, obj)
        except NotFound:
            # A cluster that does not serve the kind has no such objects.
            self._skipped.append({"kind": kind.plural, "reason": "the cluster does not serve it"})
        except DomainError as error:
            self._skipped.append({"kind": kind.plural, "reason": error.message})

    def _is_inspected(
        self,
        kind: Kind,
        obj: Object,
    ) -> bool:
        if not kind.namespaced:
            return True
        if not self._scope.is_chosen(obj):
            return False
        if self._scope.system or self._scope.namespaces is not None:
            return True
        return obj["metadata"].get("namespace") not in SYSTEM_NAMESPACES

    def _look_at(self, kind: Kind, obj: Object) -> None:
        try:
            hits = list(self._hits(kind, obj))
        except SHAPE_ERRORS:
            # No API server has accepted it: an agent has stored what is no object of its kind.
            return
        for hit in hits:
            self._add(hit, kind, obj)

    def _hits(
        self,
        kind: Kind,
        obj: Object,
    ) -> Iterator[Hit]:
        checker = BY_KIND.get(kind.plural)
        if checker is not None:
            yield from checker(obj, self._facts)
        # What a controller wrote follows from what its owner is written as.
        if not obj["metadata"].get("ownerReferences"):
            yield from objects.check_api_versions(obj, self._facts)

    def _add(
        self,
        hit: Hit,
        kind: Kind | None,
        obj: Object | None,
    ) -> None:
        check = CHECKS[hit.check]
        if self._scope.categories is not None and check.category not in self._scope.categories:
            return
        self._counts[check.id] += 1
        if self._counts[check.id] > MAX_FINDINGS:
            return
        target = self._target(kind, obj)
        self._findings.append(
            {
                "id": _fingerprint(check.id, target),
                "check": check.id,
                "category": check.category,
                "severity": str(hit.severity or check.severity),
                "title": check.title,
                "message": hit.message,
                "fix": check.fix,
                "object": target,
            }
        )

    def _target(
        self,
        kind: Kind | None,
        obj: Object | None,
    ) -> dict[str, Any]:
        pk = self._cluster.pk
        if kind is None or obj is None:
            return {
                "cluster_id": pk,
                "cluster": self._cluster.name,
                "kind": "Cluster",
                "resource": "clusters",
                "namespace": "",
                "name": self._cluster.name,
                "link": f"/api/v1/kubernetes/clusters/{pk}",
            }
        metadata = mapping(obj, "metadata")
        namespace = str(metadata.get("namespace") or "")
        name = str(metadata["name"])
        query = f"cluster_id={pk}"
        if namespace:
            query += f"&namespace={quote(namespace)}"
        return {
            "cluster_id": pk,
            "cluster": self._cluster.name,
            "kind": kind.name,
            "resource": kind.plural,
            "namespace": namespace,
            "name": name,
            "link": f"/api/v1/kubernetes/{kind.plural}/{quote(name)}?{query}",
        }

    def result(self) -> dict[str, Any]:
        """The answer of `inspect_cluster`."""
        return {
            "cluster_id": self._cluster.pk,
            "cluster": self._cluster.name,
            "version": self._cluster.version,
            "inspected_at": rfc3339(self._facts.now),
            "objects": dict(self._objects),
            "ages": dict(self._reader.ages),
            "skipped": self._skipped,
            "counts": dict(self._counts),
            "findings": sorted(self._findings, key=finding_order),
        }


def finding_order(finding: dict[str, Any]) -> tuple[int, str, str, str, str]:
    """Worst first, then by check and object."""
    target = finding["object"]
    return (
        SEVERITY_ORDER[Severity(finding["severity"])],
        finding["check"],
        target["cluster"],
        target["namespace"],
        target["name"],
    )


def _fingerprint(check: str, target: dict[str, Any]) -> str:
    """The same for the same check of the same object in every report."""
    parts = [check, str(target["cluster_id"]), target["kind"], target["namespace"], target["name"]]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
