"""Numbers of more than 64 bits, null characters and endless texts are bad input at every door, never a fault of ours."""

import gzip
from typing import Any

import pytest

from clusters.models import Cluster
from tests.caller import Caller

pytestmark = pytest.mark.django_db

BIG = 2**70
STORE = "/bcsapi/v4/storage/k8s/dynamic/all_resources/clusters"
IN_A_BODY: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "clusters", {"name": "a\x00b", "kubeconfig": "x"}),
    ("POST", "tenants", {"name": "a\x00b"}),
    ("POST", "grants", {"user": "a\x00", "role": "viewer"}),
    ("POST", "grants", {"user": BIG, "role": "viewer", "cluster_id": BIG}),
    ("POST", "/api/v1/auth/tokens", {"name": "a\x00b"}),
    ("POST", "/api/v1/auth/login", {"username": "a\x00", "password": "x"}),
    ("POST", "/api/v1/auth/refresh", {"refresh_token": "a\x00b"}),
    (
        "POST",
        "deployments/x/scale",
        {"cluster_id": "CLUSTER", "namespace": "default", "replicas": BIG},
    ),
    (
        "POST",
        "deployments/x/scale",
        {"cluster_id": "CLUSTER", "namespace": "default", "replicas": 2**62},
    ),
    # A kind without namespaces: no cluster judges the name.
    (
        "POST",
        "bulk/persistentvolumes",
        {"cluster_id": "CLUSTER", "namespace": "\x00", "action": "delete", "all": True},
    ),
    ("POST", "bulk/pods", {"cluster_id": "CLUSTER", "action": "\x00"}),
]
IN_AN_ADDRESS = [
    ("GET", f"pods?cluster_id={BIG}"),
    ("GET", f"clusters/{BIG}"),
    ("GET", f"operations/{BIG}"),
    ("GET", f"operations?cluster_id={BIG}"),
    ("GET", f"terminal-recordings/{BIG}?cluster_id=CLUSTER"),
    ("GET", f"audit?page={BIG}"),
    ("GET", f"audit?page={2**62}"),
    ("GET", f"audit?from={BIG}"),
    ("GET", "audit?since=0001-01-01T00:00:00%2B23:59"),
    ("GET", "audit/export?until=9999-12-31T23:59:59-23:59"),
    ("GET", "pods?cluster_id=CLUSTER&at=0001-01-01T00:00:00%2B23:59"),
    ("GET", "metrics/stats?cluster_id=CLUSTER&end=0001-01-01T00:00:00Z"),
    ("GET", "metrics/stats?cluster_id=CLUSTER&time_range=9999999w"),
    ("GET", "tenants/x/usage?cluster_id=CLUSTER&until=0001-01-01T00:00:00Z"),
    ("GET", f"pods/x/logs?cluster_id=CLUSTER&namespace=default&since={'9' * 5000}h"),
    ("GET", "audit?user=a%00b"),
    ("GET", "users?keyword=%00"),
    ("GET", "grants?user=%00"),
    ("GET", "history?cluster_id=CLUSTER&kind=pods&name=a%00b&namespace=default"),
    ("GET", f"changes?after={BIG}"),
    ("GET", "multicluster/resources/pods?keyword=%00"),
    ("GET", "pods?cluster_id=CLUSTER&keyword=%00&labelSelector=%00"),
    ("GET", "pods?cluster_id=CLUSTER&labelSelector=" + "(" * 50_000),
    ("GET", "clusters?keyword=" + "x" * 100_000),
    ("GET", f"pods?cluster_id=CLUSTER&at={BIG}"),
    ("GET", f"metrics/stats?cluster_id=CLUSTER&time_range={BIG}"),
    ("GET", f"pods/x/logs?cluster_id=CLUSTER&namespace=default&tail_lines={BIG}"),
    ("DELETE", f"pods/x?cluster_id=CLUSTER&namespace=default&grace_period={BIG}"),
    ("GET", "/api/v1/pod/default/x/logs?tail=" + "0" * 5000),
    ("GET", "/v1/k8sservice/getpodip?x=%00"),
    ("GET", f"{STORE}/c/Pod?extra=%00"),
    ("GET", f"{STORE}/a%00b/Pod"),
    ("GET", f"{STORE}/c/Pod?offset={BIG}&limit={BIG}"),
    ("GET", f"/k8s/order/{BIG}"),
]


@pytest.mark.parametrize(("method", "path"), IN_AN_ADDRESS)
def test_no_address_is_a_fault_of_ours(
    admin: Caller, cluster: Cluster, method: str, path: str
) -> None:
    answer = admin.raw(method, path.replace("CLUSTER", str(cluster.pk)))
    # A file comes in pieces, and is made while it is sent.
    assert answer.getvalue() is not None
    assert answer.status_code < 500
    assert b'"code":5001' not in answer.getvalue()


@pytest.mark.parametrize(("method", "path", "body"), IN_A_BODY)
def test_no_body_is_a_fault_of_ours(
    admin: Caller, cluster: Cluster, method: str, path: str, body: dict[str, Any]
) -> None:
    body = {key: cluster.pk if value == "CLUSTER" else value for key, value in body.items()}
    answer = admin.raw(method, path, body)
    assert answer.status_code < 500
    said = answer.json()
    assert said["code"] not in (0, 5001), said


TEXTS = {"half of a pair": '{"username": "\\ud800", "password": "x"}', "too deep": '{"a":' * 200}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32-be"])
@pytest.mark.parametrize("text", TEXTS.values(), ids=list(TEXTS))
def test_json_in_another_encoding_is_looked_at_as_closely(encoding: str, text: str) -> None:
    answer = Caller()("POST", "/api/v1/auth/login", text.encode(encoding))
    assert (answer["code"], "the body" in answer["msg"]) == (1001, True)


SENTENCES = {
    "compressed": (
        gzip.compress(b"{}"),
        "the body is compressed; send it without Content-Encoding",
    ),
    "latin-1": (
        '{"name": "é"}'.encode("latin-1"),
        "the body is not valid JSON: byte 11 is not UTF-8",
    ),
}


@pytest.mark.parametrize(("body", "said"), SENTENCES.values(), ids=list(SENTENCES))
def test_bytes_that_are_no_text_are_told_apart(body: bytes, said: str) -> None:
    answer = Caller()("POST", "/api/v1/auth/login", body)
    assert (answer["code"], answer["msg"][: len(said)]) == (1001, said)


def test_an_act_on_an_object_with_nul_characters_leaves_its_line(
    admin: Caller, cluster: Cluster
) -> None:
    where = {"cluster_id": cluster.pk, "namespace": "default"}
    content = {
        "metadata": {"generateName": "nul-", "labels": {"of": "nul"}},
        "data": {"a": "b\x00c"},
    }
    content["metadata"]["annotations"] = {"note": "d\x00e"}
    made = admin.data("POST", "configmaps", {**where, "content": content})
    assert made["data"] == {"a": "b\x00c"}
    name = made["metadata"]["name"]
    (line,) = admin.data("GET", "audit", kind="configmaps", name=name)["items"]
    assert (line["verb"], line["result"]) == ("create", "success")


def test_a_role_whose_name_holds_a_nul_character_is_not_taken_into_an_operation(
    admin: Caller, cluster: Cluster
) -> None:
    """API servers take such names for roles."""
    content = {"metadata": {"name": "nul\x00role", "labels": {"nul": "yes"}}, "rules": []}
    made = admin("POST", "clusterroles", {"cluster_id": cluster.pk, "content": content})
    assert made["code"] == 0, made
    order = {"cluster_id": cluster.pk, "action": "delete", "labelSelector": "nul=yes"}
    answer = admin("POST", "bulk/clusterroles", order)
    assert (answer["code"], "NUL" in answer["msg"]) == (1001, True), answer
