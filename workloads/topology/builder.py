"""The graph of a namespace, or of one object in it, out of what the lists say (from the store while it is fresh)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from clusters.kinds import KINDS, known_kind
from clusters.lists import ListQuery
from clusters.manifests import Object
from clusters.models import Cluster
from core.errors import Forbidden, Invalid, NotFound
from workloads.objects import services
from workloads.topology.graph import LAYERS, Edge, Graph, Vertex
from workloads.topology.references import (
    Reference,
    backends,
    configuration_references,
    controller_uid,
    mapping,
    mappings,
    pod_spec,
    scale_target,
    template_labels,
)

LIMIT = 2000
# Nobody stops people from writing owners that own each other.
DEPTH = 4
CONTROLLERS = ("deployments", "statefulsets", "daemonsets", "replicasets", "cronjobs", "jobs")
READ = (
    "ingresses",
    "services",
    "horizontalpodautoscalers",
    *CONTROLLERS,
    "pods",
    "configmaps",
    "persistentvolumeclaims",
)
SPEC = ("replicas", "paused", "suspend", "unschedulable", "type")
METADATA = ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp")


@dataclass(slots=True)
class NamespaceObjects:
    """The objects of a namespace by kind and name; kinds that could not be read, and whether some kind has more than was read."""

    name: str
    kinds: dict[str, dict[str, Object]] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    truncated: bool = False


def read_namespace(cluster: Cluster, namespace: str) -> NamespaceObjects:
    """All that the graph is made of."""
    found = NamespaceObjects(namespace)
    for plural in READ:
        try:
            listing = services.list_objects(
                cluster, KINDS[plural], ListQuery(namespace=namespace, size=LIMIT)
            )
        except (Forbidden, NotFound):
            # The cluster judges its callers itself, or is too old to serve this kind.
            found.refused.append(plural)
            continue
        items: list[Object] = [orjson.loads(item) for item in listing.items]
        found.kinds[plural] = {item["metadata"]["name"]: item for item in items}
        found.truncated = found.truncated or listing.total > len(items)
    return found


class GraphBuilder:
    """Makes the graph of what was read."""

    def __init__(self, found: NamespaceObjects) -> None:
        self._found, self.graph = found, Graph()
        self._by_uid: dict[str, tuple[str, Object]] = {
            item["metadata"].get("uid", ""): (plural, item)
            for plural in CONTROLLERS
            for item in found.kinds.get(plural, {}).values()
        }

    def draw(self) -> Graph:
        """The whole namespace. Configuration that nothing refers to is left out."""
        for plural in CONTROLLERS:
            for item in self._items(plural):
                self._controller(plural, item)
        for pod in self._items("pods"):
            self._pod(pod)
        for plural, draw in {
            "services": self._service,
            "ingresses": self._ingress,
            "horizontalpodautoscalers": self._scaler,
        }.items():
            for item in self._items(plural):
                draw(self._vertex(plural, item), item)
        return self.graph

    def _items(self, plural: str) -> Iterable[Object]:
        return self._found.kinds.get(plural, {}).values()

    def _vertex(self, plural: str, item: Object) -> Vertex:
        return self.graph.add(
            Vertex(plural, item["metadata"]["name"], self._found.name, "found", item)
        )

    def _top(self, plural: str, item: Object) -> tuple[str, Object]:
        """The workload that people know: the Deployment of a ReplicaSet, the CronJob of a Job, else the controller itself."""
        for _ in range(DEPTH):
            above = self._by_uid.get(controller_uid(item))
            if above is None:
                break
            plural, item = above
        return plural, item

    def _controller(self, plural: str, item: Object) -> None:
        top, workload = self._top(plural, item)
        if workload is item:
            vertex = self._vertex(plural, item)
            self._configured(vertex, configuration_references(pod_spec(plural, item)))
        elif plural == "jobs":
            self.graph.join(self._vertex(top, workload).id, self._vertex(plural, item).id, "owns")

    def _pod(self, pod: Object) -> None:
        vertex, above, known = (
            self._vertex("pods", pod),
            self._by_uid.get(controller_uid(pod)),
            set(),
        )
        if above is not None:
            plural, workload = above if above[0] == "jobs" else self._top(*above)
            self.graph.join(self._vertex(plural, workload).id, vertex.id, "owns")
            known = {(one.plural, one.name) for one in configuration_references(pod_spec(*above))}
        # What the template names is drawn from the workload; a pod adds what is its own, as claims of a StatefulSet are.
        own = [
            one
            for one in configuration_references(mapping(pod, "spec"))
            if (one.plural, one.name) not in known
        ]
        self._configured(vertex, [one for one in own if not _everywhere(one)])
        if node := mapping(pod, "spec").get("nodeName"):
            self.graph.join(
                vertex.id, self.graph.add(Vertex("nodes", str(node), "", "unread")).id, "runs on"
            )

    def _configured(self, vertex: Vertex, references: Iterable[Reference]) -> None:
        for one in references:
            found = self._named(one)
            if found is None:
                continue
            self.graph.join(vertex.id, found.id, one.relation)
            volume = (
                mapping(found.item, "spec").get("volumeName")
                if one.plural == "persistentvolumeclaims"
                else None
            )
            if volume:
                self.graph.join(
                    found.id,
                    self.graph.add(Vertex("persistentvolumes", str(volume), "", "unread")).id,
                    "bound to",
                )

    def _named(self, one: Reference) -> Vertex | None:
        """The vertex that a reference means; None for something optional that is not there."""
        kept = self._found.kinds.get(one.plural)
        item = (kept or {}).get(one.name)
        if item is not None:
            return self._vertex(one.plural, item)
        known = kept is not None and not self._found.truncated
        if known and one.optional:
            return None
        return self.graph.add(
            Vertex(one.plural, one.name, self._found.name, "missing" if known else "unread")
        )

    def _service(self, vertex: Vertex, service: Object) -> None:
        selector = mapping(service, "spec", "selector")
        if not selector:
            return
        for pod in self._items("pods"):
            if selector.items() <= template_labels("pods", pod).items():
                above = self._by_uid.get(controller_uid(pod))
                plural, workload = ("pods", pod) if above is None else self._top(*above)
                self.graph.join(vertex.id, self._vertex(plural, workload).id, "selects")
        # A workload without pods is behind the Service all the same.
        for one in [
            one
            for one in self.graph.vertices.values()
            if one.layer == "workload" and one.plural != "jobs"
        ]:
            if selector.items() <= template_labels(one.plural, one.item).items():
                self.graph.join(vertex.id, one.id, "selects")

    def _ingress(self, vertex: Vertex, ingress: Object) -> None:
        self._configured(vertex, backends(ingress))
        for tls in mappings(mapping(ingress, "spec").get("tls")):
            if isinstance(tls.get("secretName"), str) and tls["secretName"]:
                self._configured(vertex, [Reference("secrets", tls["secretName"], "reads")])

    def _scaler(self, vertex: Vertex, scaler: Object) -> None:
        kind, name = scale_target(scaler)
        plural = next((one for one in CONTROLLERS if KINDS[one].name == kind), "")
        if plural:
            self._configured(vertex, [Reference(plural, name, "scales")])

    def focus(self, kind: str, name: str) -> str:
        """The id of the vertex that is meant: for a ReplicaSet of a Deployment the Deployment, which stands for it."""
        identity, item = f"{kind}/{name}", self._found.kinds.get(kind, {}).get(name)
        if identity not in self.graph.vertices and item is not None:
            identity = self._vertex(
                *(self._top(kind, item) if kind in CONTROLLERS else (kind, item))
            ).id
        if identity not in self.graph.vertices:
            raise NotFound(
                f"{kind} {name!r} is not in namespace {self._found.name!r}", reason="NotFound"
            )
        return identity


def _everywhere(one: Reference) -> bool:
    """What Kubernetes puts into every pod says nothing about an application."""
    return one.plural == "configmaps" and one.name == "kube-root-ca.crt"


def build_topology(cluster: Cluster, namespace: str, *, kind: str = "", name: str = "") -> Object:
    """{"nodes","edges","refused","truncated"}: of the namespace, or of what belongs to one object in it (else NotFound)."""
    if bool(kind) != bool(name):
        raise Invalid("kind and name go together", field="kind" if name else "name")
    if known := known_kind(kind):
        kind = known.plural
    if kind and kind not in LAYERS:
        raise Invalid(f"kind must be one of {', '.join(LAYERS)}", field="kind")
    found = read_namespace(cluster, namespace)
    drawing = GraphBuilder(found)
    graph = drawing.draw()
    if kind:
        graph = graph.around(drawing.focus(kind, name))
    return {
        "nodes": [_shown(vertex) for vertex in graph.vertices.values()],
        "edges": [_line(edge) for edge in graph.edges.values()],
        "refused": found.refused,
        "truncated": found.truncated,
    }


def _line(edge: Edge) -> Object:
    return {"from": edge.source, "to": edge.target, "relation": edge.relation}


def _shown(vertex: Vertex) -> Object:
    return {
        "id": vertex.id,
        "layer": vertex.layer,
        "kind": vertex.kind,
        "plural": vertex.plural,
        "name": vertex.name,
        "namespace": vertex.namespace,
        "presence": vertex.presence,
        "object": _essence(vertex.item),
    }


def _essence(item: Mapping[str, Any]) -> Object:
    """What tells how an object is doing: names, times, wanted numbers, images, status."""
    if not item:
        return {}
    metadata, spec = mapping(item, "metadata"), mapping(item, "spec")
    containers = [
        {"name": one.get("name"), "image": one.get("image")}
        for one in mappings(spec.get("containers"))
    ]
    return {
        "metadata": {name: metadata[name] for name in METADATA if name in metadata},
        "spec": {
            **{name: spec[name] for name in SPEC if name in spec},
            **({"containers": containers} if containers else {}),
        },
        "status": mapping(item, "status"),
    }
