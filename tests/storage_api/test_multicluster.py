"""Many clusters at once: lists, search and overview out of the store, narrowed to what the caller may see."""

from datetime import timedelta
from typing import Any

import orjson
import pytest
from django.contrib.auth import get_user_model
from django.utils import timezone

from access import grants
from access.policy import Role
from access.tokens import create_api_token
from clusters import registry
from clusters.models import Cluster
from simcluster.testing import RunningCluster
from storage_api.models import ClusterSync, KindSync
from storage_api.protection import SEALED
from storage_api.query.sorting import MULTICLUSTER_ORDERS
from storage_api.services import bulk
from storage_api.services.bulk import WriteRecord
from storage_api.services.resources import Key
from tests.caller import Caller

KINDS = [
    ("", "v1", "pods", "Pod", True),
    ("apps", "v1", "deployments", "Deployment", True),
    ("", "v1", "nodes", "Node", False),
]
KINDS += [("", "v1", "configmaps", "ConfigMap", True)]
KINDS += [("", "v1", "secrets", "Secret", True), ("apps", "v1", "replicasets", "ReplicaSet", True)]


def thing(
    kind: str, name: str, namespace: str = "", *, owner: str = "", **rest: Any
) -> tuple[str, dict[str, Any]]:
    """A document and its type."""
    created = f"2026-01-{len(name):02d}T00:00:00Z"
    metadata = {
        "name": name,
        "uid": f"{namespace}-{kind}-{name}",
        "creationTimestamp": created,
        **rest.pop("meta", {}),
    }
    if namespace:
        metadata["namespace"] = namespace
    if owner:
        metadata["ownerReferences"] = [{"uid": owner, "controller": True}]
    return kind, {"kind": kind, "metadata": metadata, **rest}


def fill(name: str, things: list[tuple[str, dict[str, Any]]]) -> Cluster:
    """A registered cluster as if it had been collected just now."""
    cluster = Cluster.objects.create(
        name=name, server="https://10.0.0.1", status="active", version="v1.36.0"
    )
    moment = timezone.now() + timedelta(seconds=60)
    ClusterSync.objects.create(cluster=cluster, expires_at=moment, stored_as=name, beaten_at=moment)
    for group, version, plural, kind, namespaced in KINDS:
        KindSync.objects.create(
            cluster=cluster,
            group=group,
            version=version,
            plural=plural,
            kind=kind,
            namespaced=namespaced,
            resource_type=kind,
            phase="watching",
        )
    bulk.write(
        [
            WriteRecord(
                Key(name, kind, body["metadata"].get("namespace", ""), body["metadata"]["name"]),
                orjson.dumps(body),
            )
            for kind, body in things
        ]
    )
    return cluster


@pytest.fixture
def fleet(db: None) -> tuple[Cluster, Cluster]:
    """Two clusters, both collected."""
    east = fill(
        "east",
        [
            thing("Deployment", "web", "shop"),
            thing("ReplicaSet", "web-1", "shop", owner="shop-Deployment-web"),
            *[
                thing(
                    "Pod",
                    f"web-1-{n}",
                    "shop",
                    owner="shop-ReplicaSet-web-1",
                    status={"phase": "Running"},
                )
                for n in range(3)
            ],
            thing(
                "Pod", "loner", "other", status={"phase": "Pending"}, meta={"labels": {"app": "x"}}
            ),
            thing("Secret", "web-key", "shop", data={"k": "hmac-sha256:abc"}),
            thing("Node", "n1", status={"conditions": [{"type": "Ready", "status": "True"}]}),
        ],
    )
    west = fill(
        "west",
        [
            thing(
                "Pod",
                "web-west",
                "shop",
                status={"phase": "Running"},
                meta={"labels": {"app": "x"}},
            ),
            thing("Node", "n2"),
        ],
    )
    return east, west


def names(answer: dict[str, Any]) -> list[tuple[str, str]]:
    """(cluster, name) of items."""
    return [(item["cluster_name"], item["metadata"]["name"]) for item in answer["items"]]


def define(
    cluster: Cluster, group: str, plural: str, kind: str, *aliases: str, version: str = "v1"
) -> None:
    """A collected custom kind with one object, which bears the group's first word."""
    stored_as = f"{kind}.{group}"
    KindSync.objects.create(
        cluster=cluster,
        group=group,
        version=version,
        plural=plural,
        kind=kind,
        namespaced=True,
        resource_type=stored_as,
        aliases=list(aliases),
        phase="watching",
    )
    name = group.partition(".")[0]
    body = {"kind": kind, "metadata": {"name": name, "namespace": "shop", "uid": f"{name}-{kind}"}}
    key = Key(cluster.name, stored_as, "shop", name)
    bulk.write([WriteRecord(key, orjson.dumps(body))])


@pytest.fixture
def custom_kinds(fleet: tuple[Cluster, Cluster]) -> tuple[Cluster, Cluster]:
    """Shirts in one group; Triggers in two, each in one cluster; one that has the short name of pods."""
    east, west = fleet
    define(east, "wear.example.com", "shirts", "Shirt", "shirt", "sh", version="v1beta1")
    define(east, "ci.example.com", "triggers", "Trigger", "trigger", "tr")
    define(west, "event.example.org", "triggers", "Trigger", "trigger", "tg")
    define(west, "other.example.org", "pos", "Po", "tr")
    return fleet


@pytest.mark.parametrize(
    ("word", "group"),
    [
        ("shirts", "wear"),
        ("Shirt", "wear"),
        ("SHIRT", "wear"),
        ("sh", "wear"),
        ("shirts.wear.example.com", "wear"),
        ("Shirt.wear.example.com", "wear"),
        ("sh.v1beta1.wear.example.com", "wear"),
        ("triggers.ci.example.com", "ci"),
        ("Trigger.v1.event.example.org", "event"),
        ("tg", "event"),
        ("po", "other"),
    ],
)
def test_a_custom_kind_is_found_by_any_name_that_is_unique(
    admin: Caller, custom_kinds: tuple[Cluster, Cluster], word: str, group: str
) -> None:
    listed = admin.data("GET", f"multicluster/resources/{word}")
    assert [item["metadata"]["name"] for item in listed["items"]] == [group]


@pytest.mark.parametrize("word", ["triggers", "trigger", "TRIGGER", "tr"])
def test_a_kinds_name_in_two_groups_is_1001_naming_both(
    admin: Caller, custom_kinds: tuple[Cluster, Cluster], word: str
) -> None:
    answer = admin("GET", f"multicluster/resources/{word}")
    assert answer["code"] == 1001
    assert "triggers.ci.example.com" in answer["msg"]
    other = "pos.other.example.org" if word == "tr" else "triggers.event.example.org"
    assert other in answer["msg"]
    code = admin.code("GET", "watch", kinds=word)
    assert code == 1001


def test_in_one_cluster_only_its_own_kinds_are_meant(
    admin: Caller, custom_kinds: tuple[Cluster, Cluster]
) -> None:
    for cluster, group in zip(custom_kinds, ("ci", "event"), strict=True):
        rows = admin.data("GET", "history", cluster_id=cluster.pk, kind="trigger")["items"]
        assert [row["name"] for row in rows] == [group]


def test_kinds_of_kubernetes_keep_their_names_and_unknown_ones_are_not_found(
    admin: Caller, custom_kinds: tuple[Cluster, Cluster]
) -> None:
    for word in ("deploy", "Deployments", "deployments.apps", "deploy.v1.apps"):
        assert names(admin.data("GET", f"multicluster/resources/{word}")) == [("east", "web")]
    for word in ("shirts.ci.example.com", "shirts.v1.wear.example.com", "trousers", "a%00b"):
        assert admin.code("GET", f"multicluster/resources/{word}") in (1001, 1004)
    answer = admin("GET", "multicluster/resources/Shirt.v1.wear.example.com")
    assert "they are kept as shirts.v1beta1.wear.example.com" in answer["msg"]


def test_one_kind_is_listed_over_all_clusters(
    admin: Caller, fleet: tuple[Cluster, Cluster]
) -> None:
    pods = admin.data("GET", "multicluster/resources/pods", total="true")
    assert names(pods) == [
        ("east", "loner"),
        ("east", "web-1-0"),
        ("east", "web-1-1"),
        ("east", "web-1-2"),
        ("west", "web-west"),
    ]
    assert (pods["total"], pods["partial_errors"]) == (5, [])
    assert float(admin.raw("GET", "multicluster/resources/pods")["X-Data-Age"]) < 1
    assert names(admin.data("GET", "multicluster/resources/Pod", clusters="west")) == [
        ("west", "web-west")
    ]
    assert names(
        admin.data("GET", "multicluster/resources/pods", labelSelector="app=x", orderby="-name")
    ) == [
        ("west", "web-west"),
        ("east", "loner"),
    ]
    assert names(
        admin.data("GET", "multicluster/resources/pods", fieldSelector="status.phase=Pending")
    ) == [("east", "loner")]
    assert (
        len(
            admin.data("GET", "multicluster/resources/pods", namespaces="shop", keyword="WEB-1")[
                "items"
            ]
        )
        == 3
    )
    assert (
        admin.data("GET", "multicluster/resources/pods", since="2026-01-08T00:00:00Z")["items"][0][
            "metadata"
        ]["name"]
        == "web-west"
    )
    assert admin.data("GET", "multicluster/resources/secrets")["items"][0]["data"] == {"k": "***"}


def test_an_owner_is_found_in_whichever_place_it_is_named(
    admin: Caller, fleet: tuple[Cluster, Cluster]
) -> None:
    kind, text = thing("Pod", "shared", "shop", owner="somebody")
    text["metadata"]["ownerReferences"] += [{"uid": "another"}, {"uid": "shop-ReplicaSet-web-1"}]
    bulk.write([WriteRecord(Key(fleet[0].name, kind, "shop", "shared"), orjson.dumps(text))])
    for owner, found in (("another", 1), ("somebody", 1), ("shop-Deployment-web", 4)):
        assert len(admin.data("GET", "multicluster/resources/pods", owner=owner)["items"]) == found


def test_an_owner_finds_what_it_owns_at_any_depth(
    admin: Caller, fleet: tuple[Cluster, Cluster]
) -> None:
    assert (
        len(admin.data("GET", "multicluster/resources/pods", owner="shop-Deployment-web")["items"])
        == 3
    )
    assert (
        len(
            admin.data("GET", "multicluster/resources/replicasets", owner="shop-Deployment-web")[
                "items"
            ]
        )
        == 1
    )
    assert admin.data("GET", "multicluster/resources/pods", owner="nobody")["items"] == []


@pytest.mark.parametrize("order", [*MULTICLUSTER_ORDERS, *(f"-{o}" for o in MULTICLUSTER_ORDERS)])
def test_pages_by_cursor_hold_everything_once(
    admin: Caller, fleet: tuple[Cluster, Cluster], order: str
) -> None:
    seen: list[tuple[str, str]] = []
    cursor = ""
    while True:
        page = admin.data(
            "GET",
            "multicluster/resources/pods",
            pageSize=2,
            orderby=order,
            **({"cursor": cursor} if cursor else {}),
        )
        seen += names(page)
        if not (cursor := page["next_cursor"]):
            break
    whole = names(admin.data("GET", "multicluster/resources/pods", orderby=order))
    assert seen == whole
    assert len(set(seen)) == 5


def test_a_kinds_own_columns_order_it_over_all_clusters(
    admin: Caller, fleet: tuple[Cluster, Cluster]
) -> None:
    def pod(name: str, restarts: int, ready: int, node: str) -> tuple[str, dict[str, Any]]:
        states = [{"ready": number < ready, "restartCount": restarts} for number in range(2)]
        return thing(
            "Pod",
            name,
            "shop",
            spec={"nodeName": node, "containers": [{"name": "a"}, {"name": "b"}]},
            status={"phase": "Running", "containerStatuses": states},
        )

    def workload(name: str, **status: int) -> tuple[str, dict[str, Any]]:
        return thing("Deployment", name, "shop", spec={"replicas": 9}, status=status)

    fill("north", [pod("b", 11, 2, "n2"), pod("a", 2, 1, "n1"), workload("slow", readyReplicas=3)])
    fill("south", [pod("c", 2, 0, "n3"), workload("none"), workload("all", readyReplicas=9)])
    cases = {
        ("pods", "restarts"): ["a", "c", "b"],
        ("pods", "-restarts"): ["b", "c", "a"],
        ("pods", "ready"): ["c", "a", "b"],
        ("pods", "node"): ["a", "b", "c"],
        ("pods", "-status"): ["c", "b", "a"],
        ("deployments", "ready"): ["none", "slow", "all"],
    }
    for (plural, order), objects in cases.items():
        query = {"clusters": "north,south", "orderby": order}
        for more in ({}, {"at": timezone.now().isoformat()}):
            listed = names(admin.data("GET", f"multicluster/resources/{plural}", **query, **more))
            assert [name for _, name in listed] == objects, (plural, order, more)
    refusal = admin("GET", "multicluster/resources/pods", orderby="data")
    assert refusal["code"] == 1001
    assert "restarts" in refusal["msg"]


@pytest.mark.parametrize(
    "query",
    [
        {"orderby": "data"},
        {"cursor": "x"},
        {"labelSelector": "a in ("},
        {"fieldSelector": "spec.x=1"},
        {"since": "soon"},
        {"keyword": "\0"},
    ],
)
def test_bad_parameters_are_named(
    admin: Caller, fleet: tuple[Cluster, Cluster], query: dict[str, str]
) -> None:
    assert admin.code("GET", "multicluster/resources/pods", **query) == 1001


def test_clusters_that_are_behind_or_unknown_are_named_and_fail_nothing(
    admin: Caller, fleet: tuple[Cluster, Cluster]
) -> None:
    KindSync.objects.filter(cluster=fleet[1], plural="pods").update(
        phase="reconnecting", error="cut off"
    )
    answer = admin.data("GET", "multicluster/resources/pods", clusters="east,west,nowhere")
    assert len(answer["items"]) == 5
    assert [(problem["cluster_name"], problem["code"]) for problem in answer["partial_errors"]] == [
        ("nowhere", 1002),
        ("west", 1006),
    ]
    assert "cut off" in answer["partial_errors"][1]["msg"]
    assert admin.code("GET", "multicluster/resources/gadgets") == 1004


def test_search_finds_objects_of_every_kind_the_nearest_first(
    admin: Caller, fleet: tuple[Cluster, Cluster]
) -> None:
    found = admin.data("GET", "multicluster/search", q="WEB")["items"]
    assert (found[0]["kind"], found[0]["name"]) == ("Deployment", "web")
    assert {item["kind"] for item in found} == {"Deployment", "ReplicaSet", "Pod"}, (
        "Secrets are left out"
    )
    assert admin.code("GET", "multicluster/search") == 1001


def test_what_is_gone_is_searched_on_request(admin: Caller, fleet: tuple[Cluster, Cluster]) -> None:
    bulk.write([WriteRecord(Key("east", "Pod", "other", "loner"), None)])
    assert admin.data("GET", "multicluster/search", q="loner")["items"] == []
    answer = admin.data("GET", "multicluster/search", q="loner", deleted="true", total="true")
    (gone,) = answer["items"]
    assert (
        gone["kind"],
        gone["cluster_name"],
        gone["namespace"],
        gone["status"],
        answer["total"],
    ) == (
        "Pod",
        "east",
        "other",
        "Pending",
        1,
    )
    assert gone["deleted_at"]
    assert (
        admin.data(
            "GET", "history", cluster_id=fleet[0].pk, kind="Pod", namespace="other", name="loner"
        )["items"][0]["seq"]
        == gone["seq"]
    )
    bulk.write(
        [
            WriteRecord(
                Key("east", "Pod", "other", "loner"),
                orjson.dumps(thing("Pod", "loner", "other")[1]),
            )
        ]
    )
    again = admin.data("GET", "multicluster/search", q="loner", deleted="true")["items"]
    assert [item["deleted_at"] for item in again] == [None], "it is there again"


def test_a_search_is_counted_on_demand_and_names_who_is_behind(
    admin: Caller, fleet: tuple[Cluster, Cluster]
) -> None:
    KindSync.objects.filter(cluster=fleet[1], plural="pods").update(
        phase="reconnecting", error="cut off"
    )
    answer = admin.data(
        "GET",
        "multicluster/search",
        q="web",
        pageSize=2,
        total="true",
        clusters="east,west,nowhere",
    )
    assert (len(answer["items"]), answer["total"]) == (2, 6)
    assert [(problem["cluster_name"], problem["code"]) for problem in answer["partial_errors"]] == [
        ("nowhere", 1002),
        ("west", 1006),
    ]
    assert admin.data("GET", "multicluster/search", q="web")["total"] is None
    assert {
        item["cluster_name"]
        for item in admin.data("GET", "multicluster/search", q="web", clusters="west")["items"]
    } == {"west"}


def test_the_overview_asks_the_clusters_whose_copy_is_not_fresh(
    admin: Caller, settings: Any, apiserver: RunningCluster
) -> None:
    registry.register(name="live", kubeconfig_text=apiserver.kubeconfig_yaml)
    settings.CLUSTER_CONNECT_TIMEOUT = 0.3
    Cluster.objects.create(name="dead", server="https://10.0.0.1", status="active")
    answer = admin.raw("GET", "multicluster/overview")
    found = answer.json()["data"]
    counts = {cluster["name"]: cluster["counts"] for cluster in found["clusters"]}
    assert counts["live"]["nodes"] == {
        "total": len(apiserver.list("nodes")),
        "ready": len(apiserver.list("nodes")),
    }
    assert counts["live"]["namespaces"]["total"] == len(apiserver.list("namespaces"))
    assert counts["live"]["pods"]["total"] == len(apiserver.list("pods"))
    assert [problem["cluster_name"] for problem in found["partial_errors"]] == ["dead"]
    assert "X-Data-Age" not in answer


def test_the_overview_counts_what_clusters_hold(
    admin: Caller, fleet: tuple[Cluster, Cluster]
) -> None:
    overview = admin.data("GET", "multicluster/overview")
    east, west = overview["clusters"]
    assert east["counts"]["pods"] == {"total": 4, "running": 3, "pending": 1}
    assert (east["counts"]["nodes"], west["counts"]["nodes"]) == (
        {"total": 1, "ready": 1},
        {"total": 1, "not_ready": 1},
    )
    assert overview["totals"]["pods"] == 5
    assert "X-Data-Age" in admin.raw("GET", "multicluster/overview")


def test_a_caller_sees_the_clusters_and_kinds_that_were_granted(
    fleet: tuple[Cluster, Cluster],
) -> None:
    user = get_user_model().objects.create_user("west-viewer")
    nobody = get_user_model().objects.create_user("nobody")
    grants.give(user=user, role=grants.Role.VIEWER, cluster="west")
    viewer, stranger = (
        Caller(create_api_token(user, "t")[1]),
        Caller(create_api_token(nobody, "t")[1]),
    )
    assert names(viewer.data("GET", "multicluster/resources/pods")) == [("west", "web-west")]
    assert names(viewer.data("GET", "multicluster/resources/pods", clusters="east")) == []
    assert {
        item["cluster_name"] for item in viewer.data("GET", "multicluster/search", q="web")["items"]
    } == {"west"}
    assert [
        cluster["name"] for cluster in viewer.data("GET", "multicluster/overview")["clusters"]
    ] == ["west"]
    assert viewer.code("GET", "multicluster/resources/roles") == 1005
    assert stranger.code("GET", "multicluster/resources/pods") == 1005


def test_clusters_that_judge_each_caller_are_left_out(
    admin: Caller, fleet: tuple[Cluster, Cluster]
) -> None:
    Cluster.objects.filter(name="east").update(impersonate=True)
    assert names(admin.data("GET", "multicluster/resources/pods")) == [("west", "web-west")]


def test_what_the_store_holds_is_counted_by_cluster_and_type(
    admin: Caller, fleet: tuple[Cluster, Cluster]
) -> None:
    held = admin.data("GET", "store")
    assert held["clusters"] == ["east", "west"]
    assert {"cluster": "east", "type": "Pod", "namespaced": True, "count": 4} in held["types"]
    assert {"cluster": "west", "type": "Node", "namespaced": False, "count": 1} in held["types"]
    user = get_user_model().objects.create(username="westerner")
    grants.give(user=user, role=Role.VIEWER, cluster="west")
    assert Caller(create_api_token(user, "t")[1]).data("GET", "store")["clusters"] == ["west"]


def test_what_an_agent_has_stored_breaks_no_list(
    admin: Caller, fleet: tuple[Cluster, Cluster]
) -> None:
    base = "/bcsapi/v4/storage/k8s/dynamic/namespace_resources/clusters/west/namespaces/shop/Pod"
    texts = ("{}", "null", "7", '"x"', "[]", '{"metadata": null}', '{"metadata": [7]}')
    for number, text in enumerate(texts):
        answer = admin("PUT", f"{base}/odd-{number}", f'{{"data": {text}}}')
        assert answer["result"] is True, text
    west = fleet[1].pk
    listed = admin.data("GET", "multicluster/resources/pods", clusters=str(west))["items"]
    assert len(listed) == 1 + len(texts)
    assert listed.count({"cluster_id": west, "cluster_name": "west"}) == 5
    for text in ('{"metadata": {"name": "web"}, "spec": 7}', '{"spec": {"replicas": 2}}'):
        admin("PUT", f"{base.replace('/Pod', '/Deployment')}/web", f'{{"data": {text}}}')
        assert admin.code("GET", "insights/what-changed", since="10m") == 0, text
    secrets = base.replace("/Pod", "/Secret")
    for number, text in enumerate(('"hidden"', '{"metadata": {"name": "odd"}, "data": "hidden"}')):
        assert admin("PUT", f"{secrets}/odd-{number}", f'{{"data": {text}}}')["result"] is True
    page = admin.raw("GET", "multicluster/resources/secrets", clusters=str(west))
    assert len(page.json()["data"]["items"]) == 2
    assert SEALED not in page.content.decode()
