"""The examples of the bcs-storage document: every endpoint, its success and its failure, as the document prints them."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.storeserver import Store

EXAMPLES = json.loads(
    (Path(__file__).parent.parent / "recordings" / "bcs-storage-queries.json").read_text()
)
OBJECT_ID = re.compile(r"[0-9a-f]{24}")
LOCAL_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
DONE = {"result": True, "code": 0, "message": "Success", "data": None}
SENTENCES = {
    10003: "Put resource failed.",
    10004: "Get resource failed.",
    10005: "Delete resource failed.",
    10006: "List resource failed.",
}
BAD_EXTRA = "?extra=%21%21"


def failed(code: int, data: Any, **more: Any) -> dict[str, Any]:
    """A failure as the document prints it."""
    return {"result": False, "code": code, "message": SENTENCES[code], "data": data, **more}


def stamped(document: dict[str, Any], *times: str) -> dict[str, Any]:
    """The document without what the server makes, after a look at it."""
    rest = dict(document)
    assert OBJECT_ID.fullmatch(rest.pop("_id"))
    for name in times:
        assert LOCAL_TIME.fullmatch(rest.pop(name)), name
    return rest


# Where resources stand.
NAMESPACED = "/{env}/dynamic/namespace_resources/clusters/{cid}/namespaces/ns/application"
CLUSTER = "/{env}/dynamic/cluster_resources/clusters/{cid}/application"
ALL = "/{env}/dynamic/all_resources/clusters/{cid}/application"


@pytest.mark.parametrize("env", ["mesos", "k8s"])
@pytest.mark.parametrize(("form", "namespace"), [(NAMESPACED, {"namespace": "ns"}), (CLUSTER, {})])
def test_one_dynamic_resource(
    store: Store, cid: str, env: str, form: str, namespace: dict[str, str]
) -> None:
    path = form.format(env=env, cid=cid) + "/app"
    assert store("GET", path) == failed(10004, [])
    assert store("PUT", path, "{bad") == failed(10003, None)
    assert store("PUT", path, {"data": {"a": [1, {"b": None}]}}) == DONE
    answer = store("GET", path)
    assert {**answer, "data": None} == DONE
    (document,) = answer["data"]
    expected = {
        "clusterId": cid,
        **namespace,
        "resourceType": "application",
        "resourceName": "app",
        "data": {"a": [1, {"b": None}]},
    }
    assert stamped(document, "createTime", "updateTime") == expected
    assert store("GET", path + BAD_EXTRA) == failed(10004, [])
    assert store("DELETE", path + BAD_EXTRA) == failed(10005, None)
    assert store("GET", path)["data"] == [document]
    assert store("DELETE", path) == DONE
    assert store("GET", path) == failed(10004, [])
    assert store("DELETE", path) == DONE


@pytest.mark.parametrize("env", ["mesos", "k8s"])
@pytest.mark.parametrize("form", [NAMESPACED, CLUSTER, ALL])
def test_lists_and_batch_deletes(store: Store, cid: str, env: str, form: str) -> None:
    path = form.format(env=env, cid=cid)
    assert store("GET", path) == {**DONE, "data": []}
    one = (NAMESPACED if form == ALL else form).format(env=env, cid=cid)
    for name in ("b", "a"):
        assert store("PUT", f"{one}/{name}", {"data": {"clusterId": 1}}) == DONE
    answer = store("GET", path)
    assert {**answer, "data": None} == DONE
    assert [item["resourceName"] for item in answer["data"]] == ["b", "a"]
    assert {json.dumps(item["data"]) for item in answer["data"]} == {'{"clusterId": 1}'}
    assert store("GET", path + BAD_EXTRA) == failed(10006, [])
    assert store("DELETE", path + BAD_EXTRA) == failed(10005, [])
    assert store("DELETE", path, "{bad") == failed(10005, [])
    assert store.names(path) == ["b", "a"]
    assert store("DELETE", path) == DONE
    assert store("GET", path)["data"] == []


def place(cid: str, env: str, document: dict[str, Any]) -> str:
    """Where a watcher puts the document of an example."""
    name = document["resourceName"] or "example"
    scope = (
        f"namespace_resources/clusters/{cid}/namespaces/{document['namespace']}"
        if "namespace" in document
        else f"cluster_resources/clusters/{cid}"
    )
    return f"/{env}/dynamic/{scope}/{document['resourceType']}/{name}"


@pytest.mark.parametrize(
    "example",
    [item for item in EXAMPLES if item["query"] != "namespace" or item["env"] == "k8s"],
    ids=lambda item: f"{item['env']}-{item['query']}",
)
def test_typed_query(store: Store, cid: str, example: dict[str, Any]) -> None:
    request = re.sub(r"/clusters/[^/]+/", f"/clusters/{cid}/", example["request"])
    assert store("GET", request) == {**DONE, "data": []}
    (shown,) = example["success"]["data"]
    assert store("PUT", place(cid, example["env"], shown), {"data": shown["data"]}) == DONE
    answer = store("GET", request)
    assert {**answer, "data": None} == DONE
    (document,) = answer["data"]
    made = {
        name: value
        for name, value in shown.items()
        if name not in ("_id", "createTime", "updateTime")
    }
    assert stamped(document, "createTime", "updateTime") == {
        **made,
        "clusterId": cid,
        "resourceName": shown["resourceName"] or "example",
    }
    # The pool's failure example holds a filler code; the contract has the one of all lists.
    failure = example["failure"] if example["query"] != "ippoolstatic" else failed(10006, [])
    assert store("GET", request.partition("?")[0] + BAD_EXTRA) == failure
    assert store("POST", request.partition("?")[0], {"namespace": ["not", "a", "text"]}) == failure


def test_namespaces_of_a_mesos_cluster(store: Store, cid: str) -> None:
    (example,) = [
        item for item in EXAMPLES if (item["env"], item["query"]) == ("mesos", "namespace")
    ]
    request = re.sub(r"/clusters/[^/]+/", f"/clusters/{cid}/", example["request"])
    for kind, namespace in (
        ("application", "test2"),
        ("secret", "test3"),
        ("service", "test"),
        ("configmap", "test1"),
        ("deployment", "test"),
    ):
        store.data(
            "PUT",
            f"/mesos/dynamic/namespace_resources/clusters/{cid}/namespaces/{namespace}/{kind}/x",
            {"data": {}},
        )
    store.data(
        "PUT",
        f"/mesos/dynamic/namespace_resources/clusters/{cid}/namespaces/other/taskgroup/x",
        {"data": {}},
    )
    assert store("GET", request) == {**example["success"], "message": "Success"}
    assert store("POST", request, "") == store("GET", request)
    # Clients add to every query what the document's other ones take.
    assert store.data("GET", request, field="namespace") == ["test", "test1", "test2", "test3"]
    assert store.data("GET", request, offset="1", limit="2") == ["test1", "test2"]
    assert store("GET", request + BAD_EXTRA) == example["failure"]


def test_events(store: Store, cid: str) -> None:
    # The document's own example says 2017-09-29 12:00:00.
    report = {
        "id": "e-1",
        "env": "mesos",
        "kind": "rc",
        "level": "warning",
        "component": "kublet",
        "type": "killing",
        "describe": "wow its killing itself",
        "clusterId": cid,
        "eventTime": 1506657600,
        "extraInfo": {"namespace": "test", "name": "app", "kind": "rc"},
        "data": {"a": "1", "b": "2"},
    }
    assert store("PUT", "/events", report) == DONE
    answer = store("GET", "/events", clusterId=cid)
    assert {**answer, "data": None} == {**DONE, "total": 1}
    (event,) = answer["data"]
    assert stamped(event, "createTime") == {**report, "eventTime": "2017-09-29 12:00:00"}
    assert store("PUT", "/events", {**report, "eventTime": "soon"}) == failed(10003, None)
    assert store("GET", "/events" + BAD_EXTRA) == failed(10006, [], total=0)
    assert store("GET", "/events", clusterId=cid)["total"] == 1


def test_alarms(store: Store, cid: str) -> None:
    report = {
        "clusterId": cid,
        "namespace": "test",
        "message": "developer health test message",
        "source": "127.0.0.4:52328",
        "module": "",
        "type": "weixin",
        "receivedTime": 1510745681,
        "data": {},
    }
    assert store("POST", "/alarms", report) == DONE
    answer = store("GET", "/alarms", clusterId=cid)
    assert {**answer, "data": None} == {**DONE, "total": 1}
    assert stamped(answer["data"][0], "createTime") == {
        **report,
        "receivedTime": "2017-11-15 19:34:41",
    }
    assert store("POST", "/alarms", {**report, "message": ["a"]}) == failed(10003, None)
    assert store("GET", "/alarms" + BAD_EXTRA) == failed(10006, [], total=0)


@pytest.mark.parametrize("env", ["mesos", "k8s"])
def test_watch_nodes(store: Store, cid: str, env: str) -> None:
    listing = f"/{env}/watch/clusters/{cid}/namespaces/ns/exportservice"
    assert store("GET", f"{listing}/one") == failed(10004, None)
    assert store("PUT", f"{listing}/one", {"data": ["no", "object"]}) == failed(10003, None)
    assert store("PUT", f"{listing}/one", {"data": {"serviceName": "one"}}) == DONE
    answer = store("GET", f"{listing}/one")
    assert {**answer, "data": None} == DONE
    assert LOCAL_TIME.fullmatch(answer["data"].pop("updateTime"))
    assert answer["data"] == {"serviceName": "one"}
    assert [item["serviceName"] for item in store("GET", listing)["data"]] == ["one"]
    assert store("GET", listing + BAD_EXTRA) == failed(10006, None)
    other = "k8s" if env == "mesos" else "mesos"
    assert store("GET", f"/{other}/watch/clusters/{cid}/namespaces/ns/exportservice")["data"] == []
    assert store("DELETE", f"{listing}/one") == DONE
    assert store("GET", listing)["data"] == []


def test_metrics(store: Store, cid: str) -> None:
    listing, path = f"/metric/clusters/{cid}", f"/metric/clusters/{cid}/namespaces/ns/type/name"
    assert store("GET", path) == failed(10004, None)
    assert store("PUT", path, "[]") == failed(10003, None)
    assert store("PUT", path, {"data": {}}) == DONE
    answer = store("GET", path)
    assert {**answer, "data": None} == DONE
    expected = {"clusterId": cid, "namespace": "ns", "type": "type", "name": "name", "data": {}}
    assert stamped(answer["data"], "createTime", "updateTime") == expected
    assert store("GET", listing) == {**DONE, "data": [answer["data"]]}
    assert store("GET", listing, namespace="ns,other", type="type", name="name", field="name")[
        "data"
    ][0].keys() == {"_id", "name"}
    assert store("GET", listing, name="nam")["data"] == []
    assert cid in store.data("GET", "/metric/clusters")
    assert store("GET", listing + BAD_EXTRA) == failed(10006, None)
    assert store("DELETE", path) == DONE
    assert store("DELETE", path) == DONE
    assert store("GET", listing)["data"] == []


def test_a_metric_is_not_deleted_by_a_bad_body_or_query(store: Store, cid: str) -> None:
    path = f"/metric/clusters/{cid}/namespaces/ns/type/name"
    store.data("PUT", path, {"data": 1})
    assert store("DELETE", f"{path}%00") == failed(10005, None)
    assert store("GET", path)["data"]["data"] == 1


def test_hosts(store: Store, cid: str) -> None:
    ips = [f"{cid}-1", f"{cid}-2", f"{cid}-3"]
    assert store("GET", f"/host/{ips[0]}") == failed(10004, [])
    assert store("PUT", f"/host/{ips[0]}", "nothing") == failed(10003, None)
    assert (
        store("PUT", f"/host/{ips[0]}", {"ip": "ignored", "clusterId": cid, "data": {"a": "b"}})
        == DONE
    )
    answer = store("GET", f"/host/{ips[0]}")
    assert {**answer, "data": None} == DONE
    assert stamped(answer["data"][0], "createTime", "updateTime") == {
        "ip": ips[0],
        "clusterId": cid,
        "data": {"a": "b"},
    }
    assert store("POST", f"/host/clusters/{cid}", {"ips": ips[1:]}) == DONE
    assert [host["ip"] for host in store("GET", f"/host/clusters/{cid}")["data"]] == ips
    assert store("PUT", f"/host/clusters/{cid}", {"ips": "all"}) == failed(10003, None)
    assert store("PUT", f"/host/clusters/{cid}", {"ips": ips[1:]}) == DONE
    assert [host["ip"] for host in store("GET", f"/host/clusters/{cid}")["data"]] == ips[1:]
    left = store("GET", f"/host/{ips[0]}")["data"][0]
    assert (left["clusterId"], left["data"]) == ("", {"a": "b"})
    assert "data" not in store("GET", f"/host/{ips[1]}")["data"][0]
    assert store("GET", f"/host/clusters/{cid}" + BAD_EXTRA) == failed(10006, [])
    assert store("DELETE", f"/host/{ips[0]}") == DONE
    assert store("DELETE", f"/host/{ips[0]}") == DONE
    assert store("GET", f"/host/{ips[0]}") == failed(10004, [])
