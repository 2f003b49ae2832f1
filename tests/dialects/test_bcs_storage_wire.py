"""The two shapes of answers: each root speaks as its own clients expect, and a caller may choose the other."""

from dataclasses import replace
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command

from tests.caller import Caller
from tests.storeserver import Store

DOC = {"result": True, "code": 0, "message": "Success", "data": None}
GO = {"result": True, "code": 0, "message": "success", "data": {}}
ROOTS = ("/bcsapi/v4/storage", "/bcsstorage/v1")


def shape(caller: Any, path: str, headers: dict[str, str] | None = None, query: str = "") -> str:
    """Which shape a write, a read and a failure have, all alike."""
    answers = [
        caller.raw(method, f"{path}{name}{query}", body, headers=headers or {}).json
        for method, name, body in (
            ("PUT", "/web", {"data": {}}),
            ("GET", "/web", None),
            ("GET", "/missing", None),
        )
    ]
    written, read, failed = answers
    told = {
        "go" if written == GO else "doc" if written == DOC else "?",
        "doc" if isinstance(read["data"], list) else "go",
        "go" if failed["code"] == 1405087 else "doc" if failed["code"] == 10004 else "?",
        "go" if "T" in str(read["data"]).split("createTime")[1][:20] else "doc",
    }
    assert len(told) == 1, answers
    return told.pop()


def test_each_root_speaks_its_own_shape_unless_asked(store: Store, pods: str) -> None:
    documented, go = (replace(store, prefix=root) for root in ROOTS)
    assert (shape(documented, pods), shape(go, pods)) == ("doc", "go")
    assert shape(documented, pods, {"X-Bcs-Wire": "go"}) == "go"
    assert shape(go, pods, {"X-Bcs-Wire": "doc"}) == "doc"
    assert shape(documented, pods, query="?wire=go") == "go"
    assert shape(go, pods, {"X-Bcs-Wire": "go"}, query="?wire=doc") == "doc"
    assert (shape(documented, pods), shape(go, pods)) == ("doc", "go"), "nothing lingers"


def test_an_address_that_there_is_not_is_answered_in_the_shape_of_its_root(store: Store) -> None:
    documented, go = (replace(store, prefix=root) for root in ROOTS)
    codes = {
        (name, wire): caller.raw("GET", "/nope", headers={"X-Bcs-Wire": wire} if wire else {})
        for name, caller in (("documented", documented), ("go", go))
        for wire in ("", "doc", "go")
    }
    assert {answer.status for answer in codes.values()} == {404}
    assert {key: answer.json["code"] > 1405000 for key, answer in codes.items()} == {
        ("documented", ""): False,
        ("documented", "doc"): False,
        ("documented", "go"): True,
        ("go", ""): True,
        ("go", "doc"): False,
        ("go", "go"): True,
    }


def test_a_shape_that_there_is_not_is_refused(store: Store, pods: str) -> None:
    assert store("GET", pods, wire="xml")["code"] == 10006
    assert store("PUT", f"{pods}/web?wire=xml", {"data": {}})["code"] == 10003
    assert store("DELETE", pods, wire="Go")["code"] == 10005
    assert store.names(pods) == []


def test_the_setting_is_the_default_of_the_documents_root(go_store: Store, pods: str) -> None:
    assert shape(go_store, pods) == "go"
    assert shape(go_store, pods, query="?wire=doc") == "doc"


def test_the_sdk_reads_one_resource_with_a_limit_and_a_body(
    store: Store, cid: str, pods: str
) -> None:
    """As `QueryK8SPod` with names and `QueryK8SNamespace` with names do; its REST client sends `{}` with every GET."""
    place = f"/k8s/dynamic/cluster_resources/clusters/{cid}/Namespace"
    go = replace(store, prefix=ROOTS[1])
    for path in (f"{pods}/web", f"{place}/test"):
        go.data("PUT", path, {"data": {"metadata": {"name": "x"}}})
        found = go.data("GET", f"{path}?limit=200", {})
        assert found["data"] == {"metadata": {"name": "x"}}
    assert go("GET", f"{pods}/web?offset=1")["code"] == 1405083
    assert store("DELETE", f"{pods}/web?limit=200")["code"] == 10005


@pytest.mark.django_db
def test_a_tokens_flag_chooses_and_is_overridden(admin: Caller, pods: str) -> None:
    out = StringIO()
    call_command("create_token", "admin", "--wire", "go", stdout=out)
    token = out.getvalue().strip()
    address = ROOTS[0] + pods
    caller = Caller(token)
    assert caller("PUT", f"{address}/web", {"data": {}}) == GO
    assert caller("PUT", f"{address}/web?wire=doc", {"data": {}}) == DOC
    plain = Caller()
    for name in ("X-Bcs-User-Token", "Authorization"):
        value = token if name.startswith("X") else f"Bearer {token}"
        answer = plain.client.get(f"{address}/web", headers={name: value})
        assert answer.json()["data"]["resourceName"] == "web"
    refused = plain.client.get(f"{address}/web", headers={"X-Bcs-User-Token": "kgt_none"})
    assert refused.status_code == 401
    elsewhere = plain.client.get("/api/v1/kubernetes/clusters", headers={"X-Bcs-User-Token": token})
    assert elsewhere.status_code == 401


@pytest.mark.django_db
def test_events_are_asked_for_by_post_too(admin: Caller, cid: str) -> None:
    address = ROOTS[0] + "/events"
    for kind in ("Pod", "Job"):
        sent = {"clusterId": cid, "kind": kind, "eventTime": 5}
        assert admin("PUT", address, sent)["code"] == 0
    answer = admin("POST", address, {"clusterId": cid, "kind": "Job", "length": "5"})
    assert ([event["kind"] for event in answer["data"]], answer["total"]) == (["Job"], 1)
    assert admin("POST", address, {"clusterId": cid, "knd": "Job"})["code"] == 10006
