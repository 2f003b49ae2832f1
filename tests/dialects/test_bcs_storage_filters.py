"""The filters of today's Go server on lists and batch deletes: they narrow, and what is not understood neither lists nor deletes."""

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.urls import URLPattern, URLResolver

from dialects import bcs_storage
from storage_api.api.free_documents import CustomResources
from tests.storeserver import Store

DOCUMENTS: dict[str, Any] = {
    "a": {
        "metadata": {"name": "a", "labels": {"app": "a", "tier": "web", "k8s.io/part": "x"}},
        "status": {"phase": "Running"},
        "spec": {"containers": [{"name": "c1"}, {"name": "c2"}], "note": None},
    },
    "b": {"metadata": {"name": "b", "labels": {"app": "b"}}, "status": {"phase": "Failed"}},
    "c": {"metadata": {"name": "c"}},
}
EVERYTHING = ["a", "b", "c"]
FILTERS: list[tuple[dict[str, str], list[str]]] = [
    ({"labelSelector": "app=a"}, ["a"]),
    ({"labelSelector": "app==a,tier"}, ["a"]),
    ({"labelSelector": "app!=a"}, ["b", "c"]),
    ({"labelSelector": "!app"}, ["c"]),
    ({"labelSelector": "app in (a, b),tier notin (db)"}, ["a", "b"]),
    ({"labelSelector": "app+in+(a,b)"}, ["a", "b"]),
    ({"labelSelector": "k8s.io/part=x"}, ["a"]),
    ({"labelSelector": "k8s．io/part=x"}, ["a"]),
    ({"resourceName": "b"}, ["b"]),
    ({"resourceName": "b,c"}, ["b", "c"]),
    ({"resourceName": "d"}, []),
    ({"resourceName": ""}, EVERYTHING),
    ({"data.metadata.name": "a"}, ["a"]),
    ({"data.metadata.name": "a,b"}, ["a", "b"]),
    ({"data.status.phase": ""}, ["a", "b"]),
    ({"data.spec.note": ""}, ["a"]),
    ({"data.spec.containers.name": "c2"}, ["a"]),
    ({"data.spec.containers.1.name": "c2"}, ["a"]),
    ({"data.spec.containers.name": ""}, ["a"]),
    ({"data.spec.containers.1.name": ""}, ["a"]),
    ({"data.spec.containers.7.name": ""}, []),
    ({"data.metadata.labels.k8s．io/part": "x"}, ["a"]),
    ({"data.status.phase": "Running", "labelSelector": "app=b"}, []),
    ({"namespace": "test"}, EVERYTHING),
    ({"namespace": "other"}, []),
    ({"clusterId": "elsewhere"}, []),
    ({"updateTimeBefore": "1"}, []),
    ({"updateTimeBefore": "0"}, []),
    ({"updateTimeBefore": "2020-01-02T15:04:05.000Z"}, []),
    ({"updateTimeBefore": "4102444800"}, EVERYTHING),
    ({"updateTimeBefore": "2100-01-01T00:00:00 08:00"}, EVERYTHING),
]
NOT_UNDERSTOOD: list[tuple[str, str]] = [
    ("labelSelectr", "app=a"),
    ("LabelSelector", "app=a"),
    ("labelselector", "app=a"),
    ("labelSelector", "app=a,,"),
    ("labelSelector", "app in a"),
    ("labelSelector", "=a"),
    ("fieldSelector", "metadata.name=a"),
    ("updateTimeBefore", "yesterday"),
    ("updateTimeBefore", ""),
    ("updateTimeBegn", "5"),
    ("resourcename", "a"),
    ("name", "a"),
    ("metadata.name", "a"),
    ("data..name", "a"),
    ("data.", "a"),
    ("Data.metadata.name", "a"),
    ("_id", "5a0000000000000000000000"),
    ("updateTime", "5"),
    ("resourceName.x", "a"),
    ("dryRun", "All"),
    ("x", ""),
    ("", "a"),
]


@pytest.fixture
def filled(store: Store, pods: str) -> str:
    """The path of a namespace's pods, three of which there are."""
    for name, data in DOCUMENTS.items():
        store.data("PUT", f"{pods}/{name}", {"data": data})
    return pods


@pytest.fixture
def scopes(cid: str, filled: str) -> list[str]:
    """Every address under which those pods are listed and deleted."""
    return [
        filled,
        f"/k8s/dynamic/cluster_resources/clusters/{cid}/Pod",
        f"/k8s/dynamic/all_resources/clusters/{cid}/Pod",
        f"/mesos/dynamic/all_resources/clusters/{cid}/Pod",
    ]


@pytest.mark.parametrize(("asked", "names"), FILTERS)
def test_a_filter_narrows_lists_and_deletes(
    store: Store, cid: str, filled: str, asked: dict[str, str], names: list[str]
) -> None:
    whole = f"/k8s/dynamic/all_resources/clusters/{cid}/Pod"
    assert store.names(whole, **asked) == names
    assert store.names(f"/query/k8s/dynamic/clusters/{cid}/pod", **asked) == names
    left = [name for name in EVERYTHING if name not in names]
    assert store("DELETE", filled, **asked)["code"] == 0
    assert store.names(whole) == left
    for name in names:
        store.data("PUT", f"{filled}/{name}", {"data": DOCUMENTS[name]})
    assert store("DELETE", whole, asked)["code"] == 0
    assert store.names(whole) == left


@pytest.mark.parametrize(("name", "value"), NOT_UNDERSTOOD)
def test_what_is_not_understood_deletes_and_lists_nothing(
    store: Store, cid: str, scopes: list[str], name: str, value: str
) -> None:
    for path in scopes:
        assert store("DELETE", path, **{name: value})["code"] == 10005
        assert store("DELETE", path, {name: value})["code"] == 10005
        answer = store("GET", path, **{name: value})
        assert (answer["result"], answer["code"], answer["data"]) == (False, 10006, [])
    if name != "name":
        typed = f"/query/k8s/dynamic/clusters/{cid}/pod"
        assert store("GET", typed, **{name: value})["code"] == 10006
        assert store("POST", typed, {name: value})["code"] == 10006
    assert store.names(scopes[0]) == EVERYTHING


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("limit=1", None),
        ("offset=1", None),
        ("", {"limit": 1}),
        ("", {"offset": "1"}),
        ("labelSelector=", None),
        ("", {"labelSelector": " "}),
        ("", {"updateTimeBegn": 5}),
        ("", {"updateTimeEnd": ""}),
        ("updateTimeEnd=", None),
        ("", {"labelSelector": {"app": "a"}}),
        ("", {"data": {"metadata": {"name": "a"}}}),
        ("", {"extra": "no base64!"}),
        ("extra=e30%3D&extra=eyJkYXRhLngiOiAxfQ%3D%3D", None),
        ("extra=e30%3D", {"extra": "eyJkYXRhLngiOiAxfQ=="}),
        ("updateTimeEnd=1&updateTimeEnd=4102444800", None),
        ("labelSelector=app%3Da", {"x": "y"}),
    ],
)
def test_a_deletion_that_is_not_understood_deletes_nothing(
    store: Store, scopes: list[str], query: str, body: Any
) -> None:
    for path in scopes:
        answer = store("DELETE", f"{path}?{query}" if query else path, body)
        assert (answer["code"], answer["data"]) == (10005, [])
    assert store.names(scopes[0]) == EVERYTHING


def test_filters_hold_together_and_repeated_ones_all(store: Store, cid: str, filled: str) -> None:
    whole = f"/k8s/dynamic/all_resources/clusters/{cid}/Pod"
    twice = "?data.status.phase=Running&data.status.phase=Failed"
    assert store.names(whole + twice) == []
    assert store("DELETE", whole + twice)["code"] == 0
    assert store("DELETE", whole, {"labelSelector": "app=b"}, labelSelector="app=a")["code"] == 0
    until = {"updateTimeEnd": int(time.time()) - 600}
    assert store("DELETE", whole, until, labelSelector="app=a")["code"] == 0
    assert store.names(whole) == EVERYTHING
    assert store.names(whole, limit=1, offset=1, labelSelector="app") == ["b"]
    assert store("DELETE", f"{filled}/a?labelSelector=app%3Db")["code"] == 0
    assert store("GET", f"{filled}/a", labelSelector="app=b")["code"] == 10004
    assert store("DELETE", f"{filled}/a", {"updateTimeEnd": 5})["code"] == 10005
    assert store.names(whole) == EVERYTHING


def test_many_clusters_are_listed_at_once(store: Store, cid: str, filled: str) -> None:
    other = f"{cid}-2"
    for namespace in ("test", "prod"):
        place = f"/k8s/dynamic/namespace_resources/clusters/{other}/namespaces/{namespace}/Pod"
        store.data("PUT", f"{place}/{namespace}", {"data": DOCUMENTS["a"]})
    path = "/k8s/dynamic/multicluster_resources/Pod"
    both = [{"clusterId": cid}, {"clusterId": other, "namespaces": ["prod"]}]

    def asked(**body: Any) -> tuple[list[str], int, int, int]:
        answer = store("POST", path, {"clusteredNamespaces": both, **body})
        assert answer["code"] == 0, answer
        names = [item["resourceName"] for item in answer["data"]]
        return names, answer["total"], answer["pageSize"], answer["offset"]

    assert asked() == (["prod", "c", "b", "a"], 4, 0, 0)
    assert asked(limit=2, offset=1, field="resourceName") == (["c", "b"], 4, 2, 1)
    assert asked(labelSelector="app=a", sort={"_id": 1}) == (["a", "prod"], 2, 0, 0)
    for refused in (
        {"clusteredNamespaces": []},
        {"clusteredNamespaces": [{"namespaces": ["prod"]}]},
        {"clusteredNamespaces": [{"clusterId": cid, "namespace": "prod"}]},
        {"clusteredNamespaces": both, "labelSelector": "=a"},
        {"clusteredNamespaces": both, "conditions": [{"op": "eq"}]},
        {"clusteredNamespaces": both, "sort": {"updateTime": 2}},
        {"clusteredNamespaces": both, "sort": {"metadata.name": 1}},
        {"clusteredNamespaces": both, "sort": {"resourceName.x": 1}},
        {"clusteredNamespaces": both, "limit": "many"},
        {},
    ):
        answer = store("POST", path, refused)
        assert (answer["code"], answer["data"], answer["total"]) == (10006, [], 0)


def leaf(operator: str, **value: Any) -> dict[str, Any]:
    """A condition as today's client encodes it; `__` in a name stands for a dot."""
    paths = {f"data.{name.replace('__', '.')}": item for name, item in value.items()}
    return {"Op": operator, "Value": paths, "Children": None}


def branch(operator: str, *children: Any) -> dict[str, Any]:
    """A condition on conditions."""
    return {"Op": operator, "Value": None, "Children": list(children)}


LABELS = "metadata__labels"
PART = f"{LABELS}__k8s．io/part"
# What cluster-resources sends for creators, names, labels, sources and addresses, and the other operators.
TREES: list[tuple[list[dict[str, Any]], list[str]]] = [
    ([], EVERYTHING),
    ([leaf("con", metadata__name="a")], ["a"]),
    ([leaf("con", metadata__name=".")], []),
    ([leaf("eq", **{PART: "x"})], ["a"]),
    ([leaf("eq", **{PART: None})], ["b", "c"]),
    ([leaf("ne", **{PART: None})], ["a"]),
    ([leaf("not", **{f"{LABELS}__app": "a"})], ["b", "c"]),
    ([leaf("in", **{f"{LABELS}__app": ["a", "b"]})], ["a", "b"]),
    ([leaf("in", **{f"{LABELS}__app": []})], []),
    ([leaf("nin", **{f"{LABELS}__app": ["a"]})], ["b", "c"]),
    ([leaf("exists", **{f"{LABELS}__app": ""})], ["a", "b"]),
    ([leaf("exists", **{f"{LABELS}__app": False})], ["c"]),
    ([leaf("eq", **{f"{LABELS}__app": "a", f"{LABELS}__tier": "db"})], []),
    ([leaf("eq", **{f"{LABELS}__app": "a"}), leaf("con", status__phase="Fail")], []),
    ([branch("or", leaf("eq", **{PART: "x"}), leaf("con", status__phase="Fail"))], ["a", "b"]),
    ([branch("nor", leaf("eq", **{PART: "x"}), leaf("con", status__phase="Fail"))], ["c"]),
    ([branch("not", leaf("con", status__phase="Fail"))], ["a", "c"]),
    (
        [branch("and", branch("nor", leaf("eq", **{PART: "x"})), leaf("ne", status__phase=None))],
        ["b"],
    ),
    ([leaf("eq", spec__containers={"$elemMatch": {"name": {"$regex": "c2"}}})], ["a"]),
    ([leaf("eq", spec__containers={"$elemMatch": {"name": {"$regex": "c.2"}}})], []),
    ([leaf("eq", spec__containers__name={"$elemMatch": {"$regex": "c"}})], ["a"]),
    ([leaf("eq", spec__containers__name="c1")], ["a"]),
    ([leaf("gt", metadata__name="a")], ["b", "c"]),
    ([leaf("lte", metadata__name="b")], ["a", "b"]),
    ([leaf("gte", metadata__name=5)], []),
    ([{"op": "tr", "value": {}}], EVERYTHING),
    ([{"op": "in", "value": {"resourceName": ["a", "c"]}, "children": []}], ["a", "c"]),
    ([{"op": "lt", "value": {"updateTime": 1}}], []),
    ([{"op": "gt", "value": {"updateTime": "2020-01-02T15:04:05Z"}}], EVERYTHING),
]


def asked_of_many(store: Store, cid: str, **body: Any) -> Any:
    """The answer to a question about the Pods of one cluster among several."""
    sent = {"offset": 0, "limit": 1000, "field": "", "conditions": None, **body}
    sent["clusteredNamespaces"] = [{"clusterId": cid, "namespaces": ["test"]}]
    return store("POST", "/k8s/dynamic/multicluster_resources/Pod", sent)


@pytest.mark.parametrize(("trees", "names"), TREES)
def test_condition_trees_narrow(
    store: Store, cid: str, filled: str, trees: list[dict[str, Any]], names: list[str]
) -> None:
    answer = asked_of_many(store, cid, conditions=trees)
    assert answer["code"] == 0, answer
    assert sorted(item["resourceName"] for item in answer["data"]) == names
    assert (answer["total"], answer["pageSize"]) == (len(names), 1000)


@pytest.mark.parametrize(
    "tree",
    [
        {"Op": "eq"},
        {"Op": "eq", "Value": {}},
        {"Op": "eq", "Value": "data.x"},
        {"Op": "eq", "Value": {"labelSelector": "x"}},
        {"Op": "eq", "Value": {"metadata.name": "a"}},
        {"Op": "eq", "Value": {"data..name": "a"}},
        {"Op": "eq", "Value": {"data.x": {"$where": "1"}}},
        {"Op": "eq", "Value": {"data.x": {"$regex": "(a+)+$"}}},
        {"Op": "in", "Value": {"data.x": "a"}},
        {"Op": "con", "Value": {"data.x": 1}},
        {"Op": "lt", "Value": {"data.x": [1]}},
        {"Op": "match", "Value": {"data.x": "a"}},
        {"Op": "type", "Value": {"data.x": "string"}},
        {"Op": "eq", "Value": {"data.x": 1}, "Extra": 1},
        {"Op": "eq", "Value": {"data.x": 1}, "op": "ne"},
        {"Op": "and", "Children": []},
        {"Op": "and", "Children": [None]},
        {"Op": "eq", "Children": [{"Op": "tr"}]},
        {"Op": "not", "Children": [{"Op": "tr"}, {"Op": "tr"}]},
        {"Op": "or", "Value": {"data.x": 1}, "Children": [{"Op": "tr"}]},
        None,
        "x",
    ],
)
def test_condition_trees_that_are_not_understood_list_nothing(
    store: Store, cid: str, filled: str, tree: Any
) -> None:
    for conditions in ([tree], [branch("or", leaf("con", metadata__name="a"), tree)]):
        answer = asked_of_many(store, cid, conditions=conditions)
        assert (answer["code"], answer["data"], answer["total"]) == (10006, [], 0)
    deep: Any = {"Op": "tr"}
    for _ in range(40):
        deep = branch("and", deep)
    assert asked_of_many(store, cid, conditions=[deep])["code"] == 10006


@pytest.mark.parametrize(
    ("sort", "names"),
    [
        ({"data.metadata.name": 1}, ["a", "b", "c"]),
        ({"data.metadata.name": -1}, ["c", "b", "a"]),
        ({"data.status.phase": 1}, ["c", "b", "a"]),
        ({"data.status.phase": -1}, ["a", "b", "c"]),
        ({"namespace": 1, "data.metadata.name": 1}, ["a", "b", "c"]),
        ({"updateTime": 1}, ["a", "b", "c"]),
        ({"_id": 1}, ["a", "b", "c"]),
        ({}, ["c", "b", "a"]),
        (None, ["c", "b", "a"]),
    ],
)
def test_lists_of_many_clusters_are_sorted(
    store: Store, cid: str, filled: str, sort: Any, names: list[str]
) -> None:
    answer = asked_of_many(store, cid, sort=sort)
    assert [item["resourceName"] for item in answer["data"]] == names
    pages = [asked_of_many(store, cid, sort=sort, offset=offset, limit=1) for offset in range(3)]
    assert [page["data"][0]["resourceName"] for page in pages] == names


# --- every route ----------------------------------------------------------------------------------------------------
VALUES = {"env": "k8s", "type": "Pod", "namespace": "test", "name": "a", "ip": "10.9.8.7"}


def _routes(
    patterns: list[URLPattern | URLResolver], prefix: str = "/"
) -> Iterator[tuple[str, type]]:
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _routes(list(pattern.url_patterns), route)
        elif hasattr(pattern.callback, "view_class") or hasattr(pattern.callback, "cls"):
            view = getattr(pattern.callback, "cls", None) or pattern.callback.view_class
            if getattr(view, "actions", None):
                yield route, view


ROUTES = [
    (route, method)
    for route, view in _routes(bcs_storage.urlpatterns)
    for method in view.actions  # type: ignore[attr-defined]
    # Any member may stand in its documents, so that any name is one to filter by: test_bcs_storage_custom.py.
    if view is not CustomResources
]
BODIES: dict[str, Any] = {
    "batch": '{"op":"put","resourceType":"Pod","resourceName":"new","data":{}}',
    "multicluster_resources/<segment:type>": {"clusteredNamespaces": [{"clusterId": "c"}]},
    "host/clusters/<segment:cluster>": {"ips": ["10.9.8.7"]},
}


def _contents(store: Store, cid: str) -> list[Any]:
    """Everything of the test's cluster that the routes could change."""
    lists = (
        f"/k8s/dynamic/all_resources/clusters/{cid}/Pod",
        f"/metric/clusters/{cid}",
        f"/host/clusters/{cid}",
        f"/k8s/watch/clusters/{cid}/namespaces/test/Pod",
        f"/mesos/watch/clusters/{cid}/namespaces/test/Pod",
        f"/events?clusterId={cid}",
        f"/alarms?clusterId={cid}",
    )
    return [store.data("GET", path) for path in lists]


@pytest.fixture
def every_family(store: Store, cid: str, filled: str) -> str:
    """The id of a cluster that has documents of each family."""
    for path in (
        f"/metric/clusters/{cid}/namespaces/test/Pod/a",
        f"/k8s/watch/clusters/{cid}/namespaces/test/Pod/a",
        f"/mesos/watch/clusters/{cid}/namespaces/test/Pod/a",
    ):
        store.data("PUT", path, {"data": {"v": 1}})
    store.data("PUT", f"/host/{cid}", {"clusterId": cid, "data": {}})
    store.data("PUT", "/events", {"clusterId": cid, "eventTime": 1})
    store.data("POST", "/alarms", {"clusterId": cid})
    return cid


@pytest.mark.parametrize(("route", "method"), ROUTES)
def test_no_route_takes_a_parameter_that_it_does_not_know(
    store: Store, every_family: str, route: str, method: str
) -> None:
    """In the query and, where a body is read, as one more member of it: refused in the document's shape, and nothing changes."""
    before = _contents(store, every_family)
    values = {**VALUES, "cluster": every_family}
    path = re.sub(r"<segment:(\w+)>", lambda match: values[match[1]], route)
    body: Any = None
    if method in ("PUT", "POST"):
        body = {"data": {"v": 2}, "clusterId": every_family}
        if "/query/" in path or "/dynamic/watch/" in path or (path, method) == ("/events", "POST"):
            body = {}
        body = next((sent for end, sent in BODIES.items() if route.endswith(end)), body)
    calls: list[tuple[str, Any]] = [(path + "?unknwon=1", body)]
    if isinstance(body, dict):
        calls.append((path, {**body, "unknwon": 1}))
    elif isinstance(body, str):
        calls.append((path, json.dumps({**json.loads(body), "unknwon": 1})))
    for address, sent in calls:
        answer = store(method, address, sent)
        assert not answer["result"], (address, sent, answer)
        assert answer["code"] in (10003, 10004, 10005, 10006)
    assert _contents(store, every_family) == before
