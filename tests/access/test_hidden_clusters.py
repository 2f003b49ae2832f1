"""A cluster that a caller may not see answers as one that does not exist."""

import re

import pytest
from django.contrib.auth import get_user_model

from access import grants
from access.tokens import create_api_token
from clusters.models import Cluster
from tests.caller import Caller
from tests.storage_api.test_multicluster import fill

MISSING = 987_654
DOORS = (
    ("GET", "clusters/{cluster}", {}),
    ("GET", "clusters/{cluster}/namespaces", {}),
    ("GET", "clusters/{cluster}/sync", {}),
    ("PUT", "clusters/{cluster}", {}),
    ("DELETE", "clusters/{cluster}", {}),
    ("GET", "pods", {"cluster_id": "{cluster}"}),
    ("GET", "pods", {"cluster_id": "{cluster}", "namespace": "shop"}),
    ("GET", "pods/web", {"cluster_id": "{cluster}", "namespace": "shop"}),
    ("DELETE", "pods/web", {"cluster_id": "{cluster}", "namespace": "shop"}),
    ("GET", "nodes", {"cluster_id": "{cluster}"}),
    ("GET", "events", {"cluster_id": "{cluster}"}),
    ("GET", "resources/example.com/v1/gadgets", {"cluster_id": "{cluster}"}),
    ("GET", "metrics/cluster", {"cluster_id": "{cluster}"}),
    ("GET", "history", {"cluster_id": "{cluster}", "kind": "pods"}),
    ("GET", "alerts", {"cluster_id": "{cluster}"}),
    ("GET", "schemas", {"cluster_id": "{cluster}", "kind": "pods"}),
    ("GET", "topology", {"cluster_id": "{cluster}", "namespace": "shop"}),
    ("GET", "multicluster/resources/pods", {"clusters": "{cluster}"}),
    ("GET", "multicluster/events", {"clusters": "{cluster}"}),
)


@pytest.mark.parametrize("reach", ["cluster", "namespace", "token"])
def test_a_hidden_cluster_answers_as_a_missing_one(cluster: Cluster, reach: str) -> None:
    own = cluster
    hidden = fill("hidden", [])
    user = get_user_model().objects.create_user("member")
    # Somebody's own grants hide it, or the clusters that a token of theirs is for.
    grants.give(
        user=user,
        role=grants.Role.ADMIN if reach == "token" else grants.Role.OPERATOR,
        cluster="" if reach == "token" else str(own.pk),
        namespace="shop" if reach == "namespace" else "",
    )
    clusters = [str(own.pk)] if reach == "token" else []
    member = Caller(create_api_token(user, "t", clusters=clusters)[1])

    def answer(method: str, path: str, query: dict[str, str], pk: int) -> str:
        filled = {name: value.format(cluster=pk) for name, value in query.items()}
        body = {} if method == "PUT" else None
        response = member(method, path.format(cluster=pk), body, **filled)
        # The caller's own words come back: only the id may differ.
        return re.sub(rf"\b{pk}\b", "ID", str(response))

    assert not Cluster.objects.filter(pk=MISSING).exists()
    for method, path, query in DOORS:
        both = {answer(method, path, query, pk) for pk in (hidden.pk, MISSING)}
        assert len(both) == 1, (method, path, both)
    rule = {
        "name": "r",
        "source": "state",
        "condition": {"kind": "Pod", "where": [{"path": "metadata.name", "value": "a"}]},
    }
    task = {"name": "t", "type": "restart", "params": {"kind": "deployments"}}
    for path, facts, key in (
        ("pods", {"content": {}}, "cluster_id"),
        ("manifests/apply", {"content": {}}, "cluster_id"),
        ("alerts/rules", rule, "scope"),
        ("tasks", task, "targets"),
        ("tasks/preview", task, "targets"),
    ):
        both = set()
        for pk in (hidden.pk, MISSING):
            body = {**facts, key: pk if key == "cluster_id" else {"clusters": [pk]}}
            both.add(re.sub(rf"\b{pk}\b", "ID", str(member("POST", path, body))))
        assert len(both) == 1, (path, both)
