"""Node: taints for its state, and pods that may not stay."""

from simcluster import clock
from simcluster.client import Client
from simcluster.cluster import Cluster
from simcluster.controllers.pods import set_condition
from simcluster.objects import get_conditions
from simcluster.resources import Object

_UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
_NOT_READY = "node.kubernetes.io/not-ready"
_UNREACHABLE = "node.kubernetes.io/unreachable"


def reconcile(cluster: Cluster, obj: Object) -> float | None:
    """Taint, untaint, and evict what does not tolerate it."""
    client = Client(cluster, "node-controller")
    taints = _taints(obj)
    if taints != (obj["spec"].get("taints") or []):
        obj["spec"]["taints"] = taints
        if not taints:
            del obj["spec"]["taints"]
        obj = client.update("nodes", obj)
    expelling = [taint for taint in taints if taint["effect"] == "NoExecute"]
    if not expelling:
        return None
    return _expel(cluster, client, obj["metadata"]["name"], expelling)


def _taints(obj: Object) -> list[Object]:
    ready = "True"
    for condition in get_conditions(obj):
        if condition["type"] == "Ready":
            ready = condition["status"]
    needed = {
        (_UNSCHEDULABLE, "NoSchedule"): bool(obj["spec"].get("unschedulable")),
        (_NOT_READY, "NoSchedule"): ready == "False",
        (_NOT_READY, "NoExecute"): ready == "False",
        (_UNREACHABLE, "NoSchedule"): ready == "Unknown",
        (_UNREACHABLE, "NoExecute"): ready == "Unknown",
    }
    # Taints of other keys belong to users and stay.
    taints = [
        taint
        for taint in obj["spec"].get("taints") or ()
        if needed.get((taint["key"], taint["effect"]), True)
    ]
    present = {(taint["key"], taint["effect"]) for taint in taints}
    for (key, effect), is_needed in needed.items():
        if is_needed and (key, effect) not in present:
            taints.append({"key": key, "effect": effect, "timeAdded": clock.timestamp()})
    return taints


def _expel(cluster: Cluster, client: Client, name: str, taints: list[Object]) -> float | None:
    again: float | None = None
    for record in cluster.store.list("pods"):
        if record.field("spec.nodeName") != name or record.field("metadata.deletionTimestamp"):
            continue
        pod = record.obj
        left = min(_patience(cluster, pod, taint) for taint in taints)
        if left <= 0:
            client.event(
                pod,
                "TaintManagerEviction",
                f"Marking for deletion Pod {pod['metadata']['namespace']}/{record.name}",
            )
            _disrupt(cluster, pod)
            client.delete("pods", pod)
        elif left != float("inf"):
            again = left if again is None else min(again, left)
    return again


def _disrupt(cluster: Cluster, pod: Object) -> None:
    set_condition(
        pod["status"],
        "DisruptionTarget",
        "True",
        reason="DeletionByTaintManager",
        message="Taint manager: deleting due to NoExecute taint",
    )
    cluster.store.put("pods", pod)


def _patience(cluster: Cluster, pod: Object, taint: Object) -> float:
    for toleration in pod["spec"].get("tolerations") or ():
        same = toleration.get("key") in (
            None,
            "",
            taint["key"],
        ) and toleration.get("effect") in (
            None,
            "",
            taint["effect"],
        )
        if same and (
            toleration.get("operator") == "Exists"
            or toleration.get("value", "") == taint.get("value", "")
        ):
            # Without seconds the pod stays for ever.
            if "tolerationSeconds" not in toleration:
                return float("inf")
            return float(toleration["tolerationSeconds"]) - cluster.clock.since(
                taint.get("timeAdded", clock.timestamp())
            )
    return 0.0
