"""What changed in clusters since a moment, by whom, the likely most harmful first.

It reads the store's log of changes. What controllers write all the time (status, children of
workloads, leases) is left out: it follows from changes that are listed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
from django.db import DataError

from clusters import event_series
from clusters.kinds import KINDS, Kind
from clusters.models import Cluster
from clusters.resource_types import resource_type
from clusters.tables import values
from core.errors import DomainError
from insights import harm
from insights.harm import Harm
from storage_api.history import as_of, descriptions
from storage_api.history.as_of import Version, VersionQuery
from storage_api.history.attribution import AuditedWrite
from storage_api.query.problems import PROBLEM_RULES
from storage_api.services import snapshot
from storage_api.services.multicluster import ClusterScope

# What people and pipelines change; pods, ReplicaSets, endpoints and the like follow from it.
KINDS_WATCHED = tuple(
    KINDS[plural]
    for plural in (
        "deployments",
        "statefulsets",
        "daemonsets",
        "cronjobs",
        "configmaps",
        "secrets",
        "services",
        "ingresses",
        "networkpolicies",
        "horizontalpodautoscalers",
        "persistentvolumeclaims",
        "persistentvolumes",
        "resourcequotas",
        "limitranges",
        "namespaces",
        "nodes",
        "roles",
        "rolebindings",
        "customresourcedefinitions",
    )
)
# Versions of one kind in one cluster that are looked at, the newest.
MOST_VERSIONS = 200
# Changed paths that one line of the answer names, and characters of one value in it.
MOST_PATHS = 8
LONGEST_VALUE = 200
# Follows from each change of a spec.
_BOOKKEEPING = frozenset(
    {
        ("metadata", "generation"),
        ("metadata", "annotations", "deployment.kubernetes.io/revision"),
    }
)
# A controller of Kubernetes writes it into every namespace.
ROOT_CERTIFICATE = "kube-root-ca.crt"


@dataclass(frozen=True, slots=True)
class RankedChange:
    """One change of one object, with what it probably did."""

    cluster: ClusterScope
    kind: Kind
    description: Mapping[str, Any]
    harm: Harm
    is_troubled: bool

    def represent(self) -> dict[str, Any]:
        """The change as JSON data: a line of /history, its cluster, `harm` and a `summary`."""
        return {
            **shorten_version(self.description),
            "cluster_id": self.cluster.cluster,
            "cluster": self.cluster.name,
            "harm": self.harm.score,
            "reasons": list(self.harm.reasons),
            "troubled": self.is_troubled,
            "summary": self._summary(),
        }

    def _summary(self) -> str:
        described = self.description
        place = f"{described['namespace']}/" if described["namespace"] else ""
        reasons = ", ".join(self.harm.reasons) or "it changed"
        who = described["who"] or {}
        author = who.get("user") or who.get("manager") or "an unknown writer"
        return f"{self.kind.name} {place}{described['name']}: {reasons}, by {author}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeQuery:
    """Which changes: [since, until), in one namespace ("" is all), of objects of a name."""

    since: datetime
    until: datetime
    namespace: str = ""
    name: str = ""


@dataclass(slots=True)
class ChangeReport:
    """`changes` ranked; `problems` are (cluster's id, name, sentence) of what could not be read.

    `is_cut` says that there were more versions than were looked at.
    """

    changes: list[RankedChange] = field(default_factory=list)
    problems: list[tuple[int, str, str]] = field(default_factory=list)
    is_cut: bool = False


def list_changes(
    places: Mapping[Kind, Sequence[ClusterScope]],
    clusters: Mapping[int, Cluster],
    query: ChangeQuery,
) -> ChangeReport:
    """The changes of these kinds in these places; `clusters` are by id."""
    report = ChangeReport()
    for kind, scopes in places.items():
        if query.namespace and not kind.namespaced and kind != KINDS["namespaces"]:
            continue
        for scope in scopes:
            _add_changes(report, clusters[scope.cluster], scope, kind, query)
    report.changes.sort(
        key=lambda change: int(change.description["seq"]),
        reverse=True,
    )
    # Equally harmful changes stay in this order, the newest first.
    report.changes.sort(key=lambda change: -change.harm.score)
    return report


def _add_changes(
    report: ChangeReport,
    cluster: Cluster,
    scope: ClusterScope,
    kind: Kind,
    query: ChangeQuery,
) -> None:
    is_namespace = kind == KINDS["namespaces"]
    version_query = VersionQuery(
        namespace="" if is_namespace else query.namespace,
        name=query.namespace if is_namespace and query.namespace else query.name,
        namespaces=scope.namespaces,
        since=query.since,
        until=query.until,
        size=MOST_VERSIONS + 1,
        intended=True,
    )
    try:
        versions = as_of.versions(cluster, kind, version_query)
        is_cut = as_of.has_more_than_scanned(cluster, kind, version_query)
    except DomainError as error:
        report.problems.append((scope.cluster, scope.name, error.message))
        return
    except DataError:
        # An agent has stored what is no object: the database compares members.
        problem = f"the changes of {kind.plural} cannot be compared"
        report.problems.append((scope.cluster, scope.name, problem))
        return
    report.is_cut = report.is_cut or is_cut or len(versions) > MOST_VERSIONS
    versions = [
        version
        for version in versions[:MOST_VERSIONS]
        if _is_intended(
            version,
            query,
        )
    ]
    if not versions:
        return
    writes = descriptions.audited_writes(cluster, kind, versions)
    troubled = _list_troubled(cluster, kind, versions)
    for version in versions:
        description = describe_intended(version, kind, writes)
        is_troubled = (version.namespace, version.name) in troubled
        rated = harm.rate(
            kind,
            version.op,
            description["changes"] or (),
            is_troubled=is_troubled,
        )
        report.changes.append(
            RankedChange(
                scope,
                kind,
                description,
                rated,
                is_troubled,
            )
        )


def _is_intended(version: Version, query: ChangeQuery) -> bool:
    """Whether a person or pipeline may have made it, and in the time that is asked about."""
    if version.name == ROOT_CERTIFICATE:
        return False
    if version.op == "change":
        return True
    document = orjson.loads(version.data or "{}")
    # A controller makes and deletes what follows from its owner.
    owners = values.sound_mappings_at(document, "metadata.ownerReferences")
    if any(owner.get("controller") for owner in owners):
        return False
    # A list that begins to be collected adds objects that are older than the list.
    created = event_series.moment(values.text_at(document, "metadata.creationTimestamp"))
    return version.op == "delete" or created >= query.since


def _list_troubled(
    cluster: Cluster,
    kind: Kind,
    versions: Sequence[Version],
) -> set[tuple[str, str]]:
    """(namespace, name) of the objects that have a problem now, as far as the store knows."""
    rule = PROBLEM_RULES.get(kind.plural)
    if rule is None:
        return set()
    stored_as = resource_type(kind)
    keys = {(stored_as, version.namespace, version.name) for version in versions}
    documents = snapshot.read_sealed(cluster, sorted(keys))
    return {
        (namespace, name)
        for (_, namespace, name), raw in documents.items()
        if rule.holds(orjson.loads(raw))
    }


def describe_intended(
    version: Version,
    kind: Kind,
    writes: Sequence[AuditedWrite],
) -> dict[str, Any]:
    """A line of /history without changes that the cluster itself makes of others."""
    described = descriptions.describe_version(version, kind, writes)
    listed = described["changes"]
    if listed is not None:
        described["changes"] = [
            change
            for change in listed
            if change["path"][:1] != ["status"] and tuple(change["path"]) not in _BOOKKEEPING
        ]
    return described


def shorten_version(described: Mapping[str, Any]) -> dict[str, Any]:
    """A line of /history with at most MOST_PATHS changes, and `more_changes`: how many are left."""
    listed = described["changes"]
    page_items = None if listed is None else [_shorten(change) for change in listed[:MOST_PATHS]]
    return {
        **described,
        "changes": page_items,
        "more_changes": max(len(listed or ()) - MOST_PATHS, 0),
    }


def _shorten(change: Mapping[str, Any]) -> dict[str, Any]:
    """The change with values that are no longer than LONGEST_VALUE as text."""
    return {**change, "from": _short(change["from"]), "to": _short(change["to"])}


def _short(value: Any) -> Any:
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return value if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"
