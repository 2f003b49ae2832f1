"""Removes debug pods on nodes whose terminal no longer exists because its process was killed."""

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
from core.sockets.quota import quota_key
from core.sockets.tickets import blocking_redis
from workloads.streams.exec import LABEL, USER

# A pod is older than this before its terminal counts as lost.
GRACE = timedelta(minutes=2)


def remove_stale_pods(cluster: Cluster) -> int:
    """Delete the cluster's debug pods that no open terminal uses; how many."""
    client = registry.client(cluster)
    namespace = settings.NODE_TERMINAL_NAMESPACE
    pods = list_all(client, KINDS["pods"], namespace, labelSelector=LABEL)
    names = [pod["metadata"]["name"] for pod in pods if _is_stale(pod)]
    # The shell must not keep the node's debug pod for its termination grace period.
    options = {"gracePeriodSeconds": 0}
    for name in names:
        try:
            client.delete(KINDS["pods"], name, namespace=namespace, options=options)
        except NotFound:
            continue
    return len(names)


def _is_stale(pod: Object) -> bool:
    """Whether the pod is older than GRACE and its session holds no slot in its user's quota."""
    metadata = pod["metadata"]
    created_at = datetime.fromisoformat(
        str(metadata.get("creationTimestamp") or "1970-01-01T00:00:00Z")
    )
    if datetime.now(UTC) - created_at < GRACE:
        return False
    user = str((metadata.get("annotations") or {}).get(USER, ""))
    session = metadata["labels"][LABEL]
    try:
        expires_at = blocking_redis(settings.REDIS_URL).zscore(
            quota_key("terminals", user), session
        )
    except redis.RedisError:
        # This cannot be determined now; the next round may.
        return False
    return not expires_at or float(str(expires_at)) < time.time()
