"""What the scheduler knows of nodes: their objects, and what the pods on them request."""

from decimal import Decimal

from simcluster.objects import is_finished
from simcluster.resources import Object
from simcluster.store import DELETED, Change, Store
from simcluster.usage import Amounts, pod_requests

ANY_ADDRESS = "0.0.0.0"  # noqa: S104  a hostIP, as pods write it
_NONE: Amounts = {}


class Load:
    """The requests and the number of the pods on each node, updated with every change."""

    def __init__(self) -> None:
        self.nodes: dict[str, Amounts] = {}
        self._pods: dict[str, tuple[str, Amounts]] = {}

    def changed(self, change: Change) -> None:
        """Count a change of a pod."""
        if change.storage != "pods":
            return
        self._add(self._pods.pop(change.record.key, ("", _NONE)), -1)
        if change.type == DELETED:
            return
        pod = change.record.obj
        node = pod["spec"].get("nodeName")
        if node and not is_finished(pod):
            cost = (
                node,
                {
                    **pod_requests(pod["spec"]),
                    **dict.fromkeys(host_ports(pod["spec"]), Decimal(1)),
                    "pods": Decimal(1),
                },
            )
            self._pods[change.record.key] = cost
            self._add(cost, 1)

    def _add(self, cost: tuple[str, Amounts], sign: int) -> None:
        total = self.nodes.setdefault(cost[0], {})
        for name, amount in cost[1].items():
            total[name] = total.get(name, Decimal(0)) + sign * amount

    def on_node(self, node: str) -> Amounts:
        """The load of one node."""
        return self.nodes.get(node, _NONE)


class Nodes:
    """The nodes, parsed once per change of any of them."""

    def __init__(self) -> None:
        self._parsed: list[Object] | None = None

    def changed(self, change: Change) -> None:
        """Forget what was parsed when a node changes."""
        if change.storage == "nodes":
            self._parsed = None

    def all(self, store: Store) -> list[Object]:
        """The nodes; not to be changed."""
        if self._parsed is None:
            self._parsed = [record.obj for record in store.list("nodes")]
        return self._parsed


def host_ports(spec: Object) -> list[str]:
    """The ports of its node that a pod takes: `hostPort TCP 80 0.0.0.0`."""
    # Of the init containers only sidecars keep their ports while the pod runs.
    sidecars = [
        container
        for container in spec.get("initContainers") or ()
        if container.get("restartPolicy") == "Always"
    ]
    names = []
    for container in [*sidecars, *spec["containers"]]:
        for port in container.get("ports") or ():
            if port.get("hostPort"):
                address = port.get("hostIP") or ANY_ADDRESS
                names.append(f"hostPort {port.get('protocol', 'TCP')} {port['hostPort']} {address}")
    return names
