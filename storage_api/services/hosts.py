"""Hosts, and which cluster each belongs to."""

from collections.abc import Sequence

from django.db import transaction

from storage_api import objectids
from storage_api.db_retry import retry_on_database_error
from storage_api.models import Host
from storage_api.protection import DocumentPlace, seal_secrets
from storage_api.services.write_errors import check_key, execute

_PUT = """
INSERT INTO storage_host AS r (object_id, ip, cluster_id, data, create_time, update_time)
SELECT %s, %s, %s, %s::jsonb, moment, moment
FROM date_trunc('milliseconds', clock_timestamp()) AS moment
ON CONFLICT (ip) DO UPDATE SET
  cluster_id = EXCLUDED.cluster_id, data = EXCLUDED.data,
  update_time = greatest(EXCLUDED.update_time, r.update_time + interval '1 millisecond')
"""
# In the order of their addresses, so that two writers wait for each other and do not deadlock.
_LOCK = "SELECT 1 FROM storage_host WHERE cluster_id = %s OR ip = ANY (%s) ORDER BY ip FOR UPDATE"
_RELEASE = """
UPDATE storage_host
SET cluster_id = '', update_time = date_trunc('milliseconds', clock_timestamp())
WHERE cluster_id = %s AND NOT ip = ANY (%s)
"""
_ASSIGN = """
INSERT INTO storage_host AS r (object_id, ip, cluster_id, create_time, update_time)
SELECT fresh.object_id, fresh.ip, %s, moment, moment
FROM unnest(%s::text[], %s::text[]) AS fresh (object_id, ip),
     date_trunc('milliseconds', clock_timestamp()) AS moment
ORDER BY fresh.ip
ON CONFLICT (ip) DO UPDATE
  SET cluster_id = EXCLUDED.cluster_id, update_time = EXCLUDED.update_time
  WHERE r.cluster_id <> EXCLUDED.cluster_id
"""


def put(ip: str, cluster_id: str, *, data: str) -> None:
    """Create a host or replace its report (JSON text) and its cluster.

    Invalid when it cannot be stored.
    """
    check_key(ip=ip, clusterId=cluster_id)
    place = DocumentPlace(cluster_id, "", "", ip)
    sealed = seal_secrets(place, data.encode()).decode()
    execute(_PUT, objectids.new_object_id(), ip, cluster_id, sealed)


def owning_clusters(ips: Sequence[str]) -> list[str]:
    """The clusters that any of these hosts belong to now, sorted."""
    for ip in ips:
        check_key(ip=ip)
    assigned = Host.objects.filter(ip__in=ips).exclude(cluster_id="")
    return sorted(set(assigned.values_list("cluster_id", flat=True)))


@retry_on_database_error
def assign_to_cluster(cluster_id: str, ips: Sequence[str], *, exactly: bool) -> None:
    """Assign hosts to a cluster; unknown ones are created, without data.

    `exactly`: its other hosts belong to no cluster from then on.
    """
    check_key(clusterId=cluster_id)
    for ip in ips:
        check_key(ip=ip)
    addresses = sorted(set(ips))
    object_ids = [objectids.new_object_id() for _ in addresses]
    with transaction.atomic():
        execute(_LOCK, cluster_id, addresses)
        if exactly:
            execute(_RELEASE, cluster_id, addresses)
        execute(_ASSIGN, cluster_id, object_ids, addresses)
