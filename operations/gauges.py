"""What Prometheus sees of operations and clusters, read out of the database at each scrape."""

from collections.abc import Iterator
from datetime import timedelta

from django.conf import settings
from django.db import DatabaseError
from django.db.models import Count
from django.utils import timezone
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from clusters import registry
from clusters.models import Cluster
from operations.models import Operation


class WorkGauges(Collector):
    """Active operations, those that nobody carries on, and which clusters answer.

    Without a database there are no samples.
    """

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Nothing: registration must not read the database."""
        return iter(())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauges as they are now."""
        try:
            yield from [_active_operations(), _overdue_operations(), _active_clusters()]
        except DatabaseError:
            # The other metrics of the process are still of use.
            return


def _active_operations() -> GaugeMetricFamily:
    gauge = GaugeMetricFamily(
        "kubegale_operations",
        "Operations that wait (pending) or go on (running)",
        labels=["kind", "state"],
    )
    active = Operation.objects.filter(state__in=Operation.ACTIVE).order_by()
    for kind, state, count in active.values_list("kind", "state").annotate(count=Count("pk")):
        gauge.add_metric([kind, state], count)
    return gauge


def _overdue_operations() -> GaugeMetricFamily:
    # What was lost is sent again as soon as it is due: so late it is where no beat or worker runs.
    late = timezone.now() - timedelta(seconds=settings.OPERATION_STALE_SECONDS)
    overdue = Operation.objects.filter(state__in=Operation.ACTIVE, due_at__lt=late)
    return GaugeMetricFamily(
        "kubegale_operations_overdue",
        "Operations that nobody carries on",
        value=overdue.count(),
    )


def _active_clusters() -> GaugeMetricFamily:
    gauge = GaugeMetricFamily(
        "kubegale_cluster_active",
        "Whether the cluster answered at its last check (1) or not (0)",
        labels=["cluster"],
    )
    for name, status in registry.clusters().values_list("name", "status"):
        gauge.add_metric([name], float(status == Cluster.Status.ACTIVE))
    return gauge
