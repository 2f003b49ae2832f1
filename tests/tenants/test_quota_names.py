"""Quotas of tenants in both spellings, and what is neither: at every door that takes them."""

import uuid
from typing import Any

import pytest
from django.test import Client

from clusters.models import Cluster
from tenants.models import QuotaPlan, Tenant
from tests.caller import Caller

pytestmark = pytest.mark.django_db
BOTH = {
    "limitCpu": ("limits.cpu", "2"),
    "requestsMemory": ("requests.memory", "1Gi"),
    "requests.cpu": ("requests.cpu", "500m"),
    "pods": ("pods", "7"),
    "requests.storage": ("requests.storage", "5Gi"),
    "count/jobs.batch": ("count/jobs.batch", "3"),
    "services.loadbalancers": ("services.loadbalancers", "0"),
    "requests.nvidia.com/gpu": ("requests.nvidia.com/gpu", "1"),
}
BAD: list[dict[str, Any]] = [
    {"request.cpu": "1"},
    {"limitcpu": "1"},
    {"requests.cpu": "lots"},
    {"limitCpu": "-1"},
    {"pods": 7},
    {"count/": "1"},
    {"count/Pods": "1"},
    {"limitCpu": "1", "limits.cpu": "2"},
    {"pods": "1", "zzz": ""},
]


@pytest.fixture
def name() -> str:
    return f"tn-{uuid.uuid4().hex[:8]}"


def hard_of(apiserver: Any, name: str) -> dict[str, str]:
    """What the cluster limits."""
    quota = apiserver.get("resourcequotas", "q", name)
    return dict(quota["spec"]["hard"])


def test_both_spellings_reach_the_cluster(
    admin: Caller, cluster: Cluster, apiserver: Any, name: str
) -> None:
    given = {spelling: amount for spelling, (_, amount) in BOTH.items()}
    expected = dict(BOTH.values())
    made = admin.data(
        "POST",
        "tenants",
        {"cluster_id": cluster.pk, "name": name, "quotas": [{"name": "q", "hard": given}]},
    )
    assert hard_of(apiserver, name) == expected
    shown = made["quotas"][0]["hard"]
    assert (shown["limitCpu"], shown["requestsCpu"], shown["count/jobs.batch"]) == (
        "2",
        "500m",
        "3",
    )
    changed = {"name": "q", "hard": {"limits.cpu": "1000m", "limitCpu": "1", "configmaps": "9"}}
    admin.data("PUT", f"tenants/{name}", {"cluster_id": cluster.pk, "quotas": [changed]})
    assert hard_of(apiserver, name) == {"limits.cpu": "1", "configmaps": "9"}
    admin.data("POST", "plans", {"name": "mixed", "hard": given})
    other = f"{name}-2"
    admin.data("POST", "tenants", {"cluster_id": cluster.pk, "name": other, "plan": "mixed"})
    assert apiserver.get("resourcequotas", "mixed", other)["spec"]["hard"] == expected


def test_walm_takes_both_spellings(cluster: Cluster, apiserver: Any, admin: Caller) -> None:
    space = f"tn-{uuid.uuid4().hex[:8]}"
    hard = {"requests.cpu": "1", "limitMemory": "1Gi"}
    body = {"tenantQuotas": [{"quotaName": "q", "hard": hard}]}
    assert admin.raw("POST", f"/api/v1/tenant/{space}", body).status_code == 200
    assert hard_of(apiserver, space) == {"requests.cpu": "1", "limits.memory": "1Gi"}
    shown = admin.raw("GET", f"/api/v1/tenant/{space}").json()["tenantQuotas"][0]["hard"]
    assert (shown["requestsCpu"], shown["limitMemory"], len(shown)) == ("1", "1Gi", 6)


@pytest.mark.parametrize("hard", BAD, ids=str)
def test_what_is_no_quota_is_refused_by_name_and_nothing_is_left_behind(
    admin: Caller, cluster: Cluster, apiserver: Any, name: str, hard: dict[str, Any]
) -> None:
    member = list(hard)[-1]
    quota = {"name": "q", "hard": hard}
    answer = admin("POST", "tenants", {"cluster_id": cluster.pk, "name": name, "quotas": [quota]})
    assert (answer["code"], member in answer["msg"]) == (1001, True), answer
    plan = admin("POST", "plans", {"name": "bad", "hard": hard})
    assert (plan["code"], member in plan["msg"]) == (1001, True), plan
    body = {"tenantQuotas": [{"quotaName": "q", "hard": hard}]}
    walm = admin.raw("POST", f"/api/v1/tenant/{name}", body)
    assert (walm.status_code, walm.json()["errCode"]) == (500, -1)
    assert member in walm.json()["errMessage"]
    assert apiserver.get("namespaces", name) is None
    assert not Tenant.objects.exists()
    assert not QuotaPlan.objects.exists()
    made = {"name": "q", "hard": {"pods": "1"}}
    admin.data("POST", "tenants", {"cluster_id": cluster.pk, "name": name, "quotas": [made]})
    change = admin("PUT", f"tenants/{name}", {"cluster_id": cluster.pk, "quotas": [quota]})
    assert (change["code"], hard_of(apiserver, name)) == (1001, {"pods": "1"})


def test_what_a_tenant_was_made_with_is_not_silently_kept(
    admin: Caller, cluster: Cluster, name: str
) -> None:
    made = {"cluster_id": cluster.pk, "name": name, "pod_security": "baseline"}
    admin.data("POST", "tenants", made)
    for member, value in (
        ("pod_security", "restricted"),
        ("network_policy", True),
        ("members", []),
        ("quotas", [{"name": "q", "hard": {}, "scopes": ["Terminating"]}]),
    ):
        change = {"cluster_id": cluster.pk, member: value}
        answer = admin("PUT", f"tenants/{name}", change)
        assert (answer["code"], "unknown member" in answer["msg"]) == (1001, True), answer


def test_an_empty_list_of_scopes_or_clusters_is_no_wish_for_all(
    django_user_model: Any,
) -> None:
    django_user_model.objects.create_user("vera", password="a-long-Passphrase-7")
    signed_in = Client().post(
        "/api/v1/auth/login",
        {"username": "vera", "password": "a-long-Passphrase-7"},
        content_type="application/json",
    )
    vera = Caller(signed_in.json()["data"]["token"])
    for bad in ({"scopes": []}, {"clusters": []}, {"scopes": ["raed"]}, {"scope": ["read"]}):
        assert vera.code("POST", "/api/v1/auth/tokens", {"name": "x", **bad}) == 1001, bad
    assert vera.data("GET", "/api/v1/auth/tokens")["items"] == []
