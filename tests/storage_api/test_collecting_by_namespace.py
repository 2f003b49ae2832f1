"""Credentials that may read some namespaces only: each kind is collected in each of these, and what is not collected is not served."""

import logging
from typing import Any

import pytest
import yaml
from django.contrib.auth import get_user_model

from access.tokens import create_api_token
from clusters import registry
from clusters.client import ClusterClient
from clusters.models import Cluster
from simcluster.testing import RunningCluster
from storage_api.models import Gap, KindSync, Resource
from tests.caller import Caller
from tests.storage_api.collecting import collecting, eventually, in_store, quick, replayed

USER = "limited"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
READ = {"apiGroups": ["", "apps"], "resources": ["*"], "verbs": ["get", "list", "watch"]}
QUICK = quick(intervals={"rights": 0.2, "beat": 0.1})
# In the order of an API server's list of all namespaces: "-" comes before "/".
FIRST, SECOND, FOREIGN = "home-2", "home", "other"


@pytest.fixture
def administrator(server: RunningCluster) -> ClusterClient:
    """Who gives and takes rights in the cluster."""
    return registry.connect(server.kubeconfig_yaml)


def grant(administrator: ClusterClient, namespace: str) -> None:
    """Let the user read a namespace."""
    _bind(administrator, f"{RBAC}/namespaces/{namespace}/role", "Role")


def grant_everywhere(administrator: ClusterClient) -> None:
    """Let the user read the whole cluster."""
    _bind(administrator, f"{RBAC}/clusterrole", "ClusterRole")


def _bind(administrator: ClusterClient, path: str, role: str) -> None:
    administrator.request("POST", f"{path}s", body={"metadata": {"name": "r"}, "rules": [READ]})
    binding = {
        "metadata": {"name": "r"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role, "name": "r"},
        "subjects": [{"kind": "User", "name": USER, "apiGroup": "rbac.authorization.k8s.io"}],
    }
    administrator.request("POST", f"{path}bindings", body=binding)


def revoke(administrator: ClusterClient, path: str) -> None:
    """Take the rights back that a role under that path gives."""
    administrator.request("DELETE", f"{RBAC}/{path}bindings/r")
    administrator.request("DELETE", f"{RBAC}/{path}s/r")


@pytest.fixture
def limited(emptied: None, server: RunningCluster, administrator: ClusterClient) -> Cluster:
    """A cluster with pods in three namespaces, of which its credentials may read two."""
    for namespace, count in ((FIRST, 2), (SECOND, 3), (FOREIGN, 4)):
        server.load_pods(count, namespace=namespace, prefix=namespace)
    for namespace in (FIRST, SECOND):
        grant(administrator, namespace)
    kubeconfig = yaml.safe_dump(server.add_user(USER))
    return registry.register(name="watched", kubeconfig_text=kubeconfig, namespaces=[FIRST, SECOND])


@pytest.fixture
def caller(emptied: None) -> Caller:
    """An administrator of ours."""
    user = get_user_model().objects.create_superuser("admin", "a@example.com", "not-used-here-1")
    return Caller(create_api_token(user, "tests")[1])


def phases(cluster: Cluster, plural: str = "pods") -> dict[str, str]:
    """Namespace ("": the whole cluster) -> phase of a kind."""
    rows = KindSync.objects.filter(cluster=cluster, plural=plural, group="")
    return dict(rows.values_list("namespace", "phase"))


def is_followed(cluster: Cluster, *namespaces: str) -> bool:
    """Whether pods are watched in exactly these namespaces."""
    parts = {name: phase for name, phase in phases(cluster).items() if name}
    return parts == dict.fromkeys(namespaces, "watching")


def stored_pods(namespace: str = "") -> set[tuple[str, str]]:
    """(namespace, name) of the pods in the store."""
    keys = [key[1:] for key in in_store("watched") if key[0] == "Pod"]
    return {key for key in keys if namespace in ("", key[0])}


def pods_of(server: RunningCluster, *namespaces: str) -> set[tuple[str, str]]:
    """The same of the cluster, in some namespaces."""
    metadata = [pod["metadata"] for pod in server.list("pods")]
    return {(pod["namespace"], pod["name"]) for pod in metadata if pod["namespace"] in namespaces}


def is_stored(server: RunningCluster, *namespaces: str) -> bool:
    """Whether the store holds the pods of these namespaces and no others."""
    return stored_pods() == pods_of(server, *namespaces)


def from_store(server: RunningCluster, caller: Caller, cluster: Cluster, **query: Any) -> Any:
    """A list of pods that came out of the store, and is the same as the cluster's own."""

    def read() -> Any:
        server.requests.clear()
        kept = caller.data("GET", "pods", cluster_id=cluster.pk, **query)
        asked = [request for request in server.requests if request.query.get("limit")]
        return None if any(request.path.endswith("/pods") for request in asked) else kept

    kept = eventually(read)
    live = caller.data("GET", "pods", cluster_id=cluster.pk, fresh="true", **query)
    assert [item["metadata"]["uid"] for item in kept["items"]] == [
        item["metadata"]["uid"] for item in live["items"]
    ]
    assert kept["total"] == live["total"]
    return kept


def test_accessible_namespaces_are_collected_and_nothing_else(
    server: RunningCluster, limited: Cluster, caller: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO), collecting(QUICK):
        eventually(lambda: is_followed(limited, FIRST, SECOND))
        assert is_stored(server, FIRST, SECOND)
        assert from_store(server, caller, limited)["total"] == 5
        names = from_store(server, caller, limited, page=2, pageSize=2)["items"]
        assert [item["metadata"]["namespace"] for item in names] == [SECOND, SECOND]
        assert from_store(server, caller, limited, namespace=SECOND)["total"] == 3

        server.load_pods(1, namespace=FIRST, prefix="later")
        server.load_pods(1, namespace=FOREIGN, prefix="later")
        name = server.list("pods", SECOND)[0]["metadata"]["name"]
        server.call(server.store.remove, "pods", SECOND, name)
        eventually(lambda: is_stored(server, FIRST, SECOND))
        server.compact()
        server.cut_watches()
        server.load_pods(1, namespace=SECOND, prefix="after-a-gap")
        eventually(lambda: is_stored(server, FIRST, SECOND))
        eventually(lambda: is_followed(limited, FIRST, SECOND))

        def nodes_are_refused() -> bool:
            kinds = caller.data("GET", f"clusters/{limited.pk}/sync")["kinds"]
            nodes = [kind for kind in kinds if kind["plural"] == "nodes"]
            # A refused kind is asked again now and then, and is "listing" for that moment.
            return [(kind["phase"], kind["age"], kind["served"]) for kind in nodes] == [
                ("refused", None, False)
            ]

        eventually(nodes_are_refused)
        assert caller.code("GET", "nodes", cluster_id=limited.pk) != 0
        assert caller.code("GET", "pods", cluster_id=limited.pk, namespace=FOREIGN) != 0

        def everywhere() -> Any:
            found = caller.data("GET", "multicluster/resources/pods")
            return None if found["partial_errors"] else found

        assert len(eventually(everywhere)["items"]) == len(pods_of(server, FIRST, SECOND))
    assert replayed("watched") == in_store("watched")
    assert not [record for record in caplog.records if record.exc_info]


def test_a_right_that_is_lost_in_one_namespace_ends_its_reads_and_deletes_nothing(
    server: RunningCluster, limited: Cluster, administrator: ClusterClient, caller: Caller
) -> None:
    with collecting(QUICK):
        eventually(lambda: is_followed(limited, FIRST, SECOND))
        revoke(administrator, f"namespaces/{FIRST}/role")
        eventually(lambda: phases(limited)[FIRST] == "refused")
        assert phases(limited)[SECOND] == "watching"
        assert caller.code("GET", "pods", cluster_id=limited.pk, namespace=FIRST) != 0
        assert from_store(server, caller, limited)["total"] == 3
        assert stored_pods(FIRST) == pods_of(server, FIRST)

        name = server.list("pods", FIRST)[0]["metadata"]["name"]
        server.call(server.store.remove, "pods", FIRST, name)
        grant(administrator, FIRST)
        eventually(lambda: is_followed(limited, FIRST, SECOND))
        assert from_store(server, caller, limited)["total"] == 4
    gaps = Gap.objects.filter(resource_type="Pod").values_list("namespace", flat=True)
    assert set(gaps) == {FIRST}
    where = {"cluster_id": limited.pk, "kind": "pods"}
    assert caller.data("GET", "history", **where, namespace=FIRST)["gaps"]
    assert not caller.data("GET", "history", **where, namespace=SECOND)["gaps"]


def test_changes_of_the_accessible_namespaces_are_followed(
    server: RunningCluster, limited: Cluster, administrator: ClusterClient, caller: Caller
) -> None:
    grant(administrator, FOREIGN)
    path = f"clusters/{limited.pk}"
    with collecting(QUICK):
        eventually(lambda: is_followed(limited, FIRST, SECOND))
        server.requests.clear()
        caller.data("PUT", path, {"namespaces": [FIRST, FOREIGN]})
        limited.refresh_from_db()
        eventually(lambda: is_followed(limited, FIRST, FOREIGN))
        assert is_stored(server, FIRST, FOREIGN)
        # What was followed before goes on from where it was.
        path = f"/api/v1/namespaces/{FIRST}/pods"
        lists = [request for request in server.requests if request.path == path]
        assert all(request.query.get("watch") == "true" for request in lists), lists
        assert from_store(server, caller, limited)["total"] == 6
    assert replayed("watched") == in_store("watched")


def test_the_whole_cluster_is_followed_as_soon_as_it_may_be_read(
    server: RunningCluster, limited: Cluster, administrator: ClusterClient, caller: Caller
) -> None:
    with collecting(QUICK):
        eventually(lambda: is_followed(limited, FIRST, SECOND))
        grant_everywhere(administrator)
        eventually(lambda: phases(limited) == {"": "watching"})
        assert is_stored(server, FIRST, SECOND, FOREIGN)
        assert from_store(server, caller, limited)["total"] == 9
        revoke(administrator, "clusterrole")
        eventually(lambda: is_followed(limited, FIRST, SECOND))
        assert from_store(server, caller, limited)["total"] == 5
        # What may be read no longer is not known to be gone.
        assert is_stored(server, FIRST, SECOND, FOREIGN)
        problems = caller.data("GET", "multicluster/resources/pods")["partial_errors"]
        assert [problem["cluster_name"] for problem in problems] == ["watched"]
    assert replayed("watched") == in_store("watched")


def test_kinds_beyond_the_limit_of_watches_are_read_live_and_say_so(
    server: RunningCluster, limited: Cluster, caller: Caller
) -> None:
    with collecting(quick(intervals={"rights": 0.2, "namespace_watches": 5})):
        eventually(lambda: KindSync.objects.filter(cluster=limited, phase="over_limit").count() > 5)
        eventually(lambda: KindSync.objects.exclude(namespace="").count() == 4)
        row = KindSync.objects.filter(cluster=limited, phase="over_limit").order_by("pk")[0]
        assert "COLLECTOR_NAMESPACE_WATCHES" in row.error
        kinds = caller.data("GET", f"clusters/{limited.pk}/sync")["kinds"]
        assert "over_limit" in {kind["phase"] for kind in kinds}
        assert caller.data("GET", "pods", cluster_id=limited.pk)["total"] == 5
    types = set(KindSync.objects.exclude(namespace="").values_list("resource_type", flat=True))
    assert set(Resource.objects.values_list("resource_type", flat=True)) <= types
