"""Binding: a pod gets its node."""

from simcluster import clock
from simcluster.resources import Object
from simcluster.store import Store


def bind(store: Store, pod: Object, node: str) -> None:
    """Assign a pod to a node."""
    pod["spec"]["nodeName"] = node
    status = pod["status"]
    conditions = [
        condition
        for condition in status.get("conditions") or ()
        if condition["type"] != "PodScheduled"
    ]
    scheduled = {
        "type": "PodScheduled",
        "status": "True",
        "lastProbeTime": None,
        "lastTransitionTime": clock.timestamp(),
    }
    status["conditions"] = [*conditions, scheduled]
    store.put("pods", pod)
