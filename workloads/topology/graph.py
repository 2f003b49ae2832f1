"""A directed graph of objects, and the part of it around one object.

Vertices are looked up by id; each edge says what it means.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from clusters.kinds import KINDS
from clusters.manifests import Object

# From where requests come in to where pods run and data is stored.
LAYERS = {
    "ingresses": "entry",
    "services": "service",
    "horizontalpodautoscalers": "service",
    "deployments": "workload",
    "statefulsets": "workload",
    "daemonsets": "workload",
    "replicasets": "workload",
    "cronjobs": "workload",
    "jobs": "workload",
    "pods": "pod",
    "nodes": "node",
    "configmaps": "configuration",
    "secrets": "configuration",
    "persistentvolumeclaims": "storage",
    "persistentvolumes": "storage",
}
# Many applications share these: they belong to an application, but their other users do not.
SHARED = frozenset({"nodes", "configmaps", "secrets", "persistentvolumes"})


@dataclass(slots=True)
class Vertex:
    """One object.

    `presence` is found, missing (another object names it, but it does not exist) or unread (not
    looked at).
    """

    plural: str
    name: str
    namespace: str
    presence: str
    item: Object = field(default_factory=dict)

    @property
    def id(self) -> str:
        """`pods/web-1`: unique in a namespace."""
        return f"{self.plural}/{self.name}"

    @property
    def layer(self) -> str:
        """Its place between entry and node, one of the values of LAYERS."""
        return LAYERS[self.plural]

    @property
    def kind(self) -> str:
        """Its kind's name, such as Pod."""
        return KINDS[self.plural].name


@dataclass(frozen=True, slots=True)
class Edge:
    """One object leads to another; `source` and `target` are ids of vertices."""

    source: str
    target: str
    relation: str


@dataclass(slots=True)
class Graph:
    """Vertices by id in the order they were added, and edges, each once."""

    vertices: dict[str, Vertex] = field(default_factory=dict)
    edges: dict[tuple[str, str], Edge] = field(default_factory=dict)

    def add(self, vertex: Vertex) -> Vertex:
        """The vertex of that id; the first one stays."""
        return self.vertices.setdefault(vertex.id, vertex)

    def join(self, source: str, target: str, relation: str) -> None:
        """Add an edge between two ids; its first meaning stays."""
        self.edges.setdefault((source, target), Edge(source, target, relation))

    def neighbourhood(self, focus: str) -> "Graph":
        """What the focus leads to, and what leads to any of that.

        Not what else those lead to, and not what leads to shared objects: every application on a
        node would be in the graph otherwise.
        """
        targets: dict[str, list[str]] = defaultdict(list)
        sources: dict[str, list[str]] = defaultdict(list)
        for source, target in self.edges:
            targets[source].append(target)
            sources[target].append(source)
        below = _reachable([focus], targets)
        exclusive = [
            vertex_id
            for vertex_id in below
            if vertex_id == focus or self.vertices[vertex_id].plural not in SHARED
        ]
        return self.subgraph(_reachable(exclusive, sources) | below)

    def subgraph(self, ids: Iterable[str]) -> "Graph":
        """The graph of these vertices and the edges between them."""
        selected = set(ids)
        graph = Graph()
        for vertex_id, vertex in self.vertices.items():
            if vertex_id in selected:
                graph.vertices[vertex_id] = vertex
        for (source, target), edge in self.edges.items():
            if source in graph.vertices and target in graph.vertices:
                graph.edges[source, target] = edge
        return graph


def _reachable(start: Iterable[str], neighbours: Mapping[str, list[str]]) -> set[str]:
    """The ids that are reached from the start, itself included."""
    reached = set(start)
    queue = list(reached)
    while queue:
        for neighbour in neighbours.get(queue.pop(), ()):
            if neighbour not in reached:
                reached.add(neighbour)
                queue.append(neighbour)
    return reached
