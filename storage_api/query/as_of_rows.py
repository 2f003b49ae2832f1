"""The objects of a kind as they were, as rows: SQL for one or for many clusters.

They are as they were at a moment, or at a position of the log.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from psycopg2 import sql

# The last version of each object until the moment; an object that the log has no version of
# (until then) has not changed since, so the current row holds.
_ROWS = sql.SQL("""(
  SELECT p.cluster_id, p.resource_type, p.namespace, p.resource_name, p.data,
         p.data #>> '{{spec,nodeName}}' AS node_name,
         p.data #>> '{{status,phase}}' AS status,
         p.data #>> '{{status,podIP}}' AS pod_ip
  FROM (
    SELECT DISTINCT ON (c.cluster_id, c.namespace, c.resource_name)
           c.op, c.cluster_id, c.resource_type, c.namespace, c.resource_name, c.data
    FROM storage_past c
    WHERE c.cluster_id {equals} AND c.resource_type = %s AND c.at <= %s
    ORDER BY c.cluster_id, c.namespace, c.resource_name, c.seq DESC
  ) p
  WHERE p.op <> 'delete'
  UNION ALL
  SELECT x.cluster_id, x.resource_type, x.namespace, x.resource_name, x.data,
         x.node_name, x.status, x.pod_ip
  FROM storage_resource x
  WHERE x.cluster_id {equals} AND x.resource_type = %s AND x.change_time <= %s AND NOT EXISTS (
    SELECT 1 FROM storage_past c
    WHERE c.cluster_id = x.cluster_id AND c.resource_type = x.resource_type
      AND c.namespace = x.namespace AND c.resource_name = x.resource_name AND c.at <= %s
  )
)""")


def rows_as_of(
    cluster_names: Sequence[str], stored_as: str, at: datetime
) -> tuple[sql.Composable, list[Any]]:
    """A subselect in parentheses, without an alias, and its parameters.

    Its columns: cluster_id, resource_type, namespace, resource_name, data, node_name, status,
    pod_ip. `stored_as` is the kind's resource type in the store.
    """
    names: Any
    if len(cluster_names) == 1:
        # An index keeps its order behind an equality, but not behind a list of one.
        equals = sql.SQL("= %s")
        names = cluster_names[0]
    else:
        equals = sql.SQL("= ANY (%s)")
        names = list(cluster_names)
    params = [names, stored_as, at]
    return _ROWS.format(equals=equals), [*params, *params, at]


# Rows whose objects have a later line in the log are replaced by their line before the position.
# Mostly there are none: the position is that of a reader who has just asked for it.
_ROWS_AT_POSITION = sql.SQL("""(
  WITH touched AS MATERIALIZED (
    SELECT DISTINCT c.namespace, c.resource_name FROM storage_change c
    WHERE c.cluster_id = %s AND c.resource_type = %s AND c.seq > %s
  )
  SELECT x.cluster_id, x.resource_type, x.namespace, x.resource_name, x.data,
         x.node_name, x.status, x.pod_ip
  FROM storage_resource x
  WHERE x.cluster_id = %s AND x.resource_type = %s AND NOT EXISTS (
    SELECT 1 FROM touched t
    WHERE t.namespace = x.namespace AND t.resource_name = x.resource_name
  )
  UNION ALL
  SELECT p.cluster_id, p.resource_type, p.namespace, p.resource_name, p.data,
         p.data #>> '{spec,nodeName}', p.data #>> '{status,phase}', p.data #>> '{status,podIP}'
  FROM touched t CROSS JOIN LATERAL (
    SELECT * FROM storage_past c
    WHERE c.cluster_id = %s AND c.resource_type = %s
      AND c.namespace = t.namespace AND c.resource_name = t.resource_name AND c.seq <= %s
    ORDER BY c.seq DESC LIMIT 1
  ) p WHERE p.op <> 'delete'
)""")


def rows_at_position(
    cluster_name: str, stored_as: str, seq: int
) -> tuple[sql.Composable, list[Any]]:
    """As `rows_as_of`, for one cluster, after all changes up to a settled sequence number.

    A watch that begins behind that number and these rows together miss nothing and tell nothing
    twice.
    """
    kind = [cluster_name, stored_as]
    return _ROWS_AT_POSITION, [*kind, seq, *kind, *kind, seq]
