"""Hosts, and which cluster each belongs to."""

from collections.abc import Sequence

from django.db import transaction

from storage_api import objectids
from storage_api.db_retry import retried
from storage_api.models import Host
from storage_api.protection import DocumentPlace, seal_secrets
from storage_api.services.write_errors import check_key, execute

_PUT = """
INSERT INTO storage_host AS r (object_id, ip, cluster_id, data, create_time, update_time)
SELECT %s, %s, %s, %s::jsonb, moment, moment FROM date_trunc('milliseconds', clock_timestamp()) AS moment
ON CONFLICT (ip) DO UPDATE SET
  cluster_id = EXCLUDED.cluster_id, data = EXCLUDED.data,
  update_time = greatest(EXCLUDED.update_time, r.update_time + interval '1 millisecond')
"""
_LOCK = "SELECT 1 FROM storage_host WHERE cluster_id = %s OR ip = ANY (%s) ORDER BY ip FOR UPDATE"
_RELEASE = """
UPDATE storage_host SET cluster_id = '', update_time = date_trunc('milliseconds', clock_timestamp())
WHERE cluster_id = %s AND NOT ip = ANY (%s)
"""
_CLAIM = """
INSERT INTO storage_host AS r (object_id, ip, cluster_id, create_time, update_time)
SELECT fresh.object_id, fresh.ip, %s, moment, moment
FROM unnest(%s::text[], %s::text[]) AS fresh (object_id, ip), date_trunc('milliseconds', clock_timestamp()) AS moment ORDER BY fresh.ip
ON CONFLICT (ip) DO UPDATE SET cluster_id = EXCLUDED.cluster_id, update_time = EXCLUDED.update_time
  WHERE r.cluster_id <> EXCLUDED.cluster_id
"""


def put(ip: str, cluster_id: str, *, data: str) -> None:
    """Create a host or replace its report (JSON text) and its cluster."""
    check_key(ip=ip, clusterId=cluster_id)
    kept = seal_secrets(DocumentPlace(cluster_id, "", "", ip), data.encode()).decode()
    execute(_PUT, objectids.new_object_id(), ip, cluster_id, kept)


def owners(ips: Sequence[str]) -> list[str]:
    """The clusters that hold any of these hosts now."""
    for ip in ips:
        check_key(ip=ip)
    found = (
        Host.objects.filter(ip__in=ips).exclude(cluster_id="").values_list("cluster_id", flat=True)
    )
    return sorted(set(found))


@retried
def relate(cluster_id: str, ips: Sequence[str], *, exactly: bool) -> None:
    """Make these hosts the cluster's; unknown ones are made, without data. `exactly`: its other hosts belong to no cluster from then on."""
    check_key(clusterId=cluster_id)
    for ip in ips:
        check_key(ip=ip)
    wanted = sorted(set(ips))
    with transaction.atomic():
        execute(_LOCK, cluster_id, wanted)
        if exactly:
            execute(_RELEASE, cluster_id, wanted)
        execute(_CLAIM, cluster_id, [objectids.new_object_id() for _ in wanted], wanted)
