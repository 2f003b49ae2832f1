"""The graph of a namespace, or around one object in it, from lists of its objects.

The lists come from the store while its copy is fresh.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from clusters.kinds import KINDS, lookup_kind
from clusters.lists import ListQuery
from clusters.manifests import Object
from clusters.models import Cluster
from core.errors import Forbidden, Invalid, NotFound
from workloads.objects import lists
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
# Owner references may form a circle: the API server does not check them.
MAX_OWNER_DEPTH = 4
CONTROLLERS = (
    "deployments",
    "statefulsets",
    "daemonsets",
    "replicasets",
    "cronjobs",
    "jobs",
)
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
METADATA = (
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
)


@dataclass(slots=True)
class NamespaceObjects:
    """The objects of a namespace by kind and name.

    `refused` are the kinds that could not be read; `truncated` is true when a kind has more
    objects than were read.
    """

    name: str
    kinds: dict[str, dict[str, Object]] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    truncated: bool = False


def read_namespace(cluster: Cluster, namespace: str) -> NamespaceObjects:
    """All objects that the graph is made of."""
    objects = NamespaceObjects(namespace)
    query = ListQuery(namespace=namespace, size=LIMIT)
    for plural in READ:
        try:
            listing = lists.list_objects(cluster, KINDS[plural], query)
        except (Forbidden, NotFound):
            # The caller may not list this kind, or the cluster is too old for it.
            objects.refused.append(plural)
            continue
        items: list[Object] = [orjson.loads(item) for item in listing.items]
        objects.kinds[plural] = _by_name(items)
        objects.truncated = objects.truncated or listing.total > len(items)
    return objects


def _by_name(items: Iterable[Object]) -> dict[str, Object]:
    """Objects by their names, without what an agent has stored that is no object of Kubernetes."""
    named: dict[str, Object] = {}
    for item in items:
        name = mapping(item, "metadata").get("name")
        if isinstance(name, str):
            named[name] = item
    return named


class GraphBuilder:
    """Builds the graph of a namespace's objects."""

    def __init__(self, objects: NamespaceObjects) -> None:
        self._objects = objects
        self.graph = Graph()
        # (plural, object) of each controller by uid, to look up the owners of pods and others.
        self._controllers: dict[str, tuple[str, Object]] = {}
        for plural in CONTROLLERS:
            for item in objects.kinds.get(plural, {}).values():
                self._controllers[item["metadata"].get("uid", "")] = (
                    plural,
                    item,
                )

    def build(self) -> Graph:
        """The graph of the whole namespace, without configuration that nothing refers to."""
        for plural in CONTROLLERS:
            for item in self._items(plural):
                self._add_controller(plural, item)
        for pod in self._items("pods"):
            self._add_pod(pod)
        # After workloads and pods: these refer to what is in the graph by now.
        for service in self._items("services"):
            self._add_service(self._add_vertex("services", service), service)
        for ingress in self._items("ingresses"):
            self._add_ingress(self._add_vertex("ingresses", ingress), ingress)
        for scaler in self._items("horizontalpodautoscalers"):
            self._add_scaler(
                self._add_vertex("horizontalpodautoscalers", scaler),
                scaler,
            )
        return self.graph

    def _items(self, plural: str) -> Iterable[Object]:
        return self._objects.kinds.get(plural, {}).values()

    def _add_vertex(self, plural: str, item: Object) -> Vertex:
        name = item["metadata"]["name"]
        return self.graph.add(Vertex(plural, name, self._objects.name, "found", item))

    def _top_workload(self, plural: str, item: Object) -> tuple[str, Object]:
        """(plural, object) of the workload that people work with.

        The Deployment of a ReplicaSet, the CronJob of a Job, else the controller itself.
        """
        for _ in range(MAX_OWNER_DEPTH):
            owner = self._controllers.get(controller_uid(item))
            if owner is None:
                break
            plural, item = owner
        return plural, item

    def _add_controller(self, plural: str, item: Object) -> None:
        top_plural, workload = self._top_workload(plural, item)
        if workload is item:
            vertex = self._add_vertex(plural, item)
            self._add_references(
                vertex,
                configuration_references(pod_spec(plural, item)),
            )
        elif plural == "jobs":
            # Runs of a CronJob have vertices of their own; ReplicaSets do not.
            owner = self._add_vertex(top_plural, workload)
            self.graph.join(owner.id, self._add_vertex(plural, item).id, "owns")

    def _add_pod(self, pod: Object) -> None:
        vertex = self._add_vertex("pods", pod)
        template_references = set()
        owner = self._controllers.get(controller_uid(pod))
        if owner is not None:
            plural, workload = owner if owner[0] == "jobs" else self._top_workload(*owner)
            self.graph.join(
                self._add_vertex(plural, workload).id,
                vertex.id,
                "owns",
            )
            for reference in configuration_references(pod_spec(*owner)):
                template_references.add((reference.plural, reference.name))
        # What the template refers to hangs on the workload; on the pod only what is its own, such
        # as the claims of a StatefulSet.
        own_references = [
            reference
            for reference in configuration_references(mapping(pod, "spec"))
            if (reference.plural, reference.name) not in template_references
            and not _is_in_every_pod(reference)
        ]
        self._add_references(vertex, own_references)
        if node_name := mapping(pod, "spec").get("nodeName"):
            node = self.graph.add(Vertex("nodes", str(node_name), "", "unread"))
            self.graph.join(vertex.id, node.id, "runs on")

    def _add_references(self, vertex: Vertex, references: Iterable[Reference]) -> None:
        for reference in references:
            target = self._referenced_vertex(reference)
            if target is None:
                continue
            self.graph.join(vertex.id, target.id, reference.relation)
            if reference.plural == "persistentvolumeclaims":
                self._add_volume(target)

    def _add_volume(self, claim: Vertex) -> None:
        """The PersistentVolume that a claim is bound to, when it is."""
        if volume_name := mapping(claim.item, "spec").get("volumeName"):
            volume = self.graph.add(
                Vertex(
                    "persistentvolumes",
                    str(volume_name),
                    "",
                    "unread",
                )
            )
            self.graph.join(claim.id, volume.id, "bound to")

    def _referenced_vertex(self, reference: Reference) -> Vertex | None:
        """The vertex that a reference means; None for an optional object that does not exist."""
        items = self._objects.kinds.get(reference.plural)
        item = (items or {}).get(reference.name)
        if item is not None:
            return self._add_vertex(reference.plural, item)
        # Only a complete list of the kind tells that the object does not exist.
        is_missing = items is not None and not self._objects.truncated
        if is_missing and reference.optional:
            return None
        presence = "missing" if is_missing else "unread"
        return self.graph.add(
            Vertex(
                reference.plural,
                reference.name,
                self._objects.name,
                presence,
            )
        )

    def _add_service(self, vertex: Vertex, service: Object) -> None:
        selector = mapping(service, "spec", "selector")
        if not selector:
            return
        for pod in self._items("pods"):
            if selector.items() <= template_labels("pods", pod).items():
                owner = self._controllers.get(controller_uid(pod))
                plural, workload = ("pods", pod) if owner is None else self._top_workload(*owner)
                self.graph.join(
                    vertex.id,
                    self._add_vertex(plural, workload).id,
                    "selects",
                )
        # A workload without pods is behind the Service all the same.
        for workload_vertex in self._workload_vertices():
            labels = template_labels(workload_vertex.plural, workload_vertex.item)
            if selector.items() <= labels.items():
                self.graph.join(vertex.id, workload_vertex.id, "selects")

    def _workload_vertices(self) -> list[Vertex]:
        return [
            vertex
            for vertex in self.graph.vertices.values()
            if vertex.layer == "workload" and vertex.plural != "jobs"
        ]

    def _add_ingress(self, vertex: Vertex, ingress: Object) -> None:
        self._add_references(vertex, backends(ingress))
        for tls in mappings(mapping(ingress, "spec").get("tls")):
            secret_name = tls.get("secretName")
            if isinstance(secret_name, str) and secret_name:
                self._add_references(
                    vertex,
                    [Reference("secrets", secret_name, "reads")],
                )

    def _add_scaler(self, vertex: Vertex, scaler: Object) -> None:
        kind_name, name = scale_target(scaler)
        for plural in CONTROLLERS:
            if KINDS[plural].name == kind_name:
                self._add_references(vertex, [Reference(plural, name, "scales")])
                return

    def find_focus(self, plural: str, name: str) -> str:
        """The id of an object's vertex; NotFound when the object is not in the namespace.

        A ReplicaSet of a Deployment is represented by the Deployment.
        """
        vertex_id = f"{plural}/{name}"
        if vertex_id in self.graph.vertices:
            return vertex_id
        item = self._objects.kinds.get(plural, {}).get(name)
        if item is None:
            raise NotFound(
                f"{plural} {name!r} is not in namespace {self._objects.name!r}",
                reason="NotFound",
            )
        if plural in CONTROLLERS:
            plural, item = self._top_workload(plural, item)
        return self._add_vertex(plural, item).id


def _is_in_every_pod(reference: Reference) -> bool:
    """Whether Kubernetes puts it into every pod, so that it says nothing about an application."""
    return reference.plural == "configmaps" and reference.name == "kube-root-ca.crt"


def build_topology(
    cluster: Cluster,
    namespace: str,
    *,
    kind: str = "",
    name: str = "",
) -> Object:
    """{"nodes","edges","refused","truncated"} of a namespace, or around one object in it.

    NotFound when that object is not there, Invalid for a kind that is in no graph.
    """
    if bool(kind) != bool(name):
        raise Invalid(
            "kind and name go together",
            field="kind" if name else "name",
        )
    if table_kind := lookup_kind(kind):
        kind = table_kind.plural
    if kind and kind not in LAYERS:
        raise Invalid(f"kind must be one of {', '.join(LAYERS)}", field="kind")
    objects = read_namespace(cluster, namespace)
    builder = GraphBuilder(objects)
    graph = builder.build()
    if kind:
        graph = graph.neighbourhood(builder.find_focus(kind, name))
    return {
        "nodes": [_represent_vertex(vertex) for vertex in graph.vertices.values()],
        "edges": [_represent_edge(edge) for edge in graph.edges.values()],
        "refused": objects.refused,
        "truncated": objects.truncated,
    }


def _represent_edge(edge: Edge) -> Object:
    return {
        "from": edge.source,
        "to": edge.target,
        "relation": edge.relation,
    }


def _represent_vertex(vertex: Vertex) -> Object:
    return {
        "id": vertex.id,
        "layer": vertex.layer,
        "kind": vertex.kind,
        "plural": vertex.plural,
        "name": vertex.name,
        "namespace": vertex.namespace,
        "presence": vertex.presence,
        "object": _summary(vertex.item),
    }


def _summary(item: Mapping[str, Any]) -> Object:
    """The parts of an object that tell its state: names, times, replicas, images, status."""
    if not item:
        return {}
    metadata = mapping(item, "metadata")
    spec = mapping(item, "spec")
    spec_summary = {name: spec[name] for name in SPEC if name in spec}
    containers = [
        {
            "name": container.get("name"),
            "image": container.get("image"),
        }
        for container in mappings(spec.get("containers"))
    ]
    if containers:
        spec_summary["containers"] = containers
    return {
        "metadata": {name: metadata[name] for name in METADATA if name in metadata},
        "spec": spec_summary,
        "status": mapping(item, "status"),
    }
