"""What clients of bcs-storage depend on, over HTTP: identity and times, projection, `extra`, ranges, sweeps, paging, both wire profiles."""

import re
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.storeserver import Store, encoded

DONE = {"result": True, "code": 0, "message": "Success", "data": None}


def put(store: Store, path: str, **documents: Any) -> None:
    """Put documents by name under a list's path."""
    for name, data in documents.items():
        store.data("PUT", f"{path}/{name}", {"data": data})


def query(cid: str, kind: str, env: str = "k8s") -> str:
    """The path of a typed query."""
    return f"/query/{env}/dynamic/clusters/{cid}/{kind}"


# --- The contract's acceptance set ----------------------------------------------------------------------------------


def test_putting_again_keeps_id_and_create_time_and_moves_update_time(
    store: Store, go_store: Store, pods: str
) -> None:
    put(store, pods, web={"v": 1})
    before = go_store.data("GET", f"{pods}/web")
    put(store, pods, web={"v": 1})
    same = go_store.data("GET", f"{pods}/web")
    put(store, pods, web={"v": 2})
    after = go_store.data("GET", f"{pods}/web")
    assert before["_id"] == same["_id"] == after["_id"]
    assert before["createTime"] == same["createTime"] == after["createTime"] == before["updateTime"]
    assert before["updateTime"] < same["updateTime"] < after["updateTime"]
    assert after["data"] == {"v": 2}
    store.data("DELETE", f"{pods}/web")
    put(store, pods, web={"v": 2})
    again = go_store.data("GET", f"{pods}/web")
    assert again["_id"] != after["_id"]
    assert again["createTime"] > after["updateTime"]


def test_the_names_of_a_list_come_with_their_id_and_nothing_else(store: Store, pods: str) -> None:
    put(store, pods, b={"x": 1}, a={"x": 2})
    listed = store.data("GET", pods, field="resourceName")
    assert [set(item) for item in listed] == [{"_id", "resourceName"}] * 2
    assert [item["resourceName"] for item in listed] == ["b", "a"]
    assert all(isinstance(value, str) for item in listed for value in item.values())


def test_a_sweep_takes_what_was_not_put_again(store: Store, cid: str) -> None:
    base = f"/mesos/dynamic/namespace_resources/clusters/{cid}/namespaces/ns/taskgroup"
    put(store, base, old={})
    time.sleep(1.1)
    put(store, base, fresh={})
    sweep = f"/mesos/dynamic/all_resources/clusters/{cid}/taskgroup"
    assert (
        store("DELETE", sweep, {"updateTimeBegin": 0, "updateTimeEnd": int(time.time()) - 600})
        == DONE
    )
    assert store.names(sweep) == ["old", "fresh"]
    cut = datetime.strptime(
        store.data("GET", f"{base}/fresh")[0]["updateTime"], "%Y-%m-%d %H:%M:%S"
    ).replace(tzinfo=UTC)
    assert (
        store(
            "DELETE",
            sweep,
            {"updateTimeBegin": 0, "updateTimeEnd": str(int(cut.timestamp()) - 8 * 3600)},
        )
        == DONE
    )
    assert store.names(sweep) == ["fresh"]
    assert store("DELETE", sweep + f"?updateTimeBegin={int(time.time()) + 60}") == DONE
    assert store.names(sweep) == ["fresh"]


@pytest.mark.parametrize(
    "body",
    [
        "{bad",
        "[]",
        '"x"',
        {"updateTimeEnd": "yesterday"},
        {"updateTimeEnd": 1.5},
        {"updateTimeBegin": True},
        "\x00",
        {"updateTimeEnd": []},
    ],
)
def test_a_sweep_that_is_not_understood_deletes_nothing(store: Store, pods: str, body: Any) -> None:
    put(store, pods, web={})
    assert store("DELETE", pods, body)["code"] == 10005
    assert store("DELETE", pods + "?updateTimeEnd=2017-09-13%2019:40:30")["code"] == 10005
    assert store.names(pods) == ["web"]


def test_extra_looks_into_arrays_and_dotted_keys(store: Store, pods: str) -> None:
    put(
        store,
        pods,
        owned={
            "metadata": {
                "ownerReferences": [{"name": "other"}, {"name": "rs"}],
                "labels": {"io.tencent.bcs.cluster": "c"},
            }
        },
        free={
            "metadata": {
                "ownerReferences": [],
                "labels": {"io": {"tencent": {"bcs": {"cluster": "c"}}}},
            }
        },
    )
    assert store.names(pods, extra=encoded({"data.metadata.ownerReferences.name": "rs"})) == [
        "owned"
    ]
    assert store.names(pods, extra=encoded({"data.metadata.ownerReferences.1.name": "rs"})) == [
        "owned"
    ]
    assert store.names(pods, extra=encoded({"data.metadata.ownerReferences.0.name": "rs"})) == []
    assert store.names(
        pods, extra=encoded({"data.metadata.labels.io．tencent．bcs．cluster": "c"})
    ) == ["owned"]
    assert store.names(
        pods, extra=encoded({"data.metadata.labels.io.tencent.bcs.cluster": "c"})
    ) == ["free"]
    projected = store.data("GET", pods, field="data.metadata.labels.io．tencent．bcs．cluster")
    assert [item["data"]["metadata"]["labels"] for item in projected] == [
        {"io.tencent.bcs.cluster": "c"},
        {},
    ]


def test_typed_queries_take_comma_lists_and_bodies(store: Store, cid: str, pods: str) -> None:
    put(
        store,
        pods,
        a={"status": {"phase": "Running"}},
        b={"status": {"phase": "Failed"}},
        c={"status": {"phase": "Pending"}},
        d={"status": {"phase": 1}},
    )
    path = query(cid, "pod")
    assert store.names(path, status="Running,Failed") == ["a", "b"]
    assert store.names(path, status="1") == []
    assert store.names(path, status=" Running") == []
    assert store.names(path, status="running") == []
    assert store.names(path, status="") == ["a", "b", "c", "d"]
    assert store.names(path + "?status=Running&status=Failed") == ["a"]
    asked = store.data(
        "POST",
        path,
        {
            "status": "Running,Failed",
            "field": "resourceName",
            "limit": 1,
            "offset": "1",
            "clusterId": "elsewhere",
        },
    )
    assert [set(item) for item in asked] == [{"_id", "resourceName"}]
    assert asked[0]["resourceName"] == "b"
    assert len(store.data("POST", path)) == 4
    assert store("POST", path, {"status": {"a": 1}})["code"] == 10006
    assert store("POST", path, "{bad")["code"] == 10006


def test_events_are_counted_and_newest_first(store: Store, cid: str) -> None:
    for second in (10, 30, 20, 20):
        store.data(
            "PUT",
            "/events",
            {
                "clusterId": cid,
                "eventTime": 1509423100 + second,
                "describe": f"{second}%",
                "type": "a",
                "kind": "Pod",
            },
        )

    def seen(**asked: Any) -> tuple[list[str], int]:
        answer = store("GET", "/events", clusterId=f"x,{cid}", **asked)
        return [event["describe"] for event in answer["data"]], answer["total"]

    assert seen() == (["30%", "20%", "20%", "10%"], 4)
    assert seen(length=2, offset=1) == (["20%", "20%"], 4)
    assert seen(length=0, offset="x") == (["30%", "20%", "20%", "10%"], 4)
    assert seen(timeBegin=1509423110, timeEnd=1509423130) == (["20%", "20%"], 2)
    assert seen(timeBegin="2017-10-31 12:12:05", timeEnd="soon") == (["30%"], 1)
    assert seen(limit=1) == (["30%"], 4)
    assert seen(limit=1, length=2) == (["30%", "20%"], 4)
    assert seen(kind="rc,Pod", level="") == (["30%", "20%", "20%", "10%"], 4)
    assert seen(kind="pod") == ([], 0)
    assert seen(extra=encoded({"describe": ["10%", "30%"]})) == (["30%", "10%"], 2)
    assert seen(extra_contain=encoded({"describe": "0%", "type": "a"}), length=1) == (["30%"], 4)
    assert seen(extra_contain=encoded({"describe": "_0"})) == ([], 0)


def test_event_filters_reach_into_extra_info(store: Store, cid: str) -> None:
    for name, namespace in (("app", "test"), ("app", "prod"), ("db", "test")):
        store.data(
            "PUT",
            "/events",
            {"clusterId": cid, "extraInfo": {"name": name, "namespace": namespace, "kind": "Pod"}},
        )

    def total(**asked: str) -> int:
        return int(store("GET", "/events", clusterId=cid, **asked)["total"])

    assert total(**{"extraInfo.name": "app"}) == 2
    assert total(**{"extraInfo.name": "app,db", "extraInfo.namespace": "test"}) == 2
    assert total(**{"extraInfo.kind": "rc"}) == 0


def test_events_may_be_asked_for_without_a_cluster(store: Store, cid: str) -> None:
    store.data("PUT", "/events", {"clusterId": cid, "eventTime": 1, "id": cid})
    answer = store("GET", "/events", id=cid)
    assert (answer["total"], answer["data"][0]["clusterId"]) == (1, cid)


def test_alarm_types_match_in_part(store: Store, cid: str) -> None:
    for kinds in ("weixin,sms", "rtx", "sms-gateway", "100%"):
        store.data("POST", "/alarms", {"clusterId": cid, "type": kinds, "receivedTime": 1510745681})

    def types(**asked: str) -> list[str]:
        return sorted(
            alarm["type"] for alarm in store.data("GET", "/alarms", clusterId=cid, **asked)
        )

    assert types(type="sms") == ["sms-gateway", "weixin,sms"]
    assert types(type="rtx,weixin") == ["rtx", "weixin,sms"]
    assert types(type="%") == ["100%"]
    assert types(type="_") == []
    assert types(timeBegin="1510745681") == []
    assert types(timeBegin="1510745680", timeEnd="1510745682") == [
        "100%",
        "rtx",
        "sms-gateway",
        "weixin,sms",
    ]


def test_what_is_put_under_one_environment_is_read_under_the_other(store: Store, cid: str) -> None:
    put(
        store,
        f"/k8s/dynamic/namespace_resources/clusters/{cid}/namespaces/ns/application",
        app={"status": "Running"},
    )
    assert store.names(f"/mesos/dynamic/all_resources/clusters/{cid}/application") == ["app"]
    assert store.names(query(cid, "application", "mesos"), status="Running") == ["app"]


# --- Projection, paging, scopes -------------------------------------------------------------------------------------

DOCUMENT = {
    "metadata": {"name": "n", "labels": {"a": "b"}},
    "spec": {"containers": [{"image": "i", "name": "c"}, 5, {"name": "d"}]},
    "n": 12345678901234567890123,
}


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("data.metadata.name", {"data": {"metadata": {"name": "n"}}}),
        ("data.spec.containers.image", {"data": {"spec": {"containers": [{"image": "i"}, {}]}}}),
        ("data.spec.missing,data.nothing.at.all", {"data": {"spec": {}}}),
        ("data.metadata.name.deeper,namespace", {"data": {"metadata": {}}, "namespace": "test"}),
        ("data.n,data", {"data": DOCUMENT}),
        (
            "data.metadata.labels,data.metadata.labels.a,resourceType",
            {"data": {"metadata": {"labels": {"a": "b"}}}, "resourceType": "Pod"},
        ),
        ("data.n", {"data": {"n": 12345678901234567890123}}),
        ("_id", {}),
        ("nothing", {}),
        (",,resourceName,", {"resourceName": "web"}),
        ("resourceName.x", {}),
    ],
)
def test_projection_gives_the_asked_paths_and_the_id(
    store: Store, pods: str, field: str, expected: dict[str, Any]
) -> None:
    put(store, pods, web=DOCUMENT)
    for found in (
        store.data("GET", f"{pods}/web", field=field)[0],
        store.data("GET", pods, field=field)[0],
    ):
        assert found.pop("_id")
        assert found == expected


def test_an_empty_field_is_the_whole_document(store: Store, pods: str) -> None:
    put(store, pods, web={})
    keys = {
        "_id",
        "clusterId",
        "namespace",
        "resourceType",
        "resourceName",
        "data",
        "createTime",
        "updateTime",
    }
    assert set(store.data("GET", pods, field="")[0]) == keys
    assert set(store.data("GET", pods, field=",")[0]) == keys


def test_pages_keep_the_order_of_arrival_and_have_no_hidden_cap(store: Store, cid: str) -> None:
    lines = "".join(
        f'{{"op":"put","resourceType":"Pod","namespace":"ns","resourceName":"p{n}","data":{{"n":{n}}}}}\n'
        for n in range(3200)
    )
    assert store.data("POST", f"/k8s/dynamic/clusters/{cid}/batch", lines)["added"] == 3200
    put(
        store,
        f"/k8s/dynamic/namespace_resources/clusters/{cid}/namespaces/ns/Pod",
        p0={"n": "again"},
    )
    listing = f"/k8s/dynamic/all_resources/clusters/{cid}/Pod"
    everything = store.names(listing)
    assert len(everything) == 3200
    paged = [
        name
        for start in range(0, 3300, 500)
        for name in store.names(listing, offset=start, limit=500)
    ]
    assert paged == everything
    for unlimited in (
        {"limit": 0},
        {"limit": "-3"},
        {"limit": "many"},
        {"offset": "-1"},
        {"limit": "9" * 30},
    ):
        assert len(store.data("GET", listing, field="resourceName", **unlimited)) == 3200
    assert store.names(listing, offset=3199) == everything[3199:]
    assert store.names(listing, offset=2**62, limit=2**62) == []


def test_cluster_scope_covers_namespaces_in_lists_and_prefers_its_own(
    store: Store, cid: str
) -> None:
    own = f"/k8s/dynamic/cluster_resources/clusters/{cid}/Node"
    inside = f"/k8s/dynamic/namespace_resources/clusters/{cid}/namespaces/default/Node"
    put(store, inside, n1={"from": "namespace"}, n2={"from": "namespace"})
    assert store.data("GET", f"{own}/n1")[0]["data"] == {"from": "namespace"}
    put(store, own, n1={"from": "cluster"})
    assert store.data("GET", f"{own}/n1")[0]["data"] == {"from": "cluster"}
    assert "namespace" not in store.data("GET", f"{own}/n1")[0]
    assert store.names(own) == ["n1", "n2", "n1"]
    store.data("DELETE", f"{own}/n2")
    assert store.names(inside) == ["n1", "n2"]
    store.data("DELETE", f"{own}/n1")
    assert store.data("GET", f"{own}/n1")[0]["data"] == {"from": "namespace"}
    store.data("DELETE", own)
    assert store.names(inside) == []


def test_types_are_exact_in_paths_and_of_any_case_in_typed_queries(store: Store, cid: str) -> None:
    base = f"/k8s/dynamic/namespace_resources/clusters/{cid}/namespaces/ns"
    put(store, f"{base}/EndPoints", old={})
    put(store, f"{base}/Endpoints", new={})
    assert store.names(f"{base}/EndPoints") == ["old"]
    assert store.names(f"{base}/endpoints") == []
    found = store.data("GET", query(cid, "endpoints"))
    assert [item["resourceType"] for item in found] == ["EndPoints", "Endpoints"]
    put(store, f"/mesos{base.removeprefix('/k8s')}/endpoint", one={"apiVersion": "v4"})
    assert store.names(query(cid, "endpoints", "mesos"), apiVersion="v4") == ["one"]


def test_processes_stand_among_the_applications(store: Store, cid: str) -> None:
    base = f"/mesos/dynamic/namespace_resources/clusters/{cid}/namespaces/ns"
    put(
        store,
        f"{base}/application",
        app={"kind": "application"},
        plain={},
        proc={"kind": "process"},
        other={"kind": "x"},
    )
    put(store, f"{base}/process", proc2={"kind": "process"})
    assert store.names(f"{base}/process") == ["proc", "proc2"]
    assert store.names(f"{base}/application") == ["app", "plain", "proc", "other", "proc2"]
    assert store.names(query(cid, "application", "mesos")) == ["app", "plain"]
    found = store.data("GET", query(cid, "process", "mesos"), name="proc2,app")
    assert [(item["resourceName"], item["resourceType"]) for item in found] == [
        ("proc2", "application")
    ]
    assert store("GET", f"{base}/process/app")["code"] == 10004
    store.data("DELETE", f"{base}/process/app")
    store.data("DELETE", f"{base}/process")
    assert store.names(f"{base}/application") == ["app", "plain", "other"]


def test_used_namespaces_of_a_k8s_cluster(store: Store, cid: str) -> None:
    for namespace, kind in (("b", "Deployment"), ("a", "Job"), ("b", "Secret"), ("zz", "Pod")):
        put(
            store,
            f"/k8s/dynamic/namespace_resources/clusters/{cid}/namespaces/{namespace}/{kind}",
            x={"kind": kind},
        )
    put(
        store,
        f"/k8s/dynamic/cluster_resources/clusters/{cid}/Namespace",
        a={"status": {"phase": "Active"}},
    )
    assert store.data("GET", query(cid, "namespace"), used="1") == ["a", "b"]
    assert store.data("POST", query(cid, "namespace"), {"used": "1", "name": "b,c"}) == ["b"]
    assert store.data(
        "GET", query(cid, "namespace"), used="1", extra=encoded({"data.kind": "Secret"})
    ) == ["b"]
    assert store.names(query(cid, "namespace"), status="Active") == ["a"]


# --- Times ----------------------------------------------------------------------------------------------------------


AT, NONE, ALL = ["at"], [], ["at", "null", "odd"]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"startTimeBegin": "1507534664"}, AT),
        ({"startTimeBegin": "1507534665"}, NONE),
        ({"startTimeEnd": "1507534664"}, NONE),
        ({"startTimeEnd": "1507534665"}, AT),
        ({"startTimeBegin": "2017-10-09 15:37:44", "startTimeEnd": "2017-10-09 15:37:45"}, AT),
        ({"startTimeBegin": "2017-10-09 15:37:45"}, NONE),
        (
            {
                "startTimeBegin": "2017-10-09T07:37:44Z",
                "startTimeEnd": "2017-10-09T09:37:45.5+02:00",
            },
            AT,
        ),
        ({"startTimeBegin": "2017-10-09T07:37:44.001Z"}, NONE),
        ({"startTimeBegin": "", "startTimeEnd": ""}, ALL),
        ({"startTimeBegin": "tomorrow", "startTimeEnd": "2017-02-30 00:00:00"}, ALL),
        ({"startTimeBegin": str(2**63)}, ALL),
        ({"startTimeBegin": "2017-10-09T15:37:44 08:00"}, AT),
        ({"startTimeBegin": "2017-10-09T15:37:45 08:00"}, NONE),
        ({"startTimeEnd": str(2**62)}, AT),
        ({"lastUpdateTimeBegin": "0"}, NONE),
    ],
)
def test_time_ranges_compare_instants_or_wall_clocks(
    store: Store, cid: str, asked: dict[str, str], found: list[str]
) -> None:
    """Begin is closed, end is open; what cannot be read is ignored; a document without the time matches no range of it; a space
    stands for a plus."""
    documents = {
        "at": {"startTime": "2017-10-09T15:37:44+08:00"},
        "null": {"startTime": None},
        "odd": {"startTime": "2017-13-01T00:00:00Z"},
    }
    put(
        store,
        f"/mesos/dynamic/namespace_resources/clusters/{cid}/namespaces/ns/taskgroup",
        **documents,
    )
    assert store.names(query(cid, "taskgroup", "mesos"), **asked) == found


def test_integer_times_compare_as_unix_seconds_and_wall_clocks_of_the_servers_zone(
    store: Store, cid: str
) -> None:
    put(
        store,
        f"/mesos/dynamic/namespace_resources/clusters/{cid}/namespaces/ns/deployment",
        a={"last_rolling_time": 1507534664},
        b={"last_rolling_time": 0},
    )
    path = query(cid, "deployment", "mesos")
    assert store.names(path, lastRollingTimeBegin="1507534664") == ["a"]
    assert store.names(path, lastRollingTimeBegin="2017-10-09 15:37:44") == ["a"]
    assert store.names(path, lastRollingTimeBegin="2017-10-09 15:37:45") == []
    assert store.names(path, lastRollingTimeEnd="1507534664") == ["b"]


def test_booleans_and_integers_are_strict_about_missing_values(store: Store, cid: str) -> None:
    put(
        store,
        f"/mesos/dynamic/namespace_resources/clusters/{cid}/namespaces/ns/deployment",
        yes={"is_in_rolling": True, "check_time": 5},
        no={"is_in_rolling": False, "check_time": 0},
        none={},
        text={"is_in_rolling": "true", "check_time": "5"},
    )
    path = query(cid, "deployment", "mesos")
    assert (
        store.names(path, isInRolling="TRUE")
        == store.names(path, isInRolling="1")
        == store.names(path, checkTime="5")
        == ["yes"]
    )
    assert store.names(path, isInRolling="nonsense") == store.names(path, checkTime="0") == ["no"]
    assert store.names(path, checkTime="five") == ["yes", "no", "none", "text"]


# --- extra ----------------------------------------------------------------------------------------------------------


def test_extra_cannot_reach_past_the_address(store: Store, cid: str, pods: str) -> None:
    put(store, pods, web={"secret": 1})
    elsewhere = pods.replace("/namespaces/test/", "/namespaces/other/")
    escape = encoded(
        {"clusterId": cid, "namespace": "test", "resourceType": "Pod", "resourceName": "web"}
    )
    assert store.data("GET", elsewhere, extra=escape) == []
    assert store("GET", f"{elsewhere}/web", extra=escape)["code"] == 10004
    store.data("DELETE", elsewhere, extra=escape)
    store.data(
        "PUT", f"{elsewhere}/new?extra={encoded({'clusterId': 'x', 'own': 'y'})}", {"data": {}}
    )
    assert store.names(pods) == ["web"]
    (made,) = store.data("GET", elsewhere)
    assert (made["clusterId"], "own" in made) == (cid, False)


@pytest.mark.parametrize(
    "spell",
    [
        lambda text: text,
        lambda text: text.rstrip("="),
        lambda text: text.replace("+", "-").replace("/", "_"),
        lambda text: text.replace("+", " "),
    ],
)
def test_extra_is_read_in_every_spelling_that_clients_send(
    store: Store, pods: str, spell: Any
) -> None:
    put(store, pods, web={"k": "~~~>>>???"}, other={"k": "x"})
    assert store.names(pods, extra=spell(encoded({"data.k": "~~~>>>???"}))) == ["web"]


def test_operators_in_extra_are_plain_values(store: Store, pods: str) -> None:
    put(store, pods, web={"k": "x"}, odd={"k": {"$ne": "x"}})
    assert store.names(pods, extra=encoded({"data.k": {"$ne": "x"}})) == ["odd"]
    assert store.names(pods, extra=encoded({"$or": [{"data.k": "x"}]})) == []


def test_extra_of_a_typed_query_takes_any_of_an_array(store: Store, cid: str, pods: str) -> None:
    put(store, pods, a={"k": "1"}, b={"k": "2"}, c={"k": ["1", "2"]}, d={"k": 1})
    assert store.names(query(cid, "pod"), extra=encoded({"data.k": ["1", "3"]})) == ["a", "c"]
    assert store.names(pods, extra=encoded({"data.k": ["1", "2"]})) == ["c"]
    assert store.names(query(cid, "pod"), extra=encoded({"data.k": 1.0})) == ["d"]
    assert store.names(query(cid, "pod"), extra=encoded({"data.nothing": None})) == [
        "a",
        "b",
        "c",
        "d",
    ]


# --- The Go server's wire profile -----------------------------------------------------------------------------------


def test_the_go_profile_speaks_as_the_go_server(go_store: Store, cid: str, pods: str) -> None:
    done = {"result": True, "code": 0, "message": "success", "data": {}}
    assert go_store("PUT", f"{pods}/web", {"data": {"a": 1}}) == done
    found = go_store("GET", f"{pods}/web")
    assert (found["message"], found["data"]["data"]) == ("success", {"a": 1})
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+08:00", found["data"]["createTime"]
    )
    assert go_store("GET", f"{pods}/none") == {
        "result": False,
        "code": 1405087,
        "message": "(bcs-storage):resource does not exist.",
        "data": {},
    }
    assert go_store("PUT", f"{pods}/web", "") == {
        "result": False,
        "code": 1405082,
        "message": "(bcs-storage):put resource failed.",
        "data": {},
    }
    assert go_store("DELETE", pods, "{")["code"] == 1405084
    assert go_store("GET", pods, extra="!") == {
        "result": False,
        "code": 1405085,
        "message": "(bcs-storage):list resource failed.",
        "data": [],
    }
    assert go_store("GET", "/events", extra="!")["data"] == []
    assert go_store("GET", f"/k8s/watch/clusters/{cid}/namespaces/n/t/x")["code"] == 1405083
    assert go_store("DELETE", pods) == done
    assert go_store("GET", pods) == {**done, "data": []}


# --- Addresses ------------------------------------------------------------------------------------------------------


def test_both_prefixes_serve_the_same_store(store: Store, pods: str) -> None:
    own = Store(store.host, store.port, "/bcsstorage/v1")
    put(own, pods, web={"a": 1})
    assert store("GET", f"{pods}/web") == own("GET", f"{pods}/web/", wire="doc")
    for prefix in (store, own):
        answer = prefix.raw("GET", "/no/such/thing")
        assert (answer.status, answer.json["result"], answer.json["data"]) == (404, False, None)
        answer = prefix.raw("PATCH", pods)
        assert (answer.status, answer.json["result"], answer.json["data"]) == (405, False, None)


@pytest.mark.parametrize(
    "name",
    [
        "0.app.ns.10000.1509423130",
        "system:node:a",
        "a%2Fb",
        "a%2fb%2Fc",
        "%E4%B8%AD%E6%96%87",
        "a%20b",
        "100%25",
        "a%252Fb",
        "x'--;%22",
        "%5B%5D%3F",
        "a+b",
        "%F0%9F%98%80",
    ],
)
def test_names_are_decoded_once(store: Store, pods: str, name: str) -> None:
    from urllib.parse import unquote

    store.data("PUT", f"{pods}/{name}", {"data": {"name": name}})
    assert store.names(pods) == [unquote(name)]
    assert store.data("GET", f"{pods}/{name}")[0]["data"] == {"name": name}
    store.data("DELETE", f"{pods}/{name}")
    assert store.names(pods) == []
