"""ReplicationController: the ReplicaSet of old."""

from simcluster.client import Client
from simcluster.cluster import Cluster
from simcluster.controllers import pods
from simcluster.objects import is_terminating
from simcluster.resources import Object

_CONTROLLERS = "replicationcontrollers"


def reconcile(cluster: Cluster, obj: Object) -> float | None:
    """Scale the pods, then report."""
    client = Client(cluster, "replication-controller")
    if not is_terminating(obj):
        pods.scale_to(
            client,
            obj,
            pods.active(client.owned("pods", obj)),
            obj["spec"].get("replicas", 1),
            obj["spec"]["template"],
        )
    running = pods.active(client.owned("pods", obj))
    ready = sum(pods.is_ready(pod) for pod in running)
    status: Object = {
        "replicas": len(running),
        "fullyLabeledReplicas": len(running),
    }
    if ready:
        status |= {"readyReplicas": ready, "availableReplicas": ready}
    status["observedGeneration"] = obj["metadata"].get("generation", 1)
    if status != obj.get("status"):
        client.update_status(_CONTROLLERS, {**obj, "status": status})
    return None
