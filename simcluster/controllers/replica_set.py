"""ReplicaSet: as many pods as asked for."""

from simcluster.client import Client
from simcluster.cluster import Cluster
from simcluster.controllers import pods
from simcluster.errors import ApiError
from simcluster.objects import get_conditions, is_terminating
from simcluster.resources import Object


def reconcile(cluster: Cluster, obj: Object) -> float | None:
    """Scale the pods, then report."""
    client = Client(cluster, "replicaset-controller")
    refusal: ApiError | None = None
    if not is_terminating(obj):
        refusal = _scale(client, obj)
    owned = client.owned("pods", obj)
    running = pods.active(owned)
    min_ready = obj["spec"].get("minReadySeconds", 0)
    status: Object = {
        "replicas": len(running),
        "fullyLabeledReplicas": len(running),
    }
    ready = [pod for pod in running if pods.is_ready(pod)]
    available = [pod for pod in ready if pods.is_available(pod, min_ready, cluster.clock)]
    if ready:
        status["readyReplicas"] = len(ready)
    if available:
        status["availableReplicas"] = len(available)
    status["terminatingReplicas"] = sum(is_terminating(pod) for pod in owned)
    status["observedGeneration"] = obj["metadata"].get("generation", 1)
    if refusal:
        # The first refusal stays: each names a pod of its own, and a changed status would start
        # the next attempt at once.
        status["conditions"] = list(get_conditions(obj))
        if not any(condition["type"] == "ReplicaFailure" for condition in status["conditions"]):
            pods.set_condition(
                status,
                "ReplicaFailure",
                "True",
                reason="FailedCreate",
                message=refusal.message,
            )
    if status != obj.get("status"):
        client.update_status("replicasets.apps", {**obj, "status": status})
    if refusal:
        raise refusal
    # minReadySeconds must pass: nothing else wakes us when it has.
    return 1.0 if len(available) < len(ready) else None


def _scale(client: Client, obj: Object) -> ApiError | None:
    running = pods.active(client.owned("pods", obj))
    desired = obj["spec"].get("replicas", 1)
    if len(running) == desired:
        return None
    try:
        pods.scale_to(client, obj, running, desired, obj["spec"]["template"])
    except ApiError as error:
        return error
    return None
