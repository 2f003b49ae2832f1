"""Metrics: the last report of each; each change is logged by the statement that makes it."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection
from psycopg2 import sql

from storage_api import objectids
from storage_api.protection import DocumentPlace, seal_secrets
from storage_api.query.conditions import Clause, equals
from storage_api.query.queries import DocumentQuery, condition
from storage_api.query.shapes import METRIC
from storage_api.services.write_errors import check_key, execute


@dataclass(frozen=True, slots=True)
class MetricKey:
    """Names a metric."""

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


# change_time follows update_time when the report differs, and the log gets a line only then.
_PUT = """
WITH written AS (
  INSERT INTO storage_metric AS r
    (object_id, cluster_id, namespace, type, name, data, create_time, update_time, change_time)
  SELECT %s, %s, %s, %s, %s, %s::jsonb, moment, moment, moment
  FROM date_trunc('milliseconds', clock_timestamp()) AS moment
  ON CONFLICT (cluster_id, namespace, type, name) DO UPDATE SET
    data = EXCLUDED.data,
    update_time = greatest(EXCLUDED.update_time, r.update_time + interval '1 millisecond'),
    change_time = CASE WHEN r.data IS DISTINCT FROM EXCLUDED.data
      THEN greatest(EXCLUDED.update_time, r.update_time + interval '1 millisecond')
      ELSE r.change_time END
  RETURNING r.*, xmax = 0 AS fresh
)
INSERT INTO storage_metric_change
  (at, op, object_id, cluster_id, namespace, type, name, create_time, data)
SELECT update_time, CASE WHEN fresh THEN 'add' ELSE 'change' END,
       object_id, cluster_id, namespace, type, name, create_time, data
FROM written WHERE change_time = update_time
"""
_DELETE = sql.SQL("""
WITH gone AS (DELETE FROM storage_metric r WHERE {condition} RETURNING r.*)
INSERT INTO storage_metric_change
  (at, op, object_id, cluster_id, namespace, type, name, create_time, data)
SELECT date_trunc('milliseconds', clock_timestamp()), 'delete',
       object_id, cluster_id, namespace, type, name, create_time, data
FROM gone
""")
# How long a watch of metrics can be resumed.
LOG_RETENTION = timedelta(days=1)


def put(key: MetricKey, data: str) -> None:
    """Create a metric or replace its report (JSON text); Invalid when it cannot be stored."""
    check_key(
        clusterId=key.cluster_id,
        namespace=key.namespace,
        type=key.type,
        name=key.name,
    )
    place = DocumentPlace(key.cluster_id, key.type, key.namespace, key.name)
    sealed = seal_secrets(place, data.encode()).decode()
    execute(
        _PUT,
        objectids.new_object_id(),
        key.cluster_id,
        key.namespace,
        key.type,
        key.name,
        sealed,
    )


def delete(key: MetricKey) -> int:
    """Delete a metric; how many rows went."""
    where, params = condition(DocumentQuery(METRIC, key.clauses()))
    return execute(_DELETE.format(condition=where), *params)


def expire(now: datetime) -> int:
    """Delete lines of the log that are older than LOG_RETENTION; how many."""
    return execute(
        "DELETE FROM storage_metric_change WHERE at < %s",
        now - LOG_RETENTION,
    )


def clusters() -> list[str]:
    """The clusters that have metrics, sorted."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT cluster_id FROM storage_metric ORDER BY 1")
        return [row[0] for row in cursor.fetchall()]
