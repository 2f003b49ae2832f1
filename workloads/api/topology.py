"""What belongs together, as a graph: /topology."""

from typing import Any

from rest_framework.request import Request

from clusters.kinds import lookup_kind
from core.api.auth import AccessAttributes, authorise
from core.api.dialect import DialectView
from core.api.schema import (
    BOOLEAN,
    CLUSTER,
    OBJECT,
    TEXT,
    OperationSchema,
    QueryParameter,
    array,
    record,
)
from core.errors import Invalid
from workloads.api.request_target import RequestTarget
from workloads.topology.builder import build_topology
from workloads.topology.graph import LAYERS

PRESENCE = {"type": "string", "enum": ["found", "missing", "unread"]}
LAYER = {"type": "string", "enum": sorted(set(LAYERS.values()))}
VERTEX = record(
    id=TEXT,
    layer=LAYER,
    kind=TEXT,
    plural=TEXT,
    name=TEXT,
    namespace=TEXT,
    presence=PRESENCE,
    object=OBJECT,
)
EDGE = record(**{"from": TEXT, "to": TEXT, "relation": TEXT})


class TopologyView(DialectView):
    """GET /topology: what belongs together in a namespace, or around one object in it.

    Ingresses, Services, workloads, pods, nodes, configuration and volumes.
    """

    operations = {
        "get": OperationSchema(
            "What belongs together in a namespace",
            record(
                nodes=array(VERTEX),
                edges=array(EDGE),
                refused=array(TEXT),
                truncated=BOOLEAN,
            ),
            query=(
                CLUSTER,
                QueryParameter("namespace", TEXT, required=True),
                QueryParameter(
                    "kind",
                    {"type": "string", "enum": list(LAYERS)},
                    description="With `name`: only what belongs to this object.",
                ),
                QueryParameter("name", TEXT),
                QueryParameter(
                    "kinds",
                    TEXT,
                    description="Comma list of plurals: only these, and what connects them.",
                ),
            ),
        )
    }

    def get(self, request: Request) -> Any:
        """{"nodes","edges","refused","truncated"}.

        A node's `presence` is found, missing (others refer to it, but it does not exist) or unread
        (not looked at).
        """
        target = RequestTarget(self, request)
        authorise(
            self,
            request,
            AccessAttributes(
                "topology",
                "pods",
                "",
                target.cluster_text,
                target.namespace,
            ),
        )
        target.check()
        if not target.namespace:
            raise Invalid("namespace is required", field="namespace")
        kinds = _kinds(target.option("kinds"))
        graph = build_topology(
            target.cluster(),
            target.namespace,
            kind=target.option("kind"),
            name=target.option("name"),
        )
        return _reduce_graph(graph, kinds) if kinds else graph


def _kinds(text: str) -> frozenset[str]:
    """The plurals of a comma list; Invalid for a kind that is in no graph."""
    plurals = []
    for word in filter(None, (part.strip() for part in text.split(","))):
        kind = lookup_kind(word)
        plurals.append(kind.plural if kind else word)
    kinds = frozenset(plurals)
    if unknown := kinds - set(LAYERS):
        raise Invalid(
            f"kinds knows {', '.join(LAYERS)}, not {min(unknown)[:100]}",
            field="kinds",
        )
    return kinds


def _reduce_graph(graph: dict[str, Any], kinds: frozenset[str]) -> dict[str, Any]:
    """The graph's vertices of some kinds and the edges between them."""
    vertices = [vertex for vertex in graph["nodes"] if vertex["plural"] in kinds]
    # An edge needs both of its ends.
    ids = {vertex["id"] for vertex in vertices}
    edges = [edge for edge in graph["edges"] if {edge["from"], edge["to"]} <= ids]
    return {**graph, "nodes": vertices, "edges": edges}
