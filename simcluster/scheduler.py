"""The scheduler: a node for every pod that fits one, or the reasons why none does."""

from decimal import Decimal

from simcluster import quantity
from simcluster.binding import bind
from simcluster.client import Client
from simcluster.cluster import Cluster
from simcluster.objects import get_phase
from simcluster.placement import ANY_ADDRESS, host_ports
from simcluster.resources import Object
from simcluster.selectors import expression_test
from simcluster.usage import Amounts, pod_requests

_AGAIN = 20.0


def reconcile(cluster: Cluster, pod: Object) -> float | None:
    """Assign a waiting pod; look again later when it fits nowhere."""
    spec = pod["spec"]
    meta = pod["metadata"]
    if (
        spec.get("nodeName")
        or meta.get("deletionTimestamp")
        or spec.get("schedulerName") != "default-scheduler"
        # A gated pod waits until its owner takes the gates off.
        or spec.get("schedulingGates")
    ):
        return None
    client = Client(cluster, "default-scheduler")
    nodes = cluster.nodes.all(cluster.store)
    requests = pod_requests(spec)
    unbound = _claims_refusal(cluster, pod)
    if unbound:
        # Claims are checked for the pod, not for a node: every node counts as refusing.
        _report(client, pod, len(nodes), {unbound: len(nodes)})
        return _AGAIN
    refusals: dict[str, int] = {}

    def pod_count(node: Object) -> Decimal:
        return cluster.load.on_node(node["metadata"]["name"]).get("pods", Decimal(0))

    # The emptiest node first: a simple stand-in for the scores of the real scheduler.
    for node in sorted(nodes, key=pod_count):
        name = node["metadata"]["name"]
        reason = _refusal(spec, requests, node, cluster.load.on_node(name))
        if not reason:
            bind(cluster.store, pod, name)
            client.event(
                pod,
                "Scheduled",
                f"Successfully assigned {meta['namespace']}/{meta['name']} to {name}",
                action="Binding",
            )
            return None
        refusals[reason] = refusals.get(reason, 0) + 1
    _report(client, pod, len(nodes), refusals)
    return _AGAIN


def tolerates(pod_spec: Object, taint: Object) -> bool:
    """Whether a pod tolerates a taint."""
    for toleration in pod_spec.get("tolerations") or ():
        # An empty effect tolerates all effects of the key.
        if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
            continue
        # An empty key with Exists tolerates everything.
        if toleration.get("operator") == "Exists" and toleration.get("key") in (
            None,
            "",
            taint["key"],
        ):
            return True
        if toleration.get("key") == taint["key"] and toleration.get("value", "") == taint.get(
            "value", ""
        ):
            return True
    return False


def matches_node(spec: Object, node: Object) -> bool:
    """Whether a pod's nodeSelector and required node affinity take a node."""
    labels = {**(node["metadata"].get("labels") or {})}
    if any(labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    affinity = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    if not affinity:
        return True
    names = {"metadata.name": node["metadata"]["name"]}
    return any(
        all(
            expression_test(expression, labels) for expression in term.get("matchExpressions") or ()
        )
        and all(expression_test(expression, names) for expression in term.get("matchFields") or ())
        # Terms are alternatives; within a term every expression must hold.
        for term in affinity.get("nodeSelectorTerms") or ()
    )


def taint_refusal(
    spec: Object,
    node: Object,
    *,
    effects: tuple[str, ...] = ("NoSchedule", "NoExecute"),
) -> str:
    """Why a node's taints keep a pod off; empty when they do not."""
    # A cordoned node refuses by its own reason, not by the taint that the controller adds.
    if node.get("spec", {}).get("unschedulable") and not tolerates(
        spec, {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
    ):
        return "node(s) were unschedulable"
    for taint in node.get("spec", {}).get("taints") or ():
        if (
            taint["key"] != "node.kubernetes.io/unschedulable"
            and taint["effect"] in effects
            and not tolerates(spec, taint)
        ):
            return f"node(s) had untolerated taint(s) {{{taint['key']}: {taint.get('value', '')}}}"
    return ""


def _is_port_used(port_key: str, load: Amounts) -> bool:
    port, _, address = port_key.rpartition(" ")
    rivals = [name for name, amount in load.items() if amount and name.startswith(f"{port} ")]
    if address == ANY_ADDRESS:
        return bool(rivals)
    # A port on one address is free unless it is used there or on every address.
    return port_key in rivals or f"{port} {ANY_ADDRESS}" in rivals


def _refusal(spec: Object, requests: Amounts, node: Object, load: Amounts) -> str:
    tainted = taint_refusal(spec, node)
    if tainted:
        return tainted
    if not matches_node(spec, node):
        return "node(s) didn't match Pod's node affinity/selector"
    if any(_is_port_used(port, load) for port in host_ports(spec)):
        return "node(s) didn't have free ports for the requested pod ports"
    allocatable = node.get("status", {}).get("allocatable") or {}
    if load.get("pods", Decimal(0)) + 1 > quantity.parse(allocatable.get("pods", "110")):
        return "Too many pods"
    for name, amount in requests.items():
        if amount and load.get(name, Decimal(0)) + amount > quantity.parse(
            allocatable.get(name, "0")
        ):
            return f"Insufficient {name}"
    return ""


def _claims_refusal(cluster: Cluster, pod: Object) -> str:
    for volume in pod["spec"].get("volumes") or ():
        name = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if not name:
            continue
        claim = cluster.object("persistentvolumeclaims", pod["metadata"]["namespace"], name)
        if claim is None:
            return f'persistentvolumeclaim "{name}" not found'
        if get_phase(claim) != "Bound" and cluster.object(
            "storageclasses.storage.k8s.io",
            "",
            claim["spec"].get("storageClassName") or "",
        ):
            return "pod has unbound immediate PersistentVolumeClaims"
    return ""


def _report(client: Client, pod: Object, nodes: int, refusals: dict[str, int]) -> None:
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(refusals.items()))
    message = "no nodes available to schedule pods"
    if nodes:
        message = (
            f"0/{nodes} nodes are available: {reasons}. "
            f"preemption: 0/{nodes} nodes are available: "
            f"{nodes} Preemption is not helpful for scheduling."
        )
    client.event(pod, "FailedScheduling", message, warning=True, action="Scheduling")
    status = pod["status"]
    conditions = status.get("conditions") or []
    others = [other for other in conditions if other["type"] != "PodScheduled"]
    old = next((other for other in conditions if other["type"] == "PodScheduled"), None)
    if old is None or old.get("message") != message:
        condition = {
            "type": "PodScheduled",
            "status": "False",
            "lastProbeTime": None,
            "lastTransitionTime": pod["metadata"]["creationTimestamp"],
        }
        condition |= {"reason": "Unschedulable", "message": message}
        status["conditions"] = [*others, condition]
        client.cluster.store.put("pods", pod)
