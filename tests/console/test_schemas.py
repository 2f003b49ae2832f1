"""The check against a cluster's schemas finds faults, and none where there are none."""

from typing import Any

import orjson
import pytest

from clusters.kinds import KINDS
from clusters.manifest_text import editable_object
from clusters.models import Cluster
from clusters.schema_check import find_faults, path_text
from simcluster.testing import RunningCluster
from tests.caller import Caller
from tests.console.conftest import Make
from tests.workloads.conftest import workload

SCHEMA = {
    "root": "Thing",
    "definitions": {
        "Thing": {
            "type": "object",
            "required": ["name"],
            "properties": {
                "name": {"type": "string"},
                "size": {"type": "integer"},
                "mode": {"type": "string", "enum": ["a", "b"]},
                "port": {"x-kubernetes-int-or-string": True},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "parts": {
                    "type": "array",
                    "items": {"allOf": [{"$ref": "#/components/schemas/Thing"}], "default": {}},
                },
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "loop": {"$ref": "#/components/schemas/Loop"},
            },
        },
        "Loop": {"$ref": "#/components/schemas/Loop"},
    },
}


@pytest.mark.parametrize(
    "document, expected",
    [
        (
            {
                "name": "x",
                "size": 1,
                "mode": "a",
                "port": "http",
                "labels": {"a.b/c": "d"},
                "free": {"any": 1},
                "loop": 3,
            },
            [],
        ),
        ({"name": "x", "size": None, "parts": None}, []),
        ({"name": "x", "size": "1"}, ["size"]),
        ({"name": "x", "size": True}, ["size"]),
        ({"name": "x", "labels": {"a.b/c": 1}}, ["labels.a.b/c"]),
        ({"name": "x", "mode": "c", "port": 80}, ["mode"]),
        ({"name": "x", "parts": [{"name": "y", "sise": 2}, {}]}, ["parts[0].sise", "parts[1]"]),
        ({"name": "x", "parts": {}}, ["parts"]),
        ("text", [""]),
    ],
)
def test_each_fault_is_found_at_its_path(document: Any, expected: list[str]) -> None:
    assert [path_text(fault.path) for fault in find_faults(document, SCHEMA)] == expected


def test_what_a_cluster_holds_fits_its_own_schemas(
    admin: Caller, cluster: Cluster, make: Make, apiserver: RunningCluster
) -> None:
    make("deployments", workload(), running=True)
    looked = 0
    for kind in KINDS.values():
        storage = f"{kind.plural}.{kind.group}" if kind.group else kind.plural
        query = {"cluster_id": cluster.pk, "api_version": kind.api_version, "kind": kind.name}
        answer = admin("GET", "schemas", **query)
        for item in apiserver.list(storage)[:20] if answer["code"] == 0 else ():
            found = find_faults(orjson.loads(orjson.dumps(editable_object(item))), answer["data"])
            assert found == [], (kind.name, item)
            looked += 1
    assert looked > 15
