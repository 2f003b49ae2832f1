"""What belongs together, as a graph: /topology."""

from typing import Any

from rest_framework.request import Request

from kubegale.api.auth import Act, authorise
from kubegale.api.dialect import DialectView
from kubegale.api.schema import BOOLEAN, CLUSTER, OBJECT, TEXT, Described, Query, array, record
from kubegale.errors import Invalid
from workloads.api.objects import Target
from workloads.topology.graph import LAYERS
from workloads.topology.services import topology

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
    """GET /topology: Ingress, Service, workload, pods, node, configuration and volumes of a namespace or around one object."""

    operations = {
        "get": Described(
            "What belongs together in a namespace",
            record(nodes=array(VERTEX), edges=array(EDGE), refused=array(TEXT), truncated=BOOLEAN),
            query=(
                CLUSTER,
                Query("namespace", TEXT, required=True),
                Query(
                    "kind",
                    {"type": "string", "enum": list(LAYERS)},
                    description="With `name`: only what belongs to this object.",
                ),
                Query("name", TEXT),
            ),
        )
    }

    def get(self, request: Request) -> Any:
        """{"nodes","edges","refused","truncated"}; `missing` ones are named by others but not there, `unread` ones were not looked at."""
        target = Target(self, request)
        authorise(self, request, Act("topology", "pods", "", target.cluster_text, target.namespace))
        target.check()
        if not target.namespace:
            raise Invalid("namespace is required", field="namespace")
        return topology(
            target.cluster(),
            target.namespace,
            kind=target.option("kind"),
            name=target.option("name"),
        )
