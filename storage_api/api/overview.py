"""GET /multicluster/overview: what every cluster holds."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeAlias

from django.conf import settings
from rest_framework.request import Request
from rest_framework.response import Response

from clusters import registry
from clusters.kinds import KINDS, Kind
from clusters.models import Cluster
from core.api.auth import AccessAttributes, authorise
from core.api.dialect import DialectView
from core.api.parsing import boolean
from core.api.schema import BOOLEAN, OBJECT, OperationSchema, QueryParameter, array, record
from storage_api.api.multicluster import (
    FORBIDDEN,
    PROBLEM,
    cluster_problem,
    is_visible,
    refuse_past,
    visible_places_by_kind,
)
from storage_api.models import KindSync
from storage_api.services import live_counts, multicluster, sync
from storage_api.services.multicluster import ClusterScope
from storage_api.services.sync import Freshness

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


# {kind: {cluster's name: {"total": …} or None where it is not known}}
Counts: TypeAlias = Mapping[Kind, dict[str, dict[str, int] | None]]
# {cluster's id: {kind: namespaces to count in, None for all}}
LiveRequests: TypeAlias = dict[int, dict[Kind, frozenset[str] | None]]


class Overview(DialectView):
    """GET /multicluster/overview: what each cluster has.

    Counted in the store where its copy is fresh, else by asking the cluster.
    """

    operations = {
        "get": OperationSchema(
            "What every cluster holds",
            record(
                clusters=array(OBJECT),
                totals=OBJECT,
                partial_errors=array(PROBLEM),
            ),
            query=(
                QueryParameter(
                    "fresh",
                    BOOLEAN,
                    description="Ask every cluster, even if the store knows.",
                ),
            ),
        )
    }

    def get(self, request: Request) -> Any:
        """{"clusters", "totals", "partial_errors"}.

        `clusters` have id, name, status, version and counts by plural; a count is null when the
        caller may not see it or it is not known. `totals` are over all clusters. `partial_errors`
        names the clusters that could not be asked; of these the store's last counts are shown.
        X-Data-Age is the age in seconds of the oldest fresh copy that was used.
        """
        scope = authorise(self, request, AccessAttributes("list", "clusters"))
        refuse_past(request)
        registered = list(registry.clusters())
        clusters = [cluster for cluster in registered if is_visible(scope, cluster)]
        kinds = [KINDS[plural] for plural in COUNTED]
        # The count of a kind that the caller may not list is null.
        places = visible_places_by_kind(self, request, kinds, registered)
        counts: Counts = {
            kind: dict(by_cluster) for kind, by_cluster in multicluster.counts(places).items()
        }
        is_live = (
            boolean(request.query_params.get("fresh", "false"), "fresh")
            or not settings.LISTS_FROM_STORE
        )
        ages, live_requests = _split_by_freshness(clusters, places, ask_all=is_live)
        problems = _count_live(counts, clusters, live_requests)
        totals = {plural: _total(counts.get(KINDS[plural], {}).values()) for plural in COUNTED}
        answer = {
            "clusters": [_cluster(cluster, counts) for cluster in clusters],
            "totals": {"clusters": len(clusters), **totals},
            "partial_errors": problems,
        }
        return Response(answer, headers={"X-Data-Age": f"{max(ages):.3f}"} if ages else {})


def _cluster(cluster: Cluster, counts: Counts) -> dict[str, Any]:
    return {
        "id": cluster.pk,
        "name": cluster.name,
        "status": cluster.status,
        "version": cluster.version,
        "counts": {plural: counts.get(KINDS[plural], {}).get(cluster.name) for plural in COUNTED},
    }


def _total(counts: Collection[dict[str, int] | None]) -> int | None:
    """The sum of the counts that are known; None when none of them is."""
    totals = [count["total"] for count in counts if count is not None]
    return sum(totals) if totals or not counts else None


def _listed_kinds(clusters: Collection[int]) -> set[tuple[int, str, str]]:
    """(cluster's id, group, plural) of what was ever collected.

    About other kinds the store's count says nothing.
    """
    if not clusters:
        return set()
    rows = KindSync.objects.filter(cluster__in=clusters, listed_at__isnull=False)
    return set(rows.values_list("cluster_id", "group", "plural"))


def _split_by_freshness(
    clusters: Sequence[Cluster],
    places: Mapping[Kind, Sequence[ClusterScope]],
    *,
    ask_all: bool,
) -> tuple[list[float], LiveRequests]:
    """(ages in seconds of the copies that are fresh, what has to be asked of the clusters)."""
    ages: list[float] = []
    requests: LiveRequests = {}
    all_copies: dict[int, list[Freshness]] = {}
    if not ask_all:
        all_copies = sync.freshness_by_cluster([cluster.pk for cluster in clusters])
    for cluster in clusters:
        # A kind that is collected by namespace has no count of the whole cluster.
        copies = {
            (copy.kind.group, copy.kind.plural): copy
            for copy in all_copies.get(cluster.pk, [])
            if not copy.namespace
        }
        for kind, kind_places in places.items():
            place = next((place for place in kind_places if place.cluster == cluster.pk), None)
            if place is None:
                continue
            copy = copies.get((kind.group, kind.plural))
            if copy and copy.age is not None and copy.serves(settings.STORE_FRESH_SECONDS):
                ages.append(copy.age)
            else:
                requests.setdefault(cluster.pk, {})[kind] = place.namespaces
    return ages, requests


def _count_live(
    counts: Counts,
    clusters: Sequence[Cluster],
    requests: LiveRequests,
) -> list[dict[str, Any]]:
    """Put the clusters' own counts in; a problem for each cluster that could not be asked."""
    by_pk = {cluster.pk: cluster for cluster in clusters}
    answers = live_counts.count_live(
        live_counts.CountRequest(by_pk[pk], kinds) for pk, kinds in requests.items()
    )
    unanswered = {pk: set(requests[pk]) - set(answer.counts) for pk, answer in answers.items()}
    listed = _listed_kinds([pk for pk, kinds in unanswered.items() if kinds])
    problems = []
    for pk, answer in answers.items():
        name = by_pk[pk].name
        for kind, live_count in answer.counts.items():
            counts[kind][name] = live_count
        for kind in unanswered[pk]:
            if (pk, kind.group, kind.plural) not in listed:
                counts[kind][name] = None
        if answer.error:
            message = f"{answer.error}; the store's last counts are shown"
            problems.append(cluster_problem(pk, name, message))
        elif message := _refused_kinds(answer):
            problems.append(cluster_problem(pk, name, message, code=FORBIDDEN))
    return problems


def _refused_kinds(answer: live_counts.ClusterCount) -> str:
    """Which kinds the cluster's credentials may not count; "" for none."""
    hidden = sorted(kind.plural for kind, count in answer.counts.items() if count is None)
    return f"the cluster's credentials may not list {', '.join(hidden)}" if hidden else ""
