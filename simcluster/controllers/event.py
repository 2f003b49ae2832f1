"""Event: gone an hour after it was written, or last seen if that is later."""

from simcluster.client import Client
from simcluster.cluster import Cluster
from simcluster.resources import Object

_KEPT = 3600.0


def reconcile(cluster: Cluster, obj: Object) -> float | None:
    """Delete an old one; come back later for a young one."""
    # A server keeps an event for an hour after its last write; the event's own times do not count.
    again = (obj.get("series") or {}).get("lastObservedTime")
    stamps = filter(
        None,
        (again, obj.get("lastTimestamp"), obj["metadata"]["creationTimestamp"]),
    )
    left = _KEPT - min(cluster.clock.since(stamp) for stamp in stamps)
    if left > 0:
        return left + 1
    uid = (obj.get("involvedObject") or {}).get("uid", "")
    cluster.known_events.pop(hash((uid, obj.get("reason", ""), obj.get("message", ""))), None)
    Client(cluster, "kube-apiserver").delete("events", obj)
    return None
