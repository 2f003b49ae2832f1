"""Who sees an operation: whoever may read what it acts on.

An operation over several clusters has no target of its own. Its steps name the places instead: a
step's data then has `cluster` (an id) and `namespaces`, where "" stands for what is in none.
"""

from collections.abc import Mapping

from django.db.models import Exists, OuterRef, Q

from clusters.kinds import KINDS
from core.api.auth import AccessAttributes
from operations.models import Operation, OperationStep

RESOURCE = "operations"


def target_acts(row: Operation) -> list[AccessAttributes]:
    """The acts that a user needs the right to, each of them, to see an operation."""
    places = _places(row)
    if places and (row.cluster_id is None or not row.namespace):
        return [AccessAttributes("get", RESOURCE, "", *place) for place in places]
    kind = KINDS.get(row.resource)
    return [
        AccessAttributes(
            "get",
            row.resource or RESOURCE,
            kind.group if kind else "",
            str(row.cluster_id or ""),
            row.namespace,
            row.name,
            cluster_scoped=bool(kind and not kind.namespaced),
        )
    ]


def _places(row: Operation) -> list[tuple[str, str]]:
    """(cluster, namespace) of each place that the steps name, once."""
    places = {
        (str(step.data["cluster"]), str(namespace)): None
        for step in row.steps.all()
        for namespace in step.data.get("namespaces", [])
    }
    return list(places)


def visible_rows(clusters: Mapping[int, frozenset[str] | None]) -> Q:
    """The rows that somebody sees whose rights reach these namespaces of clusters; None is all."""
    visible = Q(pk=None)
    inside = Q(pk=None)
    for pk, namespaces in clusters.items():
        if namespaces is None:
            visible |= Q(cluster=pk)
            inside |= Q(data__cluster=pk)
        else:
            visible |= Q(cluster=pk, namespace__in=namespaces)
            inside |= Q(data__cluster=pk, data__namespaces__contained_by=sorted(namespaces))
    steps = OperationStep.objects.filter(operation=OuterRef("pk"), data__has_key="namespaces")
    # Without a namespace of its own, it is seen by whoever sees all of its places.
    by_steps = Q(namespace="") & Exists(steps) & ~Exists(steps.exclude(inside))
    return visible | by_steps
