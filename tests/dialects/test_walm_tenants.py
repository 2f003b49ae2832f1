"""Walm's tenants, byte for byte as its document has them (walm.md, 2.6), against an API server over the wire."""

import json
import uuid
from decimal import Decimal
from typing import Any

import pytest

from access.models import Grant
from clusters import quantities
from clusters.models import Cluster
from tenants.models import Tenant
from tests.caller import Caller

pytestmark = pytest.mark.django_db
HARD = {
    "limitCpu": "4",
    "limitMemory": "8Gi",
    "requestsCpu": "500m",
    "requestsMemory": "1536Mi",
    "requestsStorage": "10Gi",
    "pods": "20",
}
ZEROS = dict.fromkeys(HARD, 0)


def body(**more: Any) -> dict[str, Any]:
    return {
        "tenantLabels": {"team": "blue"},
        "tenantAnnotations": {"note": "first"},
        "tenantQuotas": [{"quotaName": "main", "hard": HARD}],
        **more,
    }


@pytest.fixture
def name() -> str:
    return f"tn-{uuid.uuid4().hex[:8]}"


class Walm:
    """Calls Walm's routes as the caller does."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller

    def __call__(self, method: str, path: str, sent: Any = None) -> tuple[int, Any]:
        response = self.caller.raw(method, f"/api/v1/tenant{path}", sent)
        return response.status_code, json.loads(response.content) if response.content else b""

    def error(self, method: str, path: str, sent: Any = None) -> tuple[int, str]:
        status, answer = self(method, path, sent)
        assert set(answer) == {"errCode", "errMessage"}
        assert answer["errCode"] == -1
        return status, answer["errMessage"]


@pytest.fixture
def walm(admin: Caller, cluster: Cluster) -> Walm:
    return Walm(admin)


def live(admin: Caller, cluster: Cluster, path: str, **query: Any) -> Any:
    return admin.data("GET", path, cluster_id=cluster.pk, **query)


def test_a_new_tenant_is_a_namespace_with_quotas_and_a_limit_range_in_that_order(
    walm: Walm, admin: Caller, cluster: Cluster, apiserver: Any, name: str
) -> None:
    assert walm("POST", f"/{name}", body()) == (200, b"")
    made = [
        request.path
        for request in apiserver.requests
        if request.method == "POST" and name in request.path + str(request.body)
    ]
    assert [path.rpartition("/")[2] for path in made] == [
        "namespaces",
        "resourcequotas",
        "limitranges",
    ]
    namespace = live(admin, cluster, f"namespaces/{name}")
    assert (
        namespace["metadata"]["labels"] | {"team": "blue", "multi-tenant": f"tenant-tiller-{name}"}
        == namespace["metadata"]["labels"]
    )
    assert namespace["metadata"]["annotations"]["note"] == "first"
    (limits,) = live(admin, cluster, f"namespaces/{name}/limitranges")["items"]
    assert limits["metadata"]["name"] == "walm-default-limitrange"
    assert limits["spec"]["limits"][0]["type"] == "Container"
    default = limits["spec"]["limits"][0]["default"]
    assert (quantities.parse(default["cpu"]), default["memory"]) == (Decimal("0.1"), "128Mi")


def test_tenant_info_has_every_key_in_the_documents_order(walm: Walm, name: str) -> None:
    walm("POST", f"/{name}", body())
    status, info = walm("GET", f"/{name}")
    assert status == 200
    assert list(info) == [
        "tenantName",
        "tenantCreationTime",
        "tenantLabels",
        "tenantAnnotations",
        "tenantStatus",
        "tenantQuotas",
        "multiTenant",
        "ready",
        "unifyUnitTenantQuotas",
    ]
    assert (info["tenantName"], info["tenantStatus"], info["multiTenant"], info["ready"]) == (
        name,
        "Active",
        True,
        True,
    )
    assert info["tenantCreationTime"].endswith("Z")
    (quota,) = info["tenantQuotas"]
    assert (quota["quotaName"], quota["hard"]) == ("main", HARD)
    assert list(quota["hard"]) == list(quota["used"]) == list(HARD)
    (plain,) = info["unifyUnitTenantQuotas"]
    assert plain["hard"] == {
        "limitCpu": 4.0,
        "limitMemory": 8192,
        "requestsCpu": 0.5,
        "requestsMemory": 1536,
        "requestsStorage": 10,
        "pods": 20,
    }
    assert plain["used"] == ZEROS


def test_the_list_holds_every_namespace_and_no_num(walm: Walm, name: str) -> None:
    walm("POST", f"/{name}", body(tenantQuotas=None))
    status, answer = walm("GET", "")
    assert status == 200
    assert set(answer) == {"items"}
    found = {item["tenantName"]: item for item in answer["items"]}
    assert {"default", "kube-system", name} <= set(found)
    assert found["kube-system"]["multiTenant"] is False
    assert found[name]["tenantQuotas"] == found[name]["unifyUnitTenantQuotas"] == []


def test_a_tenant_that_is_there_is_left_alone(walm: Walm, name: str) -> None:
    walm("POST", f"/{name}", body())
    before = walm("GET", f"/{name}")
    assert walm("POST", f"/{name}", body(tenantLabels={"team": "red"}, tenantQuotas=[])) == (
        200,
        b"",
    )
    assert walm("GET", f"/{name}") == before


@pytest.mark.parametrize(
    ("quotas", "text"),
    [
        (
            [{"quotaName": "main", "hard": None}],
            "failed to create tenant : tenantQuotas[0]: hard is required",
        ),
        ([{"hard": HARD}], "failed to create tenant : tenantQuotas[0]: quotaName is required"),
        (
            [{"quotaName": "main", "hard": {"pods": 3}}],
            "failed to create tenant : tenantQuotas[0]: hard.pods must be a string",
        ),
        ("many", "failed to create tenant : tenantQuotas must be a list"),
    ],
)
def test_bad_parameters_are_refused_before_anything_is_made(
    walm: Walm, apiserver: Any, name: str, quotas: Any, text: str
) -> None:
    assert walm.error("POST", f"/{name}", body(tenantQuotas=quotas)) == (500, text)
    assert not [
        request
        for request in apiserver.requests
        if request.method == "POST" and request.path.endswith("/namespaces")
    ]


def test_an_unreadable_body_is_said_in_the_documents_words(walm: Walm, name: str) -> None:
    assert walm.error("POST", f"/{name}") == (500, "failed to read tenant params : EOF")
    status, message = walm.error("PUT", f"/{name}", "{")
    assert status == 500
    assert message.startswith("failed to read tenant params : ")


def test_a_quota_the_cluster_refuses_takes_the_namespace_back(
    walm: Walm, cluster: Cluster, name: str
) -> None:
    quotas = [
        {"quotaName": "main", "hard": HARD},
        {"quotaName": "bad", "hard": {"limitCpu": "lots"}},
    ]
    status, message = walm.error("POST", f"/{name}", body(tenantQuotas=quotas))
    assert status == 500
    assert message.startswith("failed to create tenant : ")
    assert (
        walm("GET", f"/{name}")[0] == 404
        or walm("GET", f"/{name}")[1]["tenantStatus"] == "Terminating"
    )
    assert not Tenant.objects.filter(namespace=name).exists()


def test_empty_quantities_are_left_out(walm: Walm, name: str) -> None:
    walm(
        "POST",
        f"/{name}",
        body(tenantQuotas=[{"quotaName": "main", "hard": {**HARD, "limitCpu": "", "pods": "5"}}]),
    )
    hard = walm("GET", f"/{name}")[1]["tenantQuotas"][0]["hard"]
    assert (hard["limitCpu"], hard["pods"]) == ("", "5")


def test_an_update_replaces_what_is_given_and_keeps_kubernetes_own(
    walm: Walm, admin: Caller, cluster: Cluster, name: str
) -> None:
    walm(
        "POST",
        f"/{name}",
        body(tenantLabels={"team": "blue", "pod-security.kubernetes.io/enforce": "baseline"}),
    )
    extra = {"quotaName": "extra", "hard": {"pods": "3"}}
    changed = {
        "tenantLabels": {"tier": "gold"},
        "tenantQuotas": [{"quotaName": "main", "hard": {"pods": "7"}}, extra],
    }
    assert walm("PUT", f"/{name}", changed) == (200, b"")
    info = walm("GET", f"/{name}")[1]
    assert info["tenantLabels"] == {
        "tier": "gold",
        "pod-security.kubernetes.io/enforce": "baseline",
        "kubernetes.io/metadata.name": name,
        "multi-tenant": f"tenant-tiller-{name}",
    }
    assert info["tenantAnnotations"] == {"note": "first"}
    assert {quota["quotaName"]: quota["hard"]["pods"] for quota in info["tenantQuotas"]} == {
        "main": "7",
        "extra": "3",
    }
    assert len(live(admin, cluster, f"namespaces/{name}/limitranges")["items"]) == 1
    # What was read may be sent back whole.
    assert walm("PUT", f"/{name}", info) == (200, b"")
    assert walm("GET", f"/{name}")[1]["tenantQuotas"] == info["tenantQuotas"]
    assert walm.error("PUT", f"/{name}", {**info, "tenantName": "another"})[0] == 500


def test_missing_tenants_answer_as_the_document_says(walm: Walm, name: str) -> None:
    assert walm.error("GET", f"/{name}") == (404, f"tenant {name} is not found")
    assert walm.error("PUT", f"/{name}", body()) == (
        500,
        "failed to update tenant : not found error",
    )
    assert walm("DELETE", f"/{name}") == (200, b"")


def test_deleting_takes_the_namespace_and_every_right_in_it(
    walm: Walm, admin: Caller, cluster: Cluster, name: str
) -> None:
    walm("POST", f"/{name}", body())
    assert Tenant.objects.filter(namespace=name).exists()
    assert walm("DELETE", f"/{name}") == (200, b"")
    assert not Tenant.objects.filter(namespace=name).exists()
    assert not Grant.objects.filter(namespace=name).exists()
    status, info = walm("GET", f"/{name}")
    assert status == 404 or info["tenantStatus"] == "Terminating"


@pytest.mark.parametrize("name", ["default", "kube-system", "kube-public", "kube-node-lease"])
def test_the_clusters_own_namespaces_are_not_deleted(walm: Walm, name: str) -> None:
    status, message = walm.error("DELETE", f"/{name}")
    assert status == 500
    assert message.startswith(f"failed to delete namespace {name}: ")
    assert walm("GET", "/default")[0] == 200


def test_a_name_the_cluster_refuses_is_a_500_with_its_text(walm: Walm) -> None:
    status, message = walm.error("POST", "/Not_A_Label", body())
    assert status == 500
    assert message.startswith("failed to create tenant : ")
