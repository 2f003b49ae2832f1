"""CustomResourceDefinition: names accepted and the kind established, as the API server says it."""

from simcluster import clock
from simcluster.client import Client
from simcluster.cluster import Cluster
from simcluster.crds import STORAGE
from simcluster.objects import is_terminating
from simcluster.resources import Object

# The naming and establishing controllers of apiextensions-apiserver; kinds that clash with another
# definition's names are not refused here.
_CONDITIONS = {
    "NamesAccepted": ("NoConflicts", "no conflicts found"),
    "Established": ("InitialNamesAccepted", "the initial names have been accepted"),
}


def reconcile(cluster: Cluster, obj: Object) -> float | None:
    """Write acceptedNames, storedVersions and the conditions of a definition."""
    if is_terminating(obj):
        return None
    status = obj.get("status") or {}
    versions = [version["name"] for version in obj["spec"]["versions"] if version.get("storage")]
    stored = list(dict.fromkeys([*(status.get("storedVersions") or ()), *versions]))
    accepted = obj["spec"]["names"]
    if status.get("acceptedNames") == accepted and status.get("storedVersions") == stored:
        return None
    now = clock.timestamp()
    conditions = [
        {
            "type": kind,
            "status": "True",
            "lastTransitionTime": now,
            "reason": reason,
            "message": message,
        }
        for kind, (reason, message) in _CONDITIONS.items()
    ]
    Client(cluster, "kube-apiserver").update_status(
        STORAGE,
        {
            **obj,
            "status": {
                "conditions": status.get("conditions") or conditions,
                "acceptedNames": accepted,
                "storedVersions": stored,
            },
        },
    )
    return None
