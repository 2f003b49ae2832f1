"""Numbers of more than 64 bits, null characters and endless texts are bad input at every door, never a fault of ours."""

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
    assert answer.status_code < 500
    assert b'"code":5001' not in answer.content


@pytest.mark.parametrize(("method", "path", "body"), IN_A_BODY)
def test_no_body_is_a_fault_of_ours(
    admin: Caller, cluster: Cluster, method: str, path: str, body: dict[str, Any]
) -> None:
    body = {key: cluster.pk if value == "CLUSTER" else value for key, value in body.items()}
    answer = admin.raw(method, path, body)
    assert answer.status_code < 500
    said = answer.json()
    assert said["code"] not in (0, 5001), said
