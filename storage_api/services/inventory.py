"""What the store holds: how many documents of which cluster and type."""

from collections.abc import Iterable
from typing import Any

from django.db import connection

from storage_api.services.resources import ALL_CLUSTERS

_TYPES = """
SELECT cluster_id, resource_type, bool_or(namespace <> ''), count(*) FROM storage_resource
WHERE cluster_id = ANY (%s) GROUP BY 1, 2 ORDER BY 1, 2
"""
_TYPE_COLUMNS = ("cluster", "type", "namespaced", "count")


def clusters() -> list[str]:
    """The clusterIds that have resources, sorted."""
    with connection.cursor() as cursor:
        cursor.execute(ALL_CLUSTERS)
        return [str(row[0]) for row in cursor.fetchall()]


def types(names: Iterable[str]) -> list[dict[str, Any]]:
    """The types that these clusters have, each as {"cluster","type","namespaced","count"}."""
    with connection.cursor() as cursor:
        cursor.execute(_TYPES, [list(names)])
        return [dict(zip(_TYPE_COLUMNS, row, strict=True)) for row in cursor.fetchall()]
