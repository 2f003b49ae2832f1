"""Values that limit or protect: honoured under every documented spelling, refused when they make no sense, never ignored."""

from typing import Any

import pytest

from clusters.models import Cluster
from tests.access.conftest import new_space
from tests.caller import Caller

pytestmark = pytest.mark.django_db
MERGE = "application/merge-patch+json"


@pytest.fixture
def where(admin: Caller, cluster: Cluster) -> dict[str, Any]:
    return {"cluster_id": cluster.pk, "namespace": new_space(admin, cluster)}


def make(admin: Caller, where: dict[str, Any], name: str = "c", **labels: str) -> None:
    content = {"metadata": {"name": name, "labels": labels}, "data": {"k": "old"}}
    admin.data("POST", "configmaps", {**where, "content": content})


def test_kubernetes_word_for_a_dry_run_is_a_dry_run(
    admin: Caller, where: dict[str, Any], apiserver: Any
) -> None:
    make(admin, where)
    new = {"metadata": {"name": "c"}, "data": {"k": "new"}}
    admin.data("DELETE", "configmaps/c", **where, dryRun="All")
    admin.data("DELETE", "configmaps/c", {**where, "dryRun": ["All"]})
    admin.data("PUT", "configmaps/c", {**where, "content": new}, dryRun="All")
    admin.data("PUT", "configmaps/c", {**where, "content": new, "dryRun": "All"})
    admin.data(
        "PATCH", "configmaps/c", {"data": {"k": "new"}}, content_type=MERGE, **where, dryRun="All"
    )
    admin.data(
        "POST", "configmaps", {**where, "content": {"metadata": {"name": "d"}}}, dryRun="All"
    )
    assert apiserver.get("configmaps", "c", where["namespace"])["data"] == {"k": "old"}
    assert apiserver.get("configmaps", "d", where["namespace"]) is None


@pytest.mark.parametrize(
    "said",
    [
        {"dry_run": "maybe"},
        {"dryRun": "Some"},
        {"dry_run": ""},
        {"dry_run": "false", "dryRun": "All"},
        {"propagation": "Forgroud"},
        {"propagationPolicy": "everything"},
        {"propagation": "orphan", "propagationPolicy": "Background"},
        {"grace_period": "-1"},
        {"gracePeriodSeconds": "soon"},
        {"preconditions": "uid"},
        {"resourceVersion": "1"},
        {"orphanDependents": "true"},
        {"confirm": ["true", "false"]},
    ],
    ids=str,
)
def test_a_delete_that_was_to_be_limited_is_limited_or_refused(
    admin: Caller, where: dict[str, Any], apiserver: Any, said: dict[str, Any]
) -> None:
    make(admin, where)
    assert admin.code("DELETE", "configmaps/c", **where, **said) == 1001
    body = {name: value for name, value in said.items() if not isinstance(value, list)}
    if body:
        assert admin.code("DELETE", "configmaps/c", {**where, **body}) == 1001
    assert apiserver.get("configmaps", "c", where["namespace"]) is not None


def test_conditions_of_http_are_not_ignored(
    admin: Caller, where: dict[str, Any], apiserver: Any
) -> None:
    make(admin, where)
    for header in ("If-Match", "If-Unmodified-Since", "If-None-Match"):
        admin.client.defaults[f"HTTP_{header.upper().replace('-', '_')}"] = '"1"'
        answer = admin("DELETE", "configmaps/c", **where)
        assert (answer["code"], header in answer["msg"]) == (1001, True)
        del admin.client.defaults[f"HTTP_{header.upper().replace('-', '_')}"]
    assert apiserver.get("configmaps", "c", where["namespace"]) is not None


def test_grace_of_zero_in_a_body_is_zero(
    admin: Caller, where: dict[str, Any], apiserver: Any
) -> None:
    make(admin, where)
    apiserver.requests.clear()
    # With what a DeleteOptions says about itself.
    options = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0}
    admin.data("DELETE", "configmaps/c", {**where, **options})
    (sent,) = [request for request in apiserver.requests if request.method == "DELETE"]
    assert b'"gracePeriodSeconds":0' in bytes(sent.body).replace(b" ", b"")


@pytest.mark.parametrize(
    "said",
    [
        {"names": []},
        {"names": [], "labelSelector": "app=a"},
        {"names": [], "all": True},
        {"names": [""]},
        {"labelSelector": ""},
        {"labelSelector": " "},
        {"labelSelector": "", "fieldSelector": ","},
        {"fieldSelector": " , "},
        {"labelSelector": {}},
        {"labelselector": "app=a", "all": True},
        {"name": "c", "all": True},
        {"all": "perhaps"},
        {"all": True, "namespace": ""},
        {"all": True, "dry_run": ""},
        {"labelSelector": "app=a", "label_selector": "app=b"},
    ],
    ids=str,
)
def test_a_bulk_delete_of_nothing_in_particular_deletes_nothing(
    admin: Caller, where: dict[str, Any], apiserver: Any, said: dict[str, Any]
) -> None:
    make(admin, where, app="a")
    answer = admin("POST", "bulk/configmaps", {**where, "action": "delete", **said})
    assert answer["code"] == 1001, answer
    assert apiserver.get("configmaps", "c", where["namespace"]) is not None


def test_what_is_said_twice_and_differently_is_refused(
    admin: Caller, where: dict[str, Any], apiserver: Any
) -> None:
    make(admin, where)
    space = where["namespace"]
    body = (
        f'{{"cluster_id": {where["cluster_id"]}, "namespace": "{space}", "namespace": "other",'
        ' "content": {"metadata": {"name": "d"}}}'
    )
    answer = admin("POST", "configmaps", body)
    assert (answer["code"], "namespace is given twice" in answer["msg"]) == (1001, True)
    patch = '{"data": {"k": "new", "k": "newer"}}'
    assert admin.code("PATCH", "configmaps/c", patch, content_type=MERGE, **where) == 1001
    query = {**where, "namespace": [space, "other"]}
    for method, sent in (("DELETE", None), ("GET", None)):
        assert admin.code(method, "configmaps/c", sent, **query) == 1001
    assert admin.code("GET", "configmaps", **where, labelSelector=["a=1", "a=2"]) == 1001
    listed = admin.data("GET", "configmaps", **where, labelSelector=["a=1", "a=1"])
    assert listed["items"] == []
    assert apiserver.get("configmaps", "c", space)["data"] == {"k": "old"}
    assert apiserver.get("configmaps", "d", space) is None


def test_a_list_takes_both_spellings_of_a_selector(admin: Caller, where: dict[str, Any]) -> None:
    make(admin, where, "a", app="a")
    make(admin, where, "b", app="b")
    for spelling in ("labelSelector", "label_selector"):
        items = admin.data("GET", "configmaps", **where, **{spelling: "app=b"})["items"]
        assert [item["metadata"]["name"] for item in items] == ["b"]


def test_a_cluster_named_twice_is_refused(admin: Caller, where: dict[str, Any]) -> None:
    path = f"/api/v1/pvc/{where['namespace']}"
    admin.client.defaults["HTTP_X_CLUSTER"] = "elsewhere"
    assert admin.raw("GET", path, cluster="simulated").status_code == 500
    assert "elsewhere" in admin.raw("GET", path).json()["errMessage"]


def test_a_refused_read_is_bad_input_and_a_broken_kubelet_is_the_clusters(
    admin: Caller, where: dict[str, Any], apiserver: Any
) -> None:
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}}
    admin.data("POST", "pods", {**where, "content": pod})
    for said in ({"container": "gone"}, {"container": "gone", "previous": "true"}):
        assert admin.code("GET", "pods/p/logs", **where, **said) == 1001
    for code, expected in ((500, 1006), (503, 1006), (400, 1001), (422, 1001)):
        apiserver.faults.add(path="/pods/p/log", action="status", code=code)
        try:
            assert admin.code("GET", "pods/p/logs", **where) == expected
        finally:
            apiserver.faults.clear()
