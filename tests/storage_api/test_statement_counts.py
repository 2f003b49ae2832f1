"""How many SQL statements the main reads cost: few, and as many for many clusters as for one."""

from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from clusters.models import Cluster
from simcluster.testing import RunningCluster
from storage_api.services import bulk
from storage_api.services.bulk import WriteRecord
from storage_api.services.resources import Key
from tests.caller import Caller
from tests.storage_api.test_multicluster import fill, thing

pytestmark = pytest.mark.usefixtures("emptied")


def statements(caller: Caller, path: str, **query: Any) -> Sequence[str]:
    """The statements of a request after the first, which fills the process's caches."""
    assert caller.code("GET", path, **query) == 0
    with CaptureQueriesContext(connection) as queries:
        answer = caller("GET", path, **query)
    assert answer["code"] == 0, answer
    return [query["sql"] for query in queries.captured_queries]


def about_store(found: Sequence[str]) -> list[str]:
    """Those that read what is collected, or which clusters there are; not who is calling."""
    return [text for text in found if "storage_" in text or "clusters_cluster" in text]


def add_pod(cluster: Cluster, name: str) -> None:
    """A pod as the collector writes it."""
    kind, body = thing("Pod", name, "shop")
    record = WriteRecord(
        Key(cluster.name, kind, "shop", name), orjson.dumps(body), omitted=b'{"managedFields":[]}'
    )
    bulk.write([record])


@pytest.mark.parametrize(
    ("path", "query", "most"),
    [
        ("pods", {}, 2),
        ("pods", {"namespace": "shop", "orderby": "-created"}, 2),
        ("pods/web", {"namespace": "shop"}, 2),
        ("multicluster/search", {"q": "we"}, 3),
        ("multicluster/search", {"q": "we", "total": "true"}, 4),
        ("multicluster/overview", {}, 4),
        ("multicluster/resources/pods", {}, 4),
    ],
)
def test_reads_out_of_the_store_cost_few_statements(
    admin: Caller, path: str, query: dict[str, Any], most: int
) -> None:
    first = fill("first", [])
    add_pod(first, "web")
    target = {} if path.startswith("multicluster") else {"cluster_id": first.pk}
    alone = about_store(statements(admin, path, **target, **query))
    for number in range(4):
        add_pod(fill(f"other-{number}", []), "web")
    among_others = about_store(statements(admin, path, **target, **query))
    # One more each where the process's cache of clusters may not be trusted at that moment.
    assert len(alone) <= most, "\n".join(alone)
    assert len(among_others) <= most, "\n".join(among_others)


@pytest.mark.parametrize(
    ("path", "query", "most"),
    [
        ("history", {"kind": "configmaps", "name": "many", "namespace": "counted"}, 9),
        ("topology", {"namespace": "counted"}, 13),
        ("events", {"namespace": "counted"}, 3),
    ],
)
def test_the_length_of_an_answer_costs_no_statements(
    admin: Caller,
    cluster: Cluster,
    apiserver: RunningCluster,
    path: str,
    query: dict[str, Any],
    most: int,
) -> None:
    def add(number: int) -> None:
        body = {
            "kind": "ConfigMap",
            "metadata": {"name": "many", "namespace": "counted", "uid": "u"},
            "data": {"n": str(number)},
        }
        key = Key(cluster.name, "ConfigMap", "counted", "many")
        bulk.write([WriteRecord(key, orjson.dumps(body))])

    apiserver.load("configmaps", [{"metadata": {"name": "many", "namespace": "counted"}}])
    add(0)
    short = statements(admin, path, cluster_id=cluster.pk, **query)
    for number in range(1, 6):
        add(number)
    long = statements(admin, path, cluster_id=cluster.pk, **query)
    assert len(about_store(short)) <= most, "\n".join(about_store(short))
    # Five more versions of the object, and no more statements.
    assert len(about_store(long)) <= most, "\n".join(about_store(long))
