"""ResourceQuota: what is used of it."""

from simcluster import quantity, usage
from simcluster.client import Client
from simcluster.cluster import Cluster
from simcluster.resources import Object


def reconcile(cluster: Cluster, obj: Object) -> float | None:
    """Count again."""
    hard = (obj.get("spec") or {}).get("hard") or {}
    used = usage.used(obj, cluster.store, cluster.table)
    status = {
        "hard": hard,
        "used": {name: quantity.canonical(name, amount) for name, amount in used.items()},
    }
    if status != obj.get("status"):
        Client(cluster, "resourcequota-controller").update_status(
            "resourcequotas", {**obj, "status": status}
        )
    return None
