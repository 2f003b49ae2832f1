"""Nodes: what a new cluster starts with, and the addresses of pods on each."""

import itertools
from collections.abc import Iterator

from simcluster import clock
from simcluster.registry import Registry
from simcluster.resources import Object
from simcluster.write_options import WriteOptions

_ZONES = ("zone-a", "zone-b", "zone-c")
# The plain label is what sellers of capacity put on their nodes.
_REGIONS = ("ausrine", "giltine")
_SYSTEM_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")


class Addresses:
    """Pod addresses: one /24 after the other for each node."""

    def __init__(self) -> None:
        self._nodes: dict[str, Iterator[str]] = {}
        self._reserved: set[str] = set()

    def reserve(self, address: str) -> None:
        """Reserve an address that a pod of an earlier process has."""
        self._reserved.add(address)

    def take(self, node: str) -> str:
        """A new address on a node."""
        if node not in self._nodes:
            index = len(self._nodes)
            self._nodes[node] = _pod_addresses(index)
        # Addresses are not used again, so an old log or event names one pod only.
        return next(candidate for candidate in self._nodes[node] if candidate not in self._reserved)


def _pod_addresses(index: int) -> Iterator[str]:
    """The addresses of the pods of the node with this number, 254 to a subnet."""
    for number in itertools.count(1):
        subnet = number // 254
        second = 244 + (index + subnet) // 256
        third = (index + subnet * 32) % 256
        yield f"10.{second}.{third}.{number % 254 + 1}"


def address(node: Object) -> str:
    """The internal address of a node."""
    return next(
        (
            entry["address"]
            for entry in node.get("status", {}).get("addresses") or ()
            if entry["type"] == "InternalIP"
        ),
        "",
    )


def node(number: int, pods: int) -> Object:
    """A worker: 8 cores, 32 GiB, at most so many pods."""
    name = f"node-{number:02d}"
    now = clock.timestamp()
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "node.kubernetes.io/instance-type": "standard-8",
        "region": _REGIONS[number % len(_REGIONS)],
        "topology.kubernetes.io/region": "region-1",
        "topology.kubernetes.io/zone": _ZONES[number % len(_ZONES)],
    }
    # One node is both control plane and worker, as in small clusters.
    if number == 0:
        labels["node-role.kubernetes.io/control-plane"] = ""
    capacity = {
        "cpu": "8",
        "ephemeral-storage": "101430960Ki",
        "memory": "32Gi",
        "pods": str(pods),
    }
    return {
        "kind": "Node",
        "apiVersion": "v1",
        "metadata": {
            "name": name,
            "labels": labels,
            "annotations": {"node.alpha.kubernetes.io/ttl": "0"},
        },
        "spec": {
            "podCIDR": f"10.244.{number % 256}.0/24",
            "podCIDRs": [f"10.244.{number % 256}.0/24"],
        },
        "status": {
            "capacity": capacity,
            # Less than the capacity: the kubelet and the system have their share.
            "allocatable": {**capacity, "cpu": "7800m", "memory": "30Gi"},
            "conditions": [_condition(*condition, now) for condition in _CONDITIONS],
            "addresses": [
                {
                    "type": "InternalIP",
                    "address": f"10.1.{number // 256}.{number % 256 + 1}",
                },
                {"type": "Hostname", "address": name},
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
            "nodeInfo": {
                "machineID": f"{number:032x}",
                "systemUUID": f"00000000-0000-4000-8000-{number:012x}",
                "bootID": f"10000000-0000-4000-8000-{number:012x}",
                "kernelVersion": "6.12.48",
                "osImage": "Debian GNU/Linux 13 (trixie)",
                "containerRuntimeVersion": "containerd://2.2.0",
                "kubeletVersion": "v1.36.2",
                "kubeProxyVersion": "",
                "operatingSystem": "linux",
                "architecture": "amd64",
            },
        },
    }


_CONDITIONS = (
    (
        "MemoryPressure",
        "False",
        "KubeletHasSufficientMemory",
        "kubelet has sufficient memory available",
    ),
    (
        "DiskPressure",
        "False",
        "KubeletHasNoDiskPressure",
        "kubelet has no disk pressure",
    ),
    (
        "PIDPressure",
        "False",
        "KubeletHasSufficientPID",
        "kubelet has sufficient PID available",
    ),
    ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
)


def _condition(kind: str, status: str, reason: str, message: str, now: str) -> Object:
    return {
        "type": kind,
        "status": status,
        "lastHeartbeatTime": now,
        "lastTransitionTime": now,
        "reason": reason,
        "message": message,
    }


def bootstrap(registry: Registry, count: int, pods: int) -> None:
    """Fill a new cluster: system namespaces, nodes of so many pods each, default roles."""
    # The simulator's own objects need no check of unknown fields at each start.
    options = WriteOptions("kube-apiserver", validation="Ignore")
    table = registry.table
    for name in _SYSTEM_NAMESPACES:
        _make(
            registry,
            options,
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}},
        )
    kubelet = WriteOptions("kubelet", validation="Ignore")
    for number in range(count):
        registry.create(table.of_storage("nodes"), "", node(number, pods), kubelet)
    marks = {"storageclass.kubernetes.io/is-default-class": "true"}
    _make(
        registry,
        options,
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": "standard", "annotations": marks},
            "provisioner": "rancher.io/local-path",
            "allowVolumeExpansion": True,
        },
    )
    rules = [
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
        {"nonResourceURLs": ["*"], "verbs": ["*"]},
    ]
    for name, allowed in (
        ("cluster-admin", rules),
        ("view", _view()),
        ("edit", [{**_view()[0], "verbs": ["*"]}]),
    ):
        _make(
            registry,
            options,
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRole",
                "metadata": {"name": name},
                "rules": allowed,
            },
        )
    ports = [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}]
    spec = {"clusterIP": "10.96.0.1", "ports": ports}
    _make(
        registry,
        options,
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "kubernetes", "namespace": "default"},
            "spec": spec,
        },
    )


def _view() -> list[Object]:
    groups = [
        "",
        "apps",
        "batch",
        "networking.k8s.io",
        "policy",
        "autoscaling",
        "discovery.k8s.io",
    ]
    return [
        {
            "apiGroups": groups,
            "resources": ["*"],
            "verbs": ["get", "list", "watch"],
        }
    ]


def _make(registry: Registry, options: WriteOptions, obj: Object) -> None:
    resource = registry.table.of_kind(obj["apiVersion"], obj["kind"])
    if resource is not None:
        registry.create(resource, obj["metadata"].get("namespace", ""), obj, options)
