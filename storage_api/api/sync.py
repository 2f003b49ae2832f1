"""How fresh the store is: GET /clusters/{id}/sync, and the same as metrics."""

from collections.abc import Iterable, Iterator
from typing import Any

from django.conf import settings
from django.db import DatabaseError
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from rest_framework.request import Request

from clusters import registry
from core.api.auth import Act, authorise
from core.api.dialect import DialectView
from core.api.parsing import integer
from core.api.prometheus import SHARED
from core.api.schema import BOOLEAN, INTEGER, NUMBER, TEXT, Described, array, nullable, record
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
    """How far a cluster's copy in the store is."""

    operations = {"get": Described("How fresh the store is, kind by kind", SYNC)}

    def get(self, request: Request, pk: str) -> Any:
        """`age` in seconds (null: not known), `served` whether lists come from the store now; no kinds while nothing was collected.

        A kind that may not be read in the whole cluster has an entry for each accessible namespace beside its own, which is `refused`.
        """
        authorise(self, request, Act("get", "clusters", cluster=pk))
        cluster = registry.find(integer(pk, "id", minimum=0))
        row = ClusterSync.objects.filter(pk=cluster.pk).first()
        return {
            "cluster_id": cluster.pk,
            "collector": row.owner if row else "",
            "known_at": rfc3339(row.beaten_at, digits=3) if row else None,
            "error": row.error if row else "",
            "kinds": [_kind(found) for found in sync.freshness(cluster)],
        }


def _kind(found: Freshness) -> dict[str, Any]:
    kind = found.kind
    return {
        "kind": kind.name,
        "group": kind.group,
        "version": kind.version,
        "plural": kind.plural,
        "aliases": list(kind.aliases),
        "namespace": found.namespace,
        "resource_type": found.resource_type,
        "phase": found.phase,
        "age": None if found.age is None else round(found.age, 3),
        "served": settings.LISTS_FROM_STORE and found.serves(settings.STORE_FRESH_SECONDS),
        "resource_version": found.resource_version,
        "listed_at": rfc3339(found.listed_at, digits=3),
        "changed_at": rfc3339(found.changed_at, digits=3),
        "error": found.error,
    }


def _by_type(copies: Iterable[Freshness]) -> dict[str, list[Freshness]]:
    """The copies that make up what is collected of each type: the whole cluster's, or those of the namespaces that do not refuse it."""
    found: dict[str, list[Freshness]] = {}
    for copy in copies:
        found.setdefault(copy.resource_type, []).append(copy)
    for stored_as, of_type in found.items():
        parts = [
            copy for copy in of_type if copy.namespace and copy.phase != KindSync.Phase.REFUSED
        ]
        whole = [copy for copy in of_type if not copy.namespace]
        is_refused = any(copy.phase == KindSync.Phase.REFUSED for copy in whole)
        found[stored_as] = parts if parts and (is_refused or not whole) else whole or of_type
    return found


class StoreAge(Collector):
    """The store's age by cluster and kind, read when Prometheus asks; nothing while the database is away."""

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Nothing is read for the registration."""
        return iter(())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Seconds since the store was known to hold what the cluster has, and whether each kind is watched."""
        age = GaugeMetricFamily(
            "kubegale_store_age_seconds",
            "Age of the store's copy, of the oldest namespace where a kind is followed by namespace",
            labels=["cluster", "kind"],
        )
        watched = GaugeMetricFamily(
            "kubegale_store_watched",
            "Whether the kind is watched (1) or not (0)",
            labels=["cluster", "kind"],
        )
        try:
            for cluster in registry.clusters():
                for stored_as, copies in _by_type(sync.freshness(cluster)).items():
                    is_watched = all(copy.phase == KindSync.Phase.WATCHING for copy in copies)
                    watched.add_metric([cluster.name, stored_as], float(is_watched))
                    ages = [copy.age for copy in copies if copy.age is not None]
                    if len(ages) == len(copies):
                        age.add_metric([cluster.name, stored_as], max(ages))
        except DatabaseError:
            return
        yield age
        yield watched


SHARED.register(StoreAge())
