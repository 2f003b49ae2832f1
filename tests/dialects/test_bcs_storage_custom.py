"""Documents of any members under a type (`customresources`), and what is told of clusters, as today's Go server's clients use them."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command

from tests.caller import Caller
from tests.storeserver import PREFIX, Store, database

CUSTOM = "/dynamic/customresources"


@pytest.fixture
def kind() -> str:
    """A type that no other test uses."""
    return f"Quota{uuid.uuid4().hex[:10]}"


def listed(store: Store, kind: str, key: str = "name", **query: Any) -> list[Any]:
    """One member of each document that a list holds."""
    return [item.get(key) for item in store.data("GET", f"{CUSTOM}/{kind}", **query)]


@pytest.fixture
def filled(store: Store, kind: str) -> str:
    """A type with three documents, named by an index."""
    store.data("PUT", f"{CUSTOM}/{kind}/index/{kind}_idx", {"name": 1, "spec.zone": -1})
    for name, zone, size in (("a", "z1", 1), ("a", "z2", 2), ("b", "z1", 3)):
        document = {"name": name, "spec": {"zone": zone, "size": size}, "clusterId": f"c-{kind}"}
        store.data("PUT", f"{CUSTOM}/{kind}", document)
    return kind


def test_an_index_names_documents_and_a_write_replaces_their_members(
    store: Store, filled: str
) -> None:
    path = f"{CUSTOM}/{filled}"
    before = store.data("GET", path, name="a", **{"spec.zone": "z1"})[0]
    assert set(before) == {"_id", "createTime", "updateTime", "name", "spec", "clusterId"}
    store.data("PUT", path, {**before, "note": "n", "spec": {"zone": "z1", "size": 9}})
    after = store.data("GET", path, name="a", **{"spec.zone": "z1"})[0]
    assert (after["spec"]["size"], after["note"], after["_id"]) == (9, "n", before["_id"])
    assert after["createTime"] == before["createTime"]
    store.data("PUT", path, {"name": "a", "spec": {"zone": "z1"}, "_isBcsObjectDeleted": False})
    again = store.data("GET", path, name="a", **{"spec.zone": "z1"})[0]
    assert (again["note"], again["spec"], again["clusterId"]) == (
        "n",
        {"zone": "z1"},
        f"c-{filled}",
    )
    assert listed(store, filled) == ["a", "a", "b"]


def test_without_an_index_each_write_is_a_document(store: Store, kind: str) -> None:
    for _ in range(2):
        store.data("PUT", f"{CUSTOM}/{kind}", {"name": "a"})
    assert listed(store, kind) == ["a", "a"]
    index = f"{CUSTOM}/{kind}/index/one"
    assert store("PUT", index, {"name": 1})["code"] == 10003, "there are two of them"
    store.data("DELETE", f"{CUSTOM}/{kind}", name="a")
    store.data("PUT", index, {"name": {"$numberInt": "1"}})
    store.data("PUT", index, [{"Key": "name", "Value": 1}])
    assert store("PUT", index, {"size": 1})["code"] == 10003, "another index of that name"
    for size in (1, 2):
        store.data("PUT", f"{CUSTOM}/{kind}", {"name": "a", "size": size})
    assert listed(store, kind, "size") == [2]
    for _ in range(2):
        store.data("DELETE", index)
    store.data("PUT", f"{CUSTOM}/{kind}", {"name": "a", "size": 3})
    assert listed(store, kind, "size") == [2, 3]


def test_a_second_index_is_kept_too(store: Store, kind: str) -> None:
    for index in ("name", "ip"):
        store.data("PUT", f"{CUSTOM}/{kind}/index/by-{index}", {index: 1})
    store.data("PUT", f"{CUSTOM}/{kind}", {"name": "a", "ip": "1"})
    assert store("PUT", f"{CUSTOM}/{kind}", {"name": "b", "ip": "1"})["code"] == 10003
    store.data("PUT", f"{CUSTOM}/{kind}", {"name": "b", "ip": "2"})
    assert store("PUT", f"{CUSTOM}/{kind}", {"name": "b", "ip": "1"})["code"] == 10003
    assert listed(store, kind, "ip") == ["1", "2"]


def test_writers_of_one_moment_make_one_document(store: Store, kind: str) -> None:
    store.data("PUT", f"{CUSTOM}/{kind}/index/one", {"name": 1})
    with ThreadPoolExecutor(4) as pool:
        sent = [{"name": "a", f"from{number}": number} for number in range(8)]
        list(pool.map(lambda body: store.data("PUT", f"{CUSTOM}/{kind}", body), sent))
    (document,) = store.data("GET", f"{CUSTOM}/{kind}")
    assert {f"from{number}" for number in range(8)} <= set(document)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"name": "a"}, ["a", "a"]),
        ({"name": "a,b", "spec.zone": "z1"}, ["a", "b"]),
        ({"spec.size": "1"}, []),
        ({"spec.size": ""}, ["a", "a", "b"]),
        ({"spec.none": ""}, []),
        ({"nmae": "a"}, []),
        ({"labelSelector": "app=x"}, []),
        ({"updateTimeBefore": "1"}, []),
        ({"offset": "1", "limit": "1"}, ["a"]),
        ({"extra": "eyJzcGVjLnNpemUiOjN9"}, ["b"]),
    ],
)
def test_parameters_narrow(
    store: Store, filled: str, query: dict[str, str], names: list[str]
) -> None:
    assert listed(store, filled, **query) == names
    if not {"offset", "limit"} & query.keys():
        store.data("DELETE", f"{CUSTOM}/{filled}", **query)
        assert sorted([*listed(store, filled), *names]) == ["a", "a", "b"]


def test_pages_and_projections(store: Store, filled: str) -> None:
    answer = store("GET", f"{CUSTOM}/{filled}", offset=1, limit=5, field="name")
    assert (answer["total"], answer["pageSize"], answer["offset"]) == (3, 5, 1)
    assert [set(item) for item in answer["data"]] == [{"_id", "name"}] * 2
    go = replace(store, prefix="/bcsstorage/v1")
    answer = go("GET", f"{CUSTOM}/{filled}")
    assert answer["message"] == "success"
    assert "T" in answer["data"][0]["updateTime"]
    assert go("GET", f"{CUSTOM}/{filled}", _id="x") == {
        "result": False,
        "code": 1405083,
        "message": "(bcs-storage):get resource failed.",
        "data": {},
    }
    assert go("PUT", f"{CUSTOM}/{filled}", {"name": "z", "spec": {}})["data"] == {}


def test_documents_of_clusters_stand_there_too(store: Store, cid: str, kind: str) -> None:
    """A monitor lists Pods of several clusters so; what is put with a place of a cluster is the same document as its own route's."""
    for cluster in (cid, f"{cid}-2"):
        place = f"/k8s/dynamic/namespace_resources/clusters/{cluster}/namespaces/test/{kind}"
        store.data("PUT", f"{place}/web", {"data": {"metadata": {"labels": {"app": "x"}}}})
    both = f"{cid},{cid}-2"
    page = store("GET", f"{CUSTOM}/{kind}", clusterId=both, namespace="test", limit=10, offset=0)
    assert [item["clusterId"] for item in page["data"]] == both.split(",")
    assert (page["total"], page["pageSize"]) == (2, 10)
    document = {**page["data"][0], "data": {"v": 2}}
    store.data("PUT", f"{CUSTOM}/{kind}", document)
    store.data("PUT", f"{CUSTOM}/{kind}", {"name": "free", "clusterId": cid, "data": None})
    store.data(
        "PUT",
        f"{CUSTOM}/{kind}",
        {"name": "nowhere", "data": {"metadata": {"labels": {"app": "x"}}}},
    )
    assert listed(store, kind, "data", clusterId=cid) == [{"v": 2}, None]
    assert listed(store, kind, "name", labelSelector="app=x") == [None, "nowhere"]
    assert listed(store, kind, "name", offset=1, limit=2) == [None, "free"]
    assert listed(store, kind, "name", offset=3) == ["nowhere"]
    assert listed(store, kind, "name", clusterId="") == [None, None, "free"]
    store.data("DELETE", f"{CUSTOM}/{kind}", clusterId=cid)
    assert listed(store, kind, "name") == [None, "nowhere"]
    for query in ({}, {"namespace": "test"}):
        assert store("DELETE", f"{CUSTOM}/{kind}", **query)["code"] == 10005, "no cluster is named"
    assert listed(store, kind, "name") == [None, "nowhere"]
    store.data("DELETE", f"{CUSTOM}/{kind}", clusterId=f"{cid}-2")
    store.data("DELETE", f"{CUSTOM}/{kind}", {})
    assert listed(store, kind, "name") == []


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("PUT", "", [], 10003),
        ("PUT", "", {}, 10003),
        ("PUT", "", {"_id": "x"}, 10003),
        ("PUT", "", '{"name": "a\\u0000"}', 10003),
        ("PUT", "?force=1", {"name": "c"}, 10003),
        ("PUT", "/index/two", {}, 10003),
        ("PUT", "/index/two", {"name": 2}, 10003),
        ("PUT", "/index/two", {"name": True}, 10003),
        ("PUT", "/index/two", {"na..me": 1}, 10003),
        ("PUT", "/index/two", [{"name": 1}], 10003),
        ("PUT", "/index/two?x=1", {"name": 1}, 10003),
        ("DELETE", "?limit=1", None, 10005),
        ("DELETE", "?offset=0", None, 10005),
        ("DELETE", "?_id=x", None, 10005),
        ("DELETE", "?name=a&.=", None, 10005),
        ("DELETE", "?labelSelector=", None, 10005),
        ("DELETE", "?labelSelector=%3D", None, 10005),
        ("DELETE", "?updateTimeBefore=never", None, 10005),
        ("DELETE", "?extra=e30&extra=eyJhIjoxfQ", None, 10005),
        ("DELETE", "", {"name": "a"}, 10005),
        ("GET", "?updateTime=5", None, 10004),
        ("GET", "?extra=%", None, 10004),
    ],
)
def test_what_is_not_understood_changes_nothing(
    store: Store, filled: str, method: str, path: str, body: Any, code: int
) -> None:
    answer = store(method, f"{CUSTOM}/{filled}{path}", body)
    assert (answer["result"], answer["code"]) == (False, code)
    assert listed(store, filled) == ["a", "a", "b"]


def test_secrets_are_sealed_and_name_no_document(store: Store, cid: str, kind: str) -> None:
    free = {"name": "a", "data": {"p": "cGFzcw=="}}
    assert store("PUT", f"{CUSTOM}/Secret", free)["code"] == 10003
    store.data("PUT", f"{CUSTOM}/{kind}/index/one", {"inner.data.p": 1})
    held = {"name": "b", "inner": {"kind": "Secret", "metadata": {}, "data": {"p": "cGFzcw=="}}}
    assert store("PUT", f"{CUSTOM}/{kind}", held)["code"] == 10003, "the index names a value"
    store.data("DELETE", f"{CUSTOM}/{kind}/index/one")
    store.data("PUT", f"{CUSTOM}/{kind}", held)
    with database() as cursor:
        cursor.execute(
            "SELECT data::text FROM storage_free_document WHERE resource_type = %s", [kind]
        )
        assert "cGFzcw==" not in cursor.fetchone()[0]
    assert listed(store, kind, **{"inner.data.p": "cGFzcw=="}) == []


def test_what_is_told_of_a_cluster(store: Store, cid: str) -> None:
    path = f"/clusters/{cid}"
    for version in (1, 2):
        store.data("PUT", path, {"clusterID": "other", "data": {"version": version}})
    (found,) = store.data("GET", f"{CUSTOM}/Cluster", clusterID=cid)
    assert (found["clusterID"], found["data"]) == (cid, {"version": 2})
    go = replace(store, prefix="/bcsstorage/v1")
    for refused in ({"dta": 1}, [], "x"):
        assert go("PUT", path, refused)["code"] == 1405082
    assert go("PUT", path, {"data": {"version": 3}})["data"] == {}
    assert store("DELETE", f"{path}?name=x")["code"] == 10005
    assert store("DELETE", path, {"a": 1})["code"] == 10005
    assert listed(store, "Cluster", "data", clusterID=cid) == [{"version": 3}]
    for _ in range(2):
        assert store.data("DELETE", path) is None
    assert listed(store, "Cluster", "data", clusterID=cid) == []


@pytest.mark.django_db
def test_a_documents_cluster_decides_who_may(admin: Caller, cid: str, kind: str) -> None:
    """A credential of one cluster reads and writes what names that cluster, and takes nothing from another by an index."""
    path = f"{PREFIX}{CUSTOM}/{kind}"
    out = StringIO()
    scopes = ("--scope", "storage:read", "--scope", "storage:write")
    call_command("create_token", "admin", *scopes, "--cluster", cid, stdout=out)
    token = Caller(out.getvalue().strip())
    assert admin("PUT", f"{path}/index/one", {"name": 1})["code"] == 0
    for body in (
        {"name": "a", "clusterId": cid},
        {"name": "b", "clusterId": "else"},
        {"name": "c"},
    ):
        assert admin("PUT", path, body)["code"] == 0
    assert [item["name"] for item in token("GET", f"{path}?clusterId={cid}")["data"]] == ["a"]
    secret = {"kind": "Secret", "data": {"p": "eA=="}}
    assert token("PUT", path, {"name": "a", "clusterId": cid, "v": secret})["code"] == 0
    (read,) = token("GET", f"{path}?clusterId={cid}&field=v")["data"]
    assert read["v"] == {"kind": "Secret", "data": {"p": "***"}}
    for method, address, body in (
        ("GET", path, None),
        ("GET", f"{path}?clusterId={cid},else", None),
        ("GET", f"{path}?clusterId=", None),
        ("GET", f"{path}?name=a", None),
        ("DELETE", path, None),
        ("DELETE", f"{path}?clusterId=else", None),
        ("PUT", path, {"name": "d"}),
        ("PUT", path, {"name": "d", "clusterId": [cid]}),
        ("PUT", path, {"name": "b", "clusterId": cid}),
        ("PUT", path, {"name": "c", "clusterId": cid}),
        ("PUT", path, {"name": "d", "clusterId": cid, "clusterID": "else"}),
        ("PUT", f"{path}/index/two", {"v": 1}),
        ("DELETE", f"{path}/index/one", None),
        ("PUT", f"{PREFIX}/clusters/else", {"data": {}}),
        ("DELETE", f"{PREFIX}/clusters/else", None),
    ):
        assert token.raw(method, address, body).status_code == 403, (method, address, body)
    assert token("PUT", f"{PREFIX}/clusters/{cid}", {"data": {}})["code"] == 0
    assert token("DELETE", f"{path}?clusterId={cid}")["code"] == 0
    assert [item["name"] for item in admin("GET", path)["data"]] == ["b", "c"]
