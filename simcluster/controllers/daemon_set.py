"""DaemonSet: one pod on every node that takes it."""

from simcluster.client import Client
from simcluster.cluster import Cluster
from simcluster.controllers import pods, revisions
from simcluster.controllers.deployment import amount
from simcluster.defaults import TEMPLATE_GENERATION
from simcluster.objects import get_annotations, is_finished, is_terminating
from simcluster.resources import Object
from simcluster.scheduler import matches_node, taint_refusal

_SETS = "daemonsets.apps"
_LABEL = "controller-revision-hash"
_TOLERATED = (
    ("not-ready", "NoExecute"),
    ("unreachable", "NoExecute"),
    ("disk-pressure", "NoSchedule"),
    ("memory-pressure", "NoSchedule"),
    ("pid-pressure", "NoSchedule"),
    ("unschedulable", "NoSchedule"),
)


def reconcile(cluster: Cluster, obj: Object) -> float | None:
    """Add missing pods, delete misplaced ones, replace outdated ones a few at a time."""
    client = Client(cluster, "daemonset-controller")
    if is_terminating(obj):
        return None
    annotations = get_annotations(obj)
    generation = {TEMPLATE_GENERATION: annotations.get(TEMPLATE_GENERATION, "1")}
    revision = revisions.current(client, obj, label=_LABEL, annotations=generation)
    digest = revision["metadata"]["labels"][_LABEL]
    node_names = _nodes(cluster, obj)
    placed = _place(client, obj, node_names, digest)
    if obj["spec"]["updateStrategy"]["type"] == "RollingUpdate":
        _update(client, obj, node_names, placed, digest)
    return _report(cluster, client, obj, node_names, digest)


def _spec(obj: Object) -> Object:
    spec = obj["spec"]["template"]["spec"]
    added = [
        {
            "key": f"node.kubernetes.io/{why}",
            "operator": "Exists",
            "effect": effect,
        }
        for why, effect in _TOLERATED
    ]
    return {**spec, "tolerations": [*(spec.get("tolerations") or ()), *added]}


def _nodes(cluster: Cluster, obj: Object) -> list[str]:
    spec = _spec(obj)
    nodes = cluster.nodes.all(cluster.store)
    return [
        node["metadata"]["name"]
        for node in nodes
        if matches_node(spec, node) and not taint_refusal(spec, node)
    ]


def _node_of(pod: Object) -> str:
    if pod["spec"].get("nodeName"):
        return str(pod["spec"]["nodeName"])
    terms = pod["spec"]["affinity"]["nodeAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]["nodeSelectorTerms"]
    return str(terms[0]["matchFields"][0]["values"][0])


def _place(client: Client, obj: Object, node_names: list[str], digest: str) -> dict[str, Object]:
    placed: dict[str, Object] = {}
    for pod in client.owned("pods", obj):
        node = _node_of(pod)
        ended = is_finished(pod)
        # Misplaced, ended, or the second pod on its node.
        if node not in node_names or ended or node in placed:
            client.delete("pods", pod)
        if not ended:
            placed.setdefault(node, pod)
    for node in node_names:
        if node not in placed:
            placed[node] = _create(client, obj, node, digest)
    return placed


def _create(client: Client, obj: Object, node: str, digest: str) -> Object:
    generation = get_annotations(obj).get(TEMPLATE_GENERATION, "1")
    pod = pods.from_template(
        obj,
        obj["spec"]["template"],
        labels={_LABEL: digest, "pod-template-generation": generation},
    )
    pod["spec"] = _spec(obj)
    # The node is named by an affinity, so that the scheduler still binds the pod.
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    pod["spec"]["affinity"] = {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}
        }
    }
    created = client.create("pods", pod)
    client.event(obj, "SuccessfulCreate", f"Created pod: {created['metadata']['name']}")
    return created


def _update(
    client: Client,
    obj: Object,
    node_names: list[str],
    placed: dict[str, Object],
    digest: str,
) -> None:
    rolling = obj["spec"]["updateStrategy"].get("rollingUpdate") or {}
    allowed = max(amount(rolling.get("maxUnavailable", 1), len(node_names), up=True), 1)
    unavailable = sum(not pods.is_ready(pod) or is_terminating(pod) for pod in placed.values())
    for pod in placed.values():
        if pod["metadata"]["labels"].get(_LABEL) == digest or is_terminating(pod):
            continue
        # A pod that is not ready costs no availability: it is replaced beyond the limit.
        broken = not pods.is_ready(pod)
        if broken or unavailable < allowed:
            unavailable += not broken
            client.delete("pods", pod)
            client.event(obj, "SuccessfulDelete", f"Deleted pod: {pod['metadata']['name']}")


def _report(
    cluster: Cluster,
    client: Client,
    obj: Object,
    node_names: list[str],
    digest: str,
) -> float | None:
    running = [pod for pod in client.owned("pods", obj) if not is_terminating(pod)]
    placed = [pod for pod in running if _node_of(pod) in node_names]
    ready = [pod for pod in placed if pods.is_ready(pod)]
    available = [
        pod
        for pod in ready
        if pods.is_available(pod, obj["spec"].get("minReadySeconds", 0), cluster.clock)
    ]
    status: Object = {
        "currentNumberScheduled": len(placed),
        "numberMisscheduled": len(running) - len(placed),
        "desiredNumberScheduled": len(node_names),
        "numberReady": len(ready),
        "observedGeneration": obj["metadata"].get("generation", 1),
        "updatedNumberScheduled": sum(
            pod["metadata"]["labels"].get(_LABEL) == digest for pod in placed
        ),
    }
    if available:
        status["numberAvailable"] = len(available)
    if len(node_names) > len(available):
        status["numberUnavailable"] = len(node_names) - len(available)
    if status != obj.get("status"):
        client.update_status(_SETS, {**obj, "status": status})
    return 1.0 if len(available) < len(ready) else None
