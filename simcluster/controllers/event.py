"""Event: gone an hour after it was last seen."""

from typing import TYPE_CHECKING

from simcluster.client import Client
from simcluster.resources import Object

if TYPE_CHECKING:
    from simcluster.cluster import Cluster

_KEPT = 3600.0


def reconcile(cluster: "Cluster", obj: Object) -> float | None:
    """Delete an old one; come back later for a young one."""
    left = _KEPT - cluster.clock.since(obj.get("lastTimestamp") or obj["metadata"]["creationTimestamp"])
    if left > 0:
        return left + 1
    uid = (obj.get("involvedObject") or {}).get("uid", "")
    cluster.known_events.pop(hash((uid, obj.get("reason", ""), obj.get("message", ""))), None)
    Client(cluster, "kube-apiserver").delete("events", obj)
    return None
