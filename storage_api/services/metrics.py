"""Metrics: the last report of each."""

from dataclasses import dataclass

from django.db import connection

from storage_api import objectids
from storage_api.conditions import Clause, equals
from storage_api.protection import Place, protect
from storage_api.services.writes import check_key, execute


@dataclass(frozen=True, slots=True)
class MetricKey:
    """Where a metric stands."""

    cluster_id: str
    namespace: str
    type: str
    name: str

    def clauses(self) -> tuple[Clause, ...]:
        """The conditions that name exactly this metric."""
        return (
            equals("cluster_id", self.cluster_id),
            equals("namespace", self.namespace),
            equals("type", self.type),
            equals("name", self.name),
        )


_PUT = """
INSERT INTO storage_metric AS r (object_id, cluster_id, namespace, type, name, data, create_time, update_time)
SELECT %s, %s, %s, %s, %s, %s::jsonb, moment, moment FROM date_trunc('milliseconds', clock_timestamp()) AS moment
ON CONFLICT (cluster_id, namespace, type, name) DO UPDATE SET
  data = EXCLUDED.data, update_time = greatest(EXCLUDED.update_time, r.update_time + interval '1 millisecond')
"""


def put(key: MetricKey, data: str) -> None:
    """Create a metric or replace its report (JSON text)."""
    check_key(clusterId=key.cluster_id, namespace=key.namespace, type=key.type, name=key.name)
    place = Place(key.cluster_id, key.type, key.namespace, key.name)
    kept = protect(place, data.encode()).decode()
    execute(_PUT, objectids.new(), key.cluster_id, key.namespace, key.type, key.name, kept)


def clusters() -> list[str]:
    """The clusters that have metrics, sorted."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT cluster_id FROM storage_metric ORDER BY 1")
        return [row[0] for row in cursor.fetchall()]
