"""A directed graph of objects: vertices by id, edges with what they mean, and the part of it around one object."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from clusters.kinds import KINDS
from clusters.manifests import Object

# From where requests come in to where things run and lie.
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
# What many share: it belongs to an application, but what else uses it does not.
SHARED = frozenset({"nodes", "configmaps", "secrets", "persistentvolumes"})


@dataclass(slots=True)
class Vertex:
    """One object; `presence` is found, missing (named by another but not there) or unread (not looked at)."""

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
        """Where it stands between entry and node."""
        return LAYERS[self.plural]

    @property
    def kind(self) -> str:
        """Its kind's name."""
        return KINDS[self.plural].name


@dataclass(frozen=True, slots=True)
class Edge:
    """One object leads to another; ids of vertices."""

    source: str
    target: str
    relation: str


@dataclass(slots=True)
class Graph:
    """Vertices by id in the order they were found, and edges, each once."""

    vertices: dict[str, Vertex] = field(default_factory=dict)
    edges: dict[tuple[str, str], Edge] = field(default_factory=dict)

    def add(self, vertex: Vertex) -> Vertex:
        """The vertex of that id; the first one stays."""
        return self.vertices.setdefault(vertex.id, vertex)

    def join(self, source: str, target: str, relation: str) -> None:
        """An edge between two ids; what it meant first stays."""
        self.edges.setdefault((source, target), Edge(source, target, relation))

    def around(self, focus: str) -> "Graph":
        """What the focus leads to, and what leads to any of that: not what else those lead to, nor through what many share."""
        down, up = defaultdict(list), defaultdict(list)
        for source, target in self.edges:
            down[source].append(target)
            up[target].append(source)
        below = _reached([focus], down)
        own = [one for one in below if one == focus or self.vertices[one].plural not in SHARED]
        return self.only(_reached(own, up) | below)

    def only(self, ids: Iterable[str]) -> "Graph":
        """The graph of these vertices and the edges between them."""
        kept = {one: vertex for one, vertex in self.vertices.items() if one in set(ids)}
        return Graph(
            kept,
            {
                pair: edge
                for pair, edge in self.edges.items()
                if pair[0] in kept and pair[1] in kept
            },
        )


def _reached(start: Iterable[str], onward: dict[str, list[str]]) -> set[str]:
    seen, waiting = set(start), list(start)
    while waiting:
        for one in onward.get(waiting.pop(), ()):
            if one not in seen:
                seen.add(one)
                waiting.append(one)
    return seen
