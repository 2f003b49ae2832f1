"""How fresh the store is: GET /clusters/{id}/sync, and the same as metrics."""

from collections.abc import Iterable, Iterator
from typing import Any

from django.conf import settings
from django.db import DatabaseError
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from rest_framework.request import Request

from clusters import registry
from core.api.auth import AccessAttributes, authorise
from core.api.dialect import DialectView
from core.api.parsing import integer
from core.api.prometheus import SHARED
from core.api.schema import BOOLEAN, INTEGER, NUMBER, TEXT, OperationSchema, array, nullable, record
from core.times import rfc3339
from storage_api.models import ClusterSync, KindSync
from storage_api.services import sync
from storage_api.services.sync import Freshness

KIND = record(
    kind=TEXT,
    group=TEXT,
    version=TEXT,
    plural=TEXT,
    aliases=array(TEXT),
    namespace=TEXT,
    resource_type=TEXT,
    phase={"type": "string", "enum": KindSync.Phase.values},
    age=nullable(NUMBER),
    served=BOOLEAN,
    resource_version=TEXT,
    listed_at=nullable(TEXT),
    changed_at=nullable(TEXT),
    error=TEXT,
)
SYNC = record(
    cluster_id=INTEGER, collector=TEXT, known_at=nullable(TEXT), error=TEXT, kinds=array(KIND)
)


class SyncView(DialectView):
    """GET /clusters/{id}/sync: how fresh a cluster's copy in the store is."""

    operations = {"get": OperationSchema("How fresh the store is, kind by kind", SYNC)}

    def get(self, request: Request, pk: str) -> Any:
        """`age` is in seconds (null: not known), `served` whether lists come from the store now.

        There are no kinds while nothing was collected. A kind that may not be read in the whole
        cluster has an entry for each accessible namespace next to its own, which is `refused`.
        """
        authorise(self, request, AccessAttributes("get", "clusters", cluster=pk))
        cluster = registry.find(integer(pk, "id", minimum=0))
        row = ClusterSync.objects.filter(pk=cluster.pk).first()
        return {
            "cluster_id": cluster.pk,
            "collector": row.owner if row else "",
            "known_at": rfc3339(row.beaten_at, digits=3) if row else None,
            "error": row.error if row else "",
            "kinds": [_kind(copy) for copy in sync.list_freshness(cluster)],
        }


def _kind(copy: Freshness) -> dict[str, Any]:
    kind = copy.kind
    return {
        "kind": kind.name,
        "group": kind.group,
        "version": kind.version,
        "plural": kind.plural,
        "aliases": list(kind.aliases),
        "namespace": copy.namespace,
        "resource_type": copy.resource_type,
        "phase": copy.phase,
        "age": None if copy.age is None else round(copy.age, 3),
        "served": settings.LISTS_FROM_STORE and copy.serves(settings.STORE_FRESH_SECONDS),
        "resource_version": copy.resource_version,
        "listed_at": rfc3339(copy.listed_at, digits=3),
        "changed_at": rfc3339(copy.changed_at, digits=3),
        "error": copy.error,
    }


def _by_type(copies: Iterable[Freshness]) -> dict[str, list[Freshness]]:
    """The copies that make up what is collected of each type.

    That is the whole cluster's copy, or those of the namespaces where it may be read.
    """
    by_type: dict[str, list[Freshness]] = {}
    for copy in copies:
        by_type.setdefault(copy.resource_type, []).append(copy)
    return {stored_as: _effective(type_copies) for stored_as, type_copies in by_type.items()}


def _effective(copies: list[Freshness]) -> list[Freshness]:
    whole = [copy for copy in copies if not copy.namespace]
    is_refused = any(copy.phase == KindSync.Phase.REFUSED for copy in whole)
    namespaced = [
        copy for copy in copies if copy.namespace and copy.phase != KindSync.Phase.REFUSED
    ]
    if namespaced and (is_refused or not whole):
        return namespaced
    return whole or copies


class StoreAge(Collector):
    """The store's age by cluster and kind, read when Prometheus scrapes.

    Without a database there are no samples.
    """

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Nothing: registration must not read the database."""
        return iter(())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Age of the store's copies in seconds, and whether each kind is watched."""
        age = GaugeMetricFamily(
            "kubegale_store_age_seconds",
            "Age of the store's copy,"
            " of the oldest namespace where a kind is followed by namespace",
            labels=["cluster", "kind"],
        )
        watched = GaugeMetricFamily(
            "kubegale_store_watched",
            "Whether the kind is watched (1) or not (0)",
            labels=["cluster", "kind"],
        )
        try:
            names = dict(registry.clusters().values_list("pk", "name"))
            for pk, cluster_copies in sync.freshness_by_cluster(names).items():
                for stored_as, copies in _by_type(cluster_copies).items():
                    is_watched = all(copy.phase == KindSync.Phase.WATCHING for copy in copies)
                    watched.add_metric([names[pk], stored_as], float(is_watched))
                    ages = [copy.age for copy in copies if copy.age is not None]
                    # One unknown age makes that of the kind unknown.
                    if len(ages) == len(copies):
                        age.add_metric([names[pk], stored_as], max(ages))
        except DatabaseError:
            # The other metrics of the process are still of use.
            return
        yield age
        yield watched


SHARED.register(StoreAge())
