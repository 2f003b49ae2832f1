"""What pods request, what limits them and what they use, summed by node, namespace or workload.

The numbers of a cluster are computed at most once in USAGE_CACHE_SECONDS and shared by everybody
who may see them; callers narrow them to what they may see.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec
from django.conf import settings
from django.core.cache import cache

from clusters.kinds import KINDS
from clusters.lists import ListQuery
from clusters.models import Cluster
from clusters.quantities import number
from core.errors import ClusterUnavailable, Forbidden, Invalid
from workloads.metrics import metrics_sources
from workloads.metrics.metrics_sources import Measurements, ResourceUsage
from workloads.objects import lists

log = logging.getLogger(__name__)
RESOURCES = ("cpu", "memory")
UNMEASURED = ResourceUsage()
FINISHED_PHASES = frozenset({"Succeeded", "Failed"})
# Kinds whose pods name them as their controller; Deployments control through a ReplicaSet.
CONTROLLERS = ("statefulsets", "daemonsets", "replicasets", "jobs")
WORKLOADS = ("deployments", *CONTROLLERS)
# What the numbers of pods may be summed by.
GROUPINGS = ("pods", "nodes", "namespaces", *WORKLOADS)
HASH_LABEL = "pod-template-hash"
MAX_PODS = 1_000_000

Quantities = dict[str, str | int | float]


class _Resources(msgspec.Struct):
    requests: Quantities | None = None
    limits: Quantities | None = None


class _Container(msgspec.Struct, rename="camel"):
    resources: _Resources | None = None
    restart_policy: str = ""


class _Spec(msgspec.Struct, rename="camel"):
    containers: list[_Container] = []
    init_containers: list[_Container] | None = None
    resources: _Resources | None = None
    overhead: Quantities | None = None
    node_name: str = ""


class _Owner(msgspec.Struct):
    kind: str = ""
    name: str = ""
    controller: bool = False


class _Metadata(msgspec.Struct, rename="camel"):
    name: str
    namespace: str = ""
    labels: dict[str, str] | None = None
    owner_references: list[_Owner] | None = None


class _Status(msgspec.Struct):
    phase: str = ""


class _Pod(msgspec.Struct):
    metadata: _Metadata
    spec: _Spec = msgspec.field(default_factory=_Spec)
    status: _Status = msgspec.field(default_factory=_Status)


# Decodes the few members that count: a cluster may have many thousand pods.
_PODS = msgspec.json.Decoder(_Pod)


class PodResources(msgspec.Struct, array_like=True):
    """One pod's numbers in cores and bytes; None is what is not set, or not measured.

    `controllers` are (plural, name) of what made the pod: of a ReplicaSet, its Deployment as well.
    `requests` and `limits` are those that the scheduler counts, none for a pod that has ended.
    """

    namespace: str
    name: str
    node: str
    controllers: list[tuple[str, str]]
    requests: dict[str, float]
    limits: dict[str, float]
    used: dict[str, float]


class ClusterResources(msgspec.Struct, array_like=True):
    """Every pod's numbers, the use of nodes by name, and where the use was measured."""

    source: str
    pods: list[PodResources]
    nodes: dict[str, dict[str, float]]


class ResourceSum(msgspec.Struct):
    """Numbers of some pods together, by resource; a resource that no pod has is left out."""

    pods: int = 0
    requests: dict[str, float] = msgspec.field(default_factory=dict)
    limits: dict[str, float] = msgspec.field(default_factory=dict)
    used: dict[str, float] = msgspec.field(default_factory=dict)

    def add(self, pod: PodResources) -> None:
        """Add one pod's numbers."""
        self.pods += 1
        for own, more in (
            (self.requests, pod.requests),
            (self.limits, pod.limits),
            (self.used, pod.used),
        ):
            for resource, value in more.items():
                own[resource] = own.get(resource, 0.0) + value


def read_resources(cluster: Cluster) -> ClusterResources:
    """Every pod's numbers in a cluster, at most USAGE_CACHE_SECONDS old.

    Forbidden when the cluster's credentials may not list pods. Without a metrics source, or when
    it does not answer, `source` is none and nothing is used.
    """
    # Such clusters check each caller's rights themselves: one's answer is not another's.
    if cluster.impersonate:
        return _compute(cluster)
    key = f"pod-resources:{cluster.pk}"
    stored = cache.get(key)
    if stored is not None:
        return msgspec.msgpack.decode(stored, type=ClusterResources)
    resources = _compute(cluster)
    cache.set(key, msgspec.msgpack.encode(resources), settings.USAGE_CACHE_SECONDS)
    return resources


def _compute(cluster: Cluster) -> ClusterResources:
    listing = lists.list_objects(cluster, KINDS["pods"], ListQuery(size=MAX_PODS))
    pods = _measure(cluster, metrics_sources.pod_usage)
    nodes = _measure(cluster, metrics_sources.node_usage)
    return ClusterResources(
        pods.source if pods.usage else nodes.source,
        [_pod_resources(pod, pods.usage) for pod in _decoded(listing.items)],
        {name: _used(usage) for name, usage in nodes.usage.items()},
    )


def _measure(cluster: Cluster, read: Callable[[Cluster], Measurements]) -> Measurements:
    try:
        return read(cluster)
    except (Forbidden, ClusterUnavailable) as error:
        # Requests and limits are known all the same.
        log.info("no usage of cluster %s: %s", cluster.pk, error.message)
        return Measurements("none")


def _decoded(items: Iterable[bytes]) -> Iterator[_Pod]:
    for item in items:
        try:
            yield _PODS.decode(item)
        except msgspec.ValidationError:
            # What no API server would have accepted is left out, not the whole cluster with it.
            continue


def _used(usage: ResourceUsage) -> dict[str, float]:
    values = {"cpu": usage.cpu, "memory": usage.memory}
    return {resource: value for resource, value in values.items() if value is not None}


def _pod_resources(pod: _Pod, usage: Mapping[str, ResourceUsage]) -> PodResources:
    metadata = pod.metadata
    runs = pod.status.phase not in FINISHED_PHASES
    return PodResources(
        metadata.namespace,
        metadata.name,
        pod.spec.node_name,
        list(_controllers(metadata)),
        _scheduled(pod.spec, "requests") if runs else {},
        _scheduled(pod.spec, "limits") if runs else {},
        _used(usage.get(f"{metadata.namespace}/{metadata.name}", UNMEASURED)),
    )


_PLURAL_OF_KIND = {KINDS[plural].name: plural for plural in CONTROLLERS}


def _controllers(metadata: _Metadata) -> Iterator[tuple[str, str]]:
    for owner in metadata.owner_references or []:
        plural = _PLURAL_OF_KIND.get(owner.kind)
        if not owner.controller or plural is None:
            continue
        yield plural, owner.name
        # The Deployment controller names its ReplicaSets by itself and the hash of the template.
        ending = f"-{(metadata.labels or {}).get(HASH_LABEL, '')}"
        if plural == "replicasets" and len(ending) > 1 and owner.name.endswith(ending):
            yield "deployments", owner.name.removesuffix(ending)


def _scheduled(spec: _Spec, side: str) -> dict[str, float]:
    """What the scheduler counts of a pod: see resourcehelper.PodRequests in Kubernetes.

    Containers run together with sidecars; other init containers run before them, one by one.
    """
    sums: dict[str, float] = {}
    for resource in RESOURCES:
        values = [_quantity(container.resources, side, resource) for container in spec.containers]
        sidecars = 0.0
        peak = 0.0
        for container in spec.init_containers or []:
            value = _quantity(container.resources, side, resource)
            values.append(value)
            if container.restart_policy == "Always":
                sidecars += value or 0.0
                peak = max(peak, sidecars)
            else:
                peak = max(peak, sidecars + (value or 0.0))
        main = sum(value or 0.0 for value in values[: len(spec.containers)])
        total = max(main + sidecars, peak)
        # Resources of the pod as a whole replace those of its containers.
        whole = _quantity(spec.resources, side, resource)
        if whole is not None:
            total = whole
        elif all(value is None for value in values):
            continue
        sums[resource] = total + number((spec.overhead or {}).get(resource))
    return sums


def _quantity(resources: _Resources | None, side: str, resource: str) -> float | None:
    quantities: Quantities | None = getattr(resources, side, None)
    text = (quantities or {}).get(resource)
    return None if text is None else number(text)


def sum_resources(
    resources: ClusterResources,
    grouping: str,
    namespaces: frozenset[str] | None = None,
) -> dict[str, ResourceSum]:
    """The numbers by `namespace/name` (`name` for nodes and namespaces), by one of GROUPINGS.

    Only of pods in `namespaces`; None is all. Invalid for an unknown grouping.
    """
    keys = _key_function(grouping)
    sums: dict[str, ResourceSum] = {}
    for pod in resources.pods:
        if namespaces is not None and pod.namespace not in namespaces:
            continue
        for key in keys(pod):
            sums.setdefault(key, ResourceSum()).add(pod)
    if grouping == "nodes":
        # A node uses more than its pods do: what it measured itself counts.
        for name, used in resources.nodes.items():
            sums.setdefault(name, ResourceSum()).used = dict(used)
    return sums


def _key_function(grouping: str) -> Callable[[PodResources], Iterable[str]]:
    if grouping not in GROUPINGS:
        raise Invalid(f"by must be one of {', '.join(GROUPINGS)}", field="by")
    if grouping == "pods":
        return lambda pod: (f"{pod.namespace}/{pod.name}",)
    if grouping == "namespaces":
        return lambda pod: (pod.namespace,)
    if grouping == "nodes":
        return lambda pod: (pod.node,) if pod.node else ()
    return lambda pod: [
        f"{pod.namespace}/{name}" for plural, name in pod.controllers if plural == grouping
    ]


def rank_by_use(cluster: Cluster, plural: str, resource: str) -> dict[str, float]:
    """How much of "cpu" or "memory" each object uses, by `namespace/name`; `/name` without one."""
    sums = sum_resources(read_resources(cluster), plural)
    prefix = "" if KINDS[plural].namespaced else "/"
    return {
        f"{prefix}{key}": total.used[resource]
        for key, total in sums.items()
        if resource in total.used
    }


def describe_sum(total: ResourceSum) -> dict[str, Any]:
    """The numbers as the API gives them: cores rounded to millionths, whole bytes."""
    sides = {"used": total.used, "request": total.requests, "limit": total.limits}
    cpu = {
        f"{side}_cores": round(values["cpu"], 6) if "cpu" in values else None
        for side, values in sides.items()
    }
    memory = {
        f"{side}_bytes": round(values["memory"]) if "memory" in values else None
        for side, values in sides.items()
    }
    return {"pods": total.pods, "cpu": cpu, "memory": memory}
