"""Lists out of the store are those of the cluster, and never older than what the caller did."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection

from access.tokens import create_api_token
from clusters import registry
from clusters.kinds import KINDS, KINDS_WITH_PROBLEMS
from clusters.models import Cluster
from simcluster.testing import RunningCluster, running_cluster
from storage_api.models import KindSync
from storage_api.query.problems import PROBLEM_RULES
from storage_api.query.sorting import ORDERS
from storage_api.services import resources, sync
from storage_api.services.resources import Key
from tests.caller import Caller
from tests.storage_api.collecting import collecting, eventually
from tests.storage_api.test_collector import config_map, watching

QUERIES: list[dict[str, Any]] = [
    {},
    {"page": 2, "pageSize": 7},
    {"page": 900},
    {"namespace": "a"},
    {"namespace": "a-b", "pageSize": 3},
    {"namespace": "nowhere"},
    {"keyword": "WEB"},
    {"keyword": "%"},
    {"labelSelector": "app=web"},
    {"labelSelector": "app==web,tier!=back"},
    {"labelSelector": "app in (web, api),!canary"},
    {"labelSelector": "app notin (web)"},
    {"labelSelector": "canary", "keyword": "1"},
    {"labelSelector": "example.com/team=red"},
    {"labelSelector": "app="},
    {"fieldSelector": "status.phase=Running"},
    {"fieldSelector": "status.phase!=Running,spec.nodeName=node-1"},
    {"fieldSelector": "spec.nodeName="},
    {"fieldSelector": "metadata.name=web-1"},
    {"fieldSelector": "metadata.namespace!=a"},
    {"fieldSelector": "metadata.namespace=a", "labelSelector": "app=web", "pageSize": 2, "page": 2},
    *({"orderby": word} for order in ORDERS for word in (order, f"-{order}")),
    {"orderby": "-restarts", "pageSize": 5, "page": 2, "keyword": "web"},
    {"troubled": "true"},
    {"troubled": "true", "namespace": "a", "orderby": "-name", "pageSize": 3},
]
LEFT_TO_THE_CLUSTER: list[dict[str, Any]] = [
    {"labelSelector": "app in ()"},
    {"labelSelector": "=web"},
    {"labelSelector": "app=web,"},
    {"fieldSelector": "spec.nothing=1"},
    {"fieldSelector": "metadata.name=a\\,b"},
]


def pods() -> list[dict[str, Any]]:
    """Pods of several namespaces, labels and states, among them names that only sort right byte by byte."""
    found = []
    for number in range(40):
        labels = {
            "app": ("web", "api", "")[number % 3],
            "example.com/team": ("red", "blue")[number % 2],
        }
        if number % 5 == 0:
            labels["canary"] = "yes"
        if number % 4 == 0:
            labels["tier"] = "back"
        spec = {
            "containers": [{"name": "c", "image": "i"}],
            **({"nodeName": f"node-{number % 2}"} if number % 3 else {}),
        }
        metadata = {
            "name": f"{'web' if number % 2 else 'other'}-{number}",
            "namespace": ("a", "a-b", "a.b", "b")[number % 4].replace(".", "0"),
            "labels": labels if number % 7 else {},
            "managedFields": [{"manager": "kubectl", "operation": "Update"}],
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "kept": "1"},
        }
        if number == 8:
            metadata |= {
                "deletionTimestamp": "2026-01-01T00:00:00Z",
                "finalizers": ["example.com/wait"],
            }
        status = {"phase": ("Running", "Pending")[number % 2], **STATES[number % len(STATES)]}
        found.append({"metadata": metadata, "spec": spec, "status": status})
    return found


def waiting(reason: str, restarts: int) -> dict[str, Any]:
    """A container that does not run."""
    return {
        "name": "c",
        "ready": False,
        "restartCount": restarts,
        "state": {"waiting": {"reason": reason}},
    }


STATES: list[dict[str, Any]] = [
    {
        "containerStatuses": [
            {"name": "c", "ready": True, "restartCount": 2, "state": {"running": {}}}
        ]
    },
    {"containerStatuses": [waiting("ContainerCreating", 0)]},
    {"containerStatuses": [waiting("CrashLoopBackOff", 11), waiting("CrashLoopBackOff", 3)]},
    {"initContainerStatuses": [waiting("ImagePullBackOff", 0)]},
    {"conditions": [{"type": "PodScheduled", "status": "False"}]},
    {"phase": "Failed", "reason": "Evicted"},
    {},
    {
        "containerStatuses": [
            {"name": "c", "ready": False, "restartCount": 1, "state": {"running": {}}}
        ]
    },
]


def condition(kind: str, status: str) -> dict[str, Any]:
    """A status with one condition."""
    return {"conditions": [{"type": kind, "status": status}]}


# Of each kind one that is well, one that is in trouble, and those of which it takes a second look: [spec, status, troubled].
OTHERS: dict[str, list[tuple[dict[str, Any], dict[str, Any], bool]]] = {
    "nodes": [
        ({}, condition("Ready", "True"), False),
        ({}, condition("Ready", "Unknown"), True),
        ({}, {}, True),
    ],
    "deployments": [
        ({"replicas": 2}, {"readyReplicas": 2}, False),
        ({"replicas": 2}, {}, True),
        ({"replicas": 0}, {}, False),
    ],
    "statefulsets": [
        ({"replicas": 2}, {"readyReplicas": 1}, True),
        ({"replicas": 1}, {"readyReplicas": 1}, False),
    ],
    "replicasets": [
        ({"replicas": 2}, {"readyReplicas": 1}, True),
        ({"replicas": 0}, {"replicas": 0}, False),
    ],
    "daemonsets": [({}, {"numberReady": 1, "desiredNumberScheduled": 2}, True), ({}, {}, False)],
    "jobs": [({}, condition("Failed", "True"), True), ({}, condition("Complete", "True"), False)],
    "persistentvolumeclaims": [
        ({}, {"phase": "Pending"}, True),
        ({}, {"phase": "Bound"}, False),
        ({}, {}, False),
    ],
    "persistentvolumes": [({}, {"phase": "Failed"}, True), ({}, {"phase": "Available"}, False)],
    "namespaces": [({}, {"phase": "Terminating"}, True), ({}, {"phase": "Active"}, False)],
}


def other(plural: str) -> list[dict[str, Any]]:
    """The objects of one kind, the troubled ones named so."""
    space = {"namespace": "a"} if KINDS[plural].namespaced else {}
    return [
        {
            "metadata": {"name": f"{'bad' if troubled else 'good'}-{number}", **space},
            "spec": spec,
            "status": status,
        }
        for number, (spec, status, troubled) in enumerate(OTHERS[plural])
    ]


@pytest.fixture
def collected(emptied: None, settings: Any) -> Iterator[tuple[RunningCluster, Cluster, Caller]]:
    """A cluster with pods, collected and fresh, and an administrator."""
    user = get_user_model().objects.create_superuser(
        "admin", "admin@example.com", "not-used-here-1"
    )
    caller = Caller(create_api_token(user, "tests")[1])
    with running_cluster(controllers=False, kubelet=False) as server:
        server.load("pods", pods())
        for plural in OTHERS:
            group = KINDS[plural].group
            server.load(f"{plural}.{group}" if group else plural, other(plural))
        cluster = registry.register(name="served", kubeconfig_text=server.kubeconfig_yaml)
        with collecting():
            eventually(lambda: watching("served"))
            eventually(lambda: all(found.serves(10) for found in sync.list_freshness(cluster)))
            yield server, cluster, caller


def test_the_store_answers_as_the_cluster_does_or_leaves_it_to_the_cluster(
    collected: tuple[RunningCluster, Cluster, Caller],
) -> None:
    server, cluster, caller = collected
    for query in QUERIES:
        server.requests.clear()
        kept = caller.raw("GET", "pods", cluster_id=cluster.pk, **query)
        assert not [
            request
            for request in server.requests
            if request.path.endswith("/pods") and "limit" in request.query
        ], query
        assert 0 <= float(kept["X-Data-Age"]) < 10
        live = caller.raw("GET", "pods", cluster_id=cluster.pk, fresh="true", **query)
        assert "X-Data-Age" not in live
        assert kept.json() == live.json(), query
    assert caller.data("GET", "pods", cluster_id=cluster.pk)["total"] == 40
    for plural in ("nodes", "namespaces", "customresourcedefinitions", "configmaps"):
        assert caller("GET", plural, cluster_id=cluster.pk) == caller(
            "GET", plural, cluster_id=cluster.pk, fresh="true"
        )
    for query in LEFT_TO_THE_CLUSTER:
        kept = caller.raw("GET", "pods", cluster_id=cluster.pk, **query)
        assert "X-Data-Age" not in kept, query
        assert kept.json() == caller("GET", "pods", cluster_id=cluster.pk, fresh="true", **query)
    assert "X-Data-Age" not in caller.raw("GET", "secrets", cluster_id=cluster.pk)


def test_what_is_in_trouble_is_found_in_the_store_and_in_the_cluster_alike(
    collected: tuple[RunningCluster, Cluster, Caller],
) -> None:
    _, cluster, caller = collected
    assert set(OTHERS) | {"pods"} == set(PROBLEM_RULES) == set(KINDS_WITH_PROBLEMS)
    for plural in OTHERS:
        kept = caller("GET", plural, cluster_id=cluster.pk, troubled="true", pageSize=200)
        assert kept == caller(
            "GET", plural, cluster_id=cluster.pk, troubled="true", pageSize=200, fresh="true"
        )
        names = {item["metadata"]["name"] for item in kept["data"]["items"]}
        assert {name for name in names if name[:4] in ("bad-", "good")} == {
            item["metadata"]["name"]
            for item in other(plural)
            if item["metadata"]["name"].startswith("bad")
        }, plural
    everywhere = caller.data(
        "GET", "multicluster/resources/pods", troubled="true", pageSize=200, total="true"
    )
    assert (
        everywhere["total"]
        == caller.data("GET", "pods", cluster_id=cluster.pk, troubled="true")["total"]
        > 10
    )
    assert caller.code("GET", "configmaps", cluster_id=cluster.pk, troubled="true") == 1001
    assert caller.code("GET", "pods", cluster_id=cluster.pk, orderby="spec") == 1001


def test_what_a_caller_changed_is_in_the_next_list(
    collected: tuple[RunningCluster, Cluster, Caller],
) -> None:
    _, cluster, caller = collected
    assert caller.raw("GET", "configmaps", cluster_id=cluster.pk)["X-Data-Age"]
    for number in range(5):
        body = {"cluster_id": cluster.pk, "content": config_map(f"mine-{number}", namespace="a")}
        caller.data("POST", "configmaps", body)
        assert (
            f"mine-{number}"
            in caller.raw(
                "GET", "configmaps", cluster_id=cluster.pk, namespace="a"
            ).content.decode()
        )
        caller.data("DELETE", f"configmaps/mine-{number}", cluster_id=cluster.pk, namespace="a")
        assert (
            f"mine-{number}"
            not in caller.raw(
                "GET", "configmaps", cluster_id=cluster.pk, namespace="a"
            ).content.decode()
        )
    assert caller.raw("GET", "pods", cluster_id=cluster.pk)["X-Data-Age"], (
        "another kind is served on"
    )
    eventually(
        lambda: caller.raw("GET", "configmaps", cluster_id=cluster.pk).has_header("X-Data-Age")
    )


def test_what_is_no_object_leaves_the_list_to_the_cluster(
    collected: tuple[RunningCluster, Cluster, Caller],
) -> None:
    _, cluster, caller = collected
    where = {"cluster_id": cluster.pk, "namespace": "a"}
    whole = caller.data("GET", "pods", **where)["total"]
    for text in ("null", "[]"):
        resources.put(Key("served", "Pod", "a", "odd"), text)
        assert caller.data("GET", "pods", **where, pageSize=100)["total"] == whole, text
    for text in ("{}", "null"):
        resources.put(Key("served", "ConfigMap", "a", "odd"), text)
    changed = caller.data("GET", "insights/what-changed", since="1h")
    assert changed["partial_errors"] == []
    resources.put(Key("served", "Pod", "a", "odd"), '{"metadata": null}')
    assert caller.code("GET", "topology", **where) == 0


def test_freshness_is_told_and_a_copy_that_is_not_fresh_is_not_served(
    collected: tuple[RunningCluster, Cluster, Caller], settings: Any
) -> None:
    _, cluster, caller = collected
    told = caller.data("GET", f"clusters/{cluster.pk}/sync")
    kinds = {kind["resource_type"]: kind for kind in told["kinds"]}
    assert told["collector"]
    assert told["known_at"].endswith("Z")
    assert kinds["Pod"]["phase"] == "watching"
    assert kinds["Pod"]["age"] < 10
    assert kinds["Pod"]["served"] is True
    metrics = caller.raw("GET", "/metrics").content.decode()
    assert 'kubegale_store_watched{cluster="served",kind="Pod"} 1.0' in metrics
    assert 'kubegale_store_age_seconds{cluster="served",kind="Pod"}' in metrics
    settings.STORE_FRESH_SECONDS = -1
    assert not caller.raw("GET", "pods", cluster_id=cluster.pk).has_header("X-Data-Age")
    settings.STORE_FRESH_SECONDS = 10
    KindSync.objects.filter(plural="pods").update(exact=False)
    assert not caller.raw("GET", "pods", cluster_id=cluster.pk).has_header("X-Data-Age")
    settings.LISTS_FROM_STORE = False
    assert not caller.raw("GET", "configmaps", cluster_id=cluster.pk).has_header("X-Data-Age")


def test_counts_come_from_the_store_while_it_is_fresh_and_are_the_same(
    emptied: None, admin: Caller
) -> None:
    with running_cluster(nodes=2) as server:
        cluster = registry.register(name="counted", kubeconfig_text=server.kubeconfig_yaml)
        server.load_pods(30)
        server.wait(
            lambda: all(
                (pod.get("status") or {}).get("phase") == "Running" for pod in server.list("pods")
            )
        )
        with collecting():
            for path in ("metrics/cluster", "metrics/nodes"):
                kept, live = eventually(lambda path=path: _agreeing(admin, path, cluster.pk))
                assert kept == live
            whole = admin.data("GET", "metrics/cluster", cluster_id=cluster.pk)["metrics"]
            assert (whole["pods"]["running"], whole["nodes"]) == (
                len(server.list("pods")),
                {"total": 2, "ready": 2, "not_ready": 0},
            )


def _agreeing(admin: Caller, path: str, cluster: int) -> Any:
    """What store and cluster say, once the store is asked and both are of one moment."""
    kept, live = (
        admin.raw("GET", path, cluster_id=cluster),
        admin.raw("GET", path, cluster_id=cluster, fresh="true"),
    )
    assert "X-Data-Age" not in live
    found = [_steady(answer.json()["data"]) for answer in (kept, live)]
    return "X-Data-Age" in kept and found[0] == found[1] and found


def _steady(data: Any) -> Any:
    """What does not move from one moment to the next."""
    whole = data["metrics"] if isinstance(data["metrics"], list) else [data["metrics"]]
    return [
        {
            key: part[key]
            for key in part
            if key in ("nodes", "pods", "services", "ingresses", "pvs", "pvcs", "node_name")
        }
        for part in whole
    ]


def test_one_object_is_as_whole_out_of_the_store_as_in_the_cluster(
    collected: tuple[RunningCluster, Cluster, Caller],
) -> None:
    server, cluster, caller = collected
    target = {"cluster_id": cluster.pk, "namespace": "a"}
    applied = "kubectl.kubernetes.io/last-applied-configuration"
    copies = {"metadata": {"annotations": {applied: '{"kind":"Secret","data":{"k":"aGlkZGVu"}}'}}}
    server.load(
        "configmaps",
        [
            {"metadata": {"name": "plain", "namespace": "a"}, "data": {"n": "1e2"}},
            {"metadata": {"name": "copy", "namespace": "a", **copies["metadata"]}},
        ],
    )
    server.load("secrets", [{"metadata": {"name": "hidden", "namespace": "a"}, "data": {}}])
    eventually(lambda: "X-Data-Age" in caller.raw("GET", "configmaps/plain", **target))
    for path in ("pods/other-0", "pods/other-8", "configmaps/plain"):
        server.requests.clear()
        kept = caller.raw("GET", path, **target)
        assert not [request for request in server.requests if request.path.endswith(path)]
        assert 0 <= float(kept["X-Data-Age"]) < 10
        live = caller.raw("GET", path, fresh="true", **target)
        assert "X-Data-Age" not in live
        assert kept.json() == live.json()
    metadata = caller.data("GET", "pods/other-0", **target)["metadata"]
    assert metadata["managedFields"]
    assert metadata["annotations"][applied] == "{}"
    # What only the cluster may show, or alone can tell.
    for path in ("secrets/hidden", "configmaps/copy"):
        assert "X-Data-Age" not in caller.raw("GET", path, **target)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM storage_resource WHERE omitted LIKE '%aGlkZGVu%'")
        assert cursor.fetchone() is None
    assert caller.code("GET", "configmaps/missing", **target) == 1004
    # What the caller changed is in what is read next.
    for number in range(3):
        changed = {"data": {"n": str(number)}}
        headers = {"content_type": "application/merge-patch+json"}
        assert caller.code("PATCH", "configmaps/plain", changed, **headers, **target) == 0
        assert caller.data("GET", "configmaps/plain", **target)["data"] == changed["data"]


def test_workloads_pods_and_events_come_without_managed_fields(
    collected: tuple[RunningCluster, Cluster, Caller],
) -> None:
    server, cluster, caller = collected
    labels = {"app": "stripped"}
    managed = [{"manager": "kubectl", "operation": "Update"}]
    workload = {
        "metadata": {"name": "stripped", "namespace": "a", "uid": "stripped-1"},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "serviceName": "s"},
    }
    owner = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "name": "stripped",
        "uid": "stripped-1",
    }
    metadata = {"namespace": "a", "managedFields": managed}
    pod = {
        "metadata": {
            **metadata,
            "name": "stripped-0",
            "labels": labels,
            "ownerReferences": [{**owner, "controller": True}],
        },
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }
    event = {
        "metadata": {**metadata, "name": "stripped.1"},
        "involvedObject": {"kind": "StatefulSet", "name": "stripped", "uid": "stripped-1"},
        "reason": "Tested",
    }
    server.load("statefulsets.apps", [workload])
    server.load("pods", [pod])
    server.load("events", [event])
    target = {"cluster_id": cluster.pk, "namespace": "a"}
    for path in ("statefulsets/stripped/pods", "statefulsets/stripped/events", "events"):
        items = caller.data("GET", path, **target)["items"]
        assert items, path
        assert "managedFields" not in items[0]["metadata"], path
