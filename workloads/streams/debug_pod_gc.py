"""Debug pods on nodes whose terminal is gone (its process was killed): found and removed."""

import time
from datetime import UTC, datetime, timedelta

import redis
from django.conf import settings

from clusters import registry
from clusters.kinds import KINDS
from clusters.lists import list_all
from clusters.manifests import Object
from clusters.models import Cluster
from core.errors import NotFound
from core.sockets.connections import seats_key
from core.sockets.tickets import store
from workloads.streams.exec import LABEL, USER

GRACE = timedelta(minutes=2)


def remove_stale_pods(cluster: Cluster) -> int:
    """Delete the cluster's debug pods that no open terminal holds; how many."""
    client, namespace = registry.client(cluster), settings.NODE_TERMINAL_NAMESPACE
    stale = [
        pod["metadata"]["name"]
        for pod in list_all(client, KINDS["pods"], namespace, labelSelector=LABEL)
        if _is_stale(pod)
    ]
    for name in stale:
        try:
            client.delete(
                KINDS["pods"], name, namespace=namespace, options={"gracePeriodSeconds": 0}
            )
        except NotFound:
            continue
    return len(stale)


def _is_stale(pod: Object) -> bool:
    """Older than two minutes, and its session has no seat."""
    meta = pod["metadata"]
    made = datetime.fromisoformat(str(meta.get("creationTimestamp") or "1970-01-01T00:00:00Z"))
    if datetime.now(UTC) - made < GRACE:
        return False
    user = str((meta.get("annotations") or {}).get(USER, ""))
    try:
        held = store(settings.REDIS_URL).zscore(seats_key("terminals", user), meta["labels"][LABEL])
    except redis.RedisError:
        return False
    return not held or float(str(held)) < time.time()
