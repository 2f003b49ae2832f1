"""GET /multicluster/overview: what every cluster holds."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from django.conf import settings
from rest_framework.request import Request
from rest_framework.response import Response

from clusters import registry
from clusters.kinds import KINDS, Kind
from clusters.models import Cluster
from core.api.auth import Act, authorise
from core.api.dialect import DialectView
from core.api.parsing import boolean
from core.api.schema import BOOLEAN, OBJECT, Described, Query, array, record
from core.errors import Forbidden
from storage_api.api.multicluster import PROBLEM, UNREACHED, refuse_past, sees, visible
from storage_api.models import KindSync
from storage_api.services import live_counts, multicluster, sync
from storage_api.services.multicluster import Place

COUNTED = (
    "nodes",
    "namespaces",
    "pods",
    "deployments",
    "statefulsets",
    "daemonsets",
    "services",
    "ingresses",
    "persistentvolumeclaims",
)


class Overview(DialectView):
    """GET /multicluster/overview: what each cluster holds, counted in the store where its copy is fresh, else by asking the cluster."""

    operations = {
        "get": Described(
            "What every cluster holds",
            record(clusters=array(OBJECT), totals=OBJECT, partial_errors=array(PROBLEM)),
            query=(
                Query("fresh", BOOLEAN, description="Ask every cluster, even if the store knows."),
            ),
        )
    }

    def get(self, request: Request) -> Any:
        """`clusters`: id, name, status, version, counts by plural (null: not the caller's to see, or not known); `totals`
        over all of them.

        `partial_errors` names the clusters that could not be asked; the store's last counts stand for them. X-Data-Age is the age of
        the oldest copy that was used while it was fresh.
        """
        scope = authorise(self, request, Act("list", "clusters"))
        refuse_past(request)
        clusters = [cluster for cluster in registry.clusters() if sees(scope, cluster)]
        places = {KINDS[plural]: self._places(request, KINDS[plural]) for plural in COUNTED}
        counted: Counted = {
            kind: dict(multicluster.counts(found, kind)) for kind, found in places.items() if found
        }
        fresh = (
            boolean(request.query_params.get("fresh", "false"), "fresh")
            or not settings.LISTS_FROM_STORE
        )
        ages, wishes = _outdated(clusters, places, everything=fresh)
        problems = _recounted(counted, clusters, wishes)
        answer = {
            "clusters": [
                {
                    "id": cluster.pk,
                    "name": cluster.name,
                    "status": cluster.status,
                    "version": cluster.version,
                }
                | {
                    "counts": {
                        plural: counted.get(KINDS[plural], {}).get(cluster.name)
                        for plural in COUNTED
                    }
                }
                for cluster in clusters
            ],
            "totals": {
                "clusters": len(clusters),
                **{plural: _total(counted.get(KINDS[plural], {}).values()) for plural in COUNTED},
            },
            "partial_errors": problems,
        }
        return Response(answer, headers={"X-Data-Age": f"{max(ages):.3f}"} if ages else {})

    def _places(self, request: Request, kind: Kind) -> list[Place]:
        try:
            return visible(self, request, kind)
        except Forbidden:
            return []


Counted = Mapping[Kind, dict[str, dict[str, int] | None]]


def _total(counts: Collection[dict[str, int] | None]) -> int | None:
    """The sum of what is known; None when there is something, and nothing of it is known."""
    known = [count["total"] for count in counts if count is not None]
    return sum(known) if known or not counts else None


def _never_listed(cluster: Cluster, kinds: Collection[Kind]) -> list[Kind]:
    """Those of which not even the store knows a number."""
    listed = {
        (row.group, row.plural)
        for row in KindSync.objects.filter(cluster=cluster, listed_at__isnull=False)
    }
    return [kind for kind in kinds if (kind.group, kind.plural) not in listed]


def _outdated(
    clusters: Sequence[Cluster], places: Mapping[Kind, Sequence[Place]], *, everything: bool
) -> tuple[list[float], dict[int, dict[Kind, frozenset[str] | None]]]:
    """(ages of the copies that are fresh, what is to be asked of which cluster)."""
    ages: list[float] = []
    wishes: dict[int, dict[Kind, frozenset[str] | None]] = {}
    for cluster in clusters:
        known = (
            {}
            if everything
            else {
                (found.kind.group, found.kind.plural): found
                for found in sync.freshness(cluster)
                if not found.namespace
            }
        )
        for kind, found in places.items():
            place = next((place for place in found if place.cluster == cluster.pk), None)
            copy = known.get((kind.group, kind.plural))
            if (
                place
                and copy
                and copy.age is not None
                and copy.serves(settings.STORE_FRESH_SECONDS)
            ):
                ages.append(copy.age)
            elif place:
                wishes.setdefault(cluster.pk, {})[kind] = place.namespaces
    return ages, wishes


def _recounted(
    counted: Counted,
    clusters: Sequence[Cluster],
    wishes: Mapping[int, Mapping[Kind, frozenset[str] | None]],
) -> list[dict[str, Any]]:
    """Put in what the clusters themselves say; the problems of those that could not be asked."""
    by_pk = {cluster.pk: cluster for cluster in clusters}
    answers = live_counts.count(live_counts.Wish(by_pk[pk], kinds) for pk, kinds in wishes.items())
    for pk, answer in answers.items():
        for kind, counts in answer.counts.items():
            counted[kind][by_pk[pk].name] = counts
        for kind in _never_listed(by_pk[pk], set(wishes[pk]) - set(answer.counts)):
            counted[kind][by_pk[pk].name] = None
    return [
        {
            "cluster_id": pk,
            "cluster_name": by_pk[pk].name,
            "code": UNREACHED,
            "msg": problem,
        }
        for pk, answer in answers.items()
        if (problem := _problem(answer))
    ]


def _problem(answer: live_counts.Answer) -> str:
    """What is wrong with a cluster's counts; "" for nothing."""
    if answer.error:
        return f"{answer.error}; the store's last counts are shown"
    hidden = sorted(kind.plural for kind, counts in answer.counts.items() if counts is None)
    return f"the cluster's credentials may not list {', '.join(hidden)}" if hidden else ""
