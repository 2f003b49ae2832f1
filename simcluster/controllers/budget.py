"""PodDisruptionBudget: how many of its pods may go now."""

from simcluster import clock
from simcluster.client import Client
from simcluster.cluster import Cluster
from simcluster.controllers import pods
from simcluster.controllers.deployment import amount
from simcluster.objects import controller_reference, is_finished, is_terminating
from simcluster.resources import Object
from simcluster.selectors import selector_test

_SCALED = {
    "ReplicaSet": "replicasets.apps",
    "StatefulSet": "statefulsets.apps",
    "ReplicationController": "replicationcontrollers",
}


def reconcile(cluster: Cluster, obj: Object) -> float | None:
    """Count again."""
    spec = obj.get("spec") or {}
    test = selector_test(spec.get("selector"))
    covered = [
        record.obj
        for record in cluster.store.list("pods", obj["metadata"]["namespace"])
        if test(record.labels)
    ]
    covered = [pod for pod in covered if not is_finished(pod)]
    healthy = sum(pods.is_ready(pod) and not is_terminating(pod) for pod in covered)
    expected = _expected(cluster, covered)
    # maxUnavailable needs the desired count of the owners, not the pods that happen to exist.
    if "maxUnavailable" in spec:
        desired = max(expected - amount(spec["maxUnavailable"], expected, up=True), 0)
    else:
        least = spec.get("minAvailable", 1)
        desired = amount(least, expected, up=True)
        # An absolute minAvailable needs no owners: the pods themselves are counted.
        expected = expected if isinstance(least, str) else len(covered)
    allowed = max(healthy - desired, 0) if expected else 0
    status: Object = {
        "observedGeneration": obj["metadata"].get("generation", 1),
        "disruptionsAllowed": allowed,
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "expectedPods": expected,
        "conditions": [_condition(obj, allowed)],
    }
    if status != {
        key: value for key, value in obj["status"].items() if key != "disruptedPods"
    } or obj["status"].get("disruptedPods"):
        Client(cluster, "disruption-controller").update_status(
            "poddisruptionbudgets.policy", {**obj, "status": status}
        )
    return None


def _expected(cluster: Cluster, covered: list[Object]) -> int:
    total = 0
    counted_uids: set[str] = set()
    for pod in covered:
        owner = controller_reference(pod)
        if owner is None or owner["kind"] not in _SCALED:
            total += 1
        # An owner counts once, however many of its pods are covered.
        elif owner["uid"] not in counted_uids:
            counted_uids.add(owner["uid"])
            controller = cluster.object(
                _SCALED[owner["kind"]],
                pod["metadata"]["namespace"],
                owner["name"],
            )
            total += (
                _replicas(
                    cluster,
                    controller,
                    pod["metadata"]["namespace"],
                    counted_uids,
                )
                if controller
                else 0
            )
    return total


def _replicas(cluster: Cluster, controller: Object, namespace: str, counted_uids: set[str]) -> int:
    above = next(
        (
            reference
            for reference in controller["metadata"].get("ownerReferences") or ()
            if reference["kind"] == "Deployment"
        ),
        None,
    )
    if above is None:
        return int(controller["spec"].get("replicas", 1))
    if above["uid"] in counted_uids:
        return 0
    counted_uids.add(above["uid"])
    # During a rollout two ReplicaSets share the replicas of one Deployment.
    deployment = cluster.object("deployments.apps", namespace, above["name"])
    return int(deployment["spec"].get("replicas", 1)) if deployment else 0


def _condition(obj: Object, allowed: int) -> Object:
    old = next(iter(obj["status"].get("conditions") or ()), None)
    value, reason = ("True", "SufficientPods") if allowed else ("False", "InsufficientPods")
    stamp = old["lastTransitionTime"] if old and old["status"] == value else clock.timestamp()
    generation = obj["metadata"].get("generation", 1)
    head = {
        "type": "DisruptionAllowed",
        "status": value,
        "observedGeneration": generation,
    }
    return {**head, "lastTransitionTime": stamp, "reason": reason, "message": ""}
