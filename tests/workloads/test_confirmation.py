"""Confirming sensitive operations: the token, its bounds, the short forms and the levels."""

from typing import Any

import pytest

from clusters.models import Cluster
from core.api.confirmation import TOKENS_PER_USER
from simcluster.testing import RunningCluster
from tests.caller import Caller
from tests.workloads.conftest import Put

pytestmark = pytest.mark.django_db


@pytest.fixture
def guarded(put: Put) -> str:
    """The address of an object that is annotated as protected."""
    put(
        "configmaps",
        {
            "metadata": {"name": "crown", "annotations": {"kubegale.io/protected": "true"}},
            "data": {"jewel": "1"},
        },
    )
    return "configmaps/crown"


@pytest.fixture
def where(cluster: Cluster, space: str) -> dict[str, Any]:
    """The query of the namespace."""
    return {"cluster_id": cluster.pk, "namespace": space}


def delete(
    admin: Caller,
    address: str,
    where: dict[str, Any],
    *,
    headers: dict[str, str] | None = None,
    **query: Any,
) -> dict[str, Any]:
    """The envelope of a DELETE."""
    url = f"/api/v1/kubernetes/{address}"
    answer: dict[str, Any] = admin.client.delete(
        url, query_params={**where, **query}, headers=headers or {}
    ).json()
    return answer


def test_a_protected_object_goes_only_when_the_call_comes_again_with_its_token(
    admin: Caller, apiserver: RunningCluster, guarded: str, where: dict[str, Any], space: str
) -> None:
    refused = delete(admin, guarded, where)
    data = refused["data"]
    assert (refused["code"], data["action"], data["expires_in"], data["require_name"]) == (
        1010,
        "delete",
        120,
        False,
    )
    assert data["resource"] == {"kind": "ConfigMap", "namespace": space, "name": "crown"}
    assert {"pods", "pvcs", "children", "warnings"} <= set(data["impact"])
    assert apiserver.get("configmaps", "crown", space) is not None
    assert (
        delete(admin, guarded, where, headers={"X-Confirm-Token": data["confirm_token"]})["code"]
        == 0
    )
    assert apiserver.get("configmaps", "crown", space) is None


def test_a_token_works_once(admin: Caller, put: Put, guarded: str, where: dict[str, Any]) -> None:
    token = delete(admin, guarded, where)["data"]["confirm_token"]
    assert delete(admin, guarded, where, confirm_token=token, dry_run="true")["code"] == 0
    assert delete(admin, guarded, where, confirm_token=token)["code"] == 0
    assert delete(admin, guarded, where, confirm_token=token)["code"] == 1004
    put(
        "configmaps",
        {"metadata": {"name": "crown", "annotations": {"kubegale.io/protected": "true"}}},
    )
    again = delete(admin, guarded, where, confirm_token=token)
    assert again["code"] == 1010
    assert again["data"]["confirm_token"] != token


def test_a_token_fits_neither_another_query_nor_another_object(
    admin: Caller, put: Put, guarded: str, where: dict[str, Any]
) -> None:
    put(
        "configmaps",
        {"metadata": {"name": "sword", "annotations": {"kubegale.io/protected": "true"}}},
    )
    token = delete(admin, guarded, where)["data"]["confirm_token"]
    assert delete(admin, "configmaps/sword", where, confirm_token=token)["code"] == 1010
    assert delete(admin, guarded, where, confirm_token=token, propagation="orphan")["code"] == 1010
    assert delete(admin, guarded, where, confirm_token="made-up")["code"] == 1010
    assert delete(admin, guarded, where, confirm_token=token)["code"] == 0


def test_scripts_confirm_in_one_call(
    admin: Caller, put: Put, guarded: str, where: dict[str, Any]
) -> None:
    assert delete(admin, guarded, where, headers={"X-Confirm": "another"})["code"] == 1010
    assert delete(admin, guarded, where, confirm="false")["code"] == 1010
    assert delete(admin, guarded, where, headers={"X-Confirm": "crown"})["code"] == 0
    put(
        "configmaps",
        {"metadata": {"name": "crown", "annotations": {"kubegale.io/protected": "true"}}},
    )
    assert delete(admin, guarded, where, confirm="true")["code"] == 0


def test_what_is_protected_at_the_default_level(
    admin: Caller, cluster: Cluster, put: Put, where: dict[str, Any]
) -> None:
    put("configmaps", {"metadata": {"name": "plain"}})
    assert delete(admin, "configmaps/plain", where)["code"] == 0
    assert delete(admin, "namespaces/kube-system", {"cluster_id": cluster.pk})["code"] == 1010
    admin.data(
        "POST",
        "configmaps",
        {
            "cluster_id": cluster.pk,
            "namespace": "default",
            "content": {"metadata": {"name": "in-default"}},
        },
    )
    in_default = {"cluster_id": cluster.pk, "namespace": "default"}
    assert delete(admin, "configmaps/in-default", in_default)["code"] == 1010
    assert delete(admin, "configmaps/in-default", in_default, confirm="1")["code"] == 0
    put("configmaps", {"metadata": {"name": "plain"}})
    Cluster.objects.filter(pk=cluster.pk).update(protected=True)
    assert delete(admin, "configmaps/plain", where)["code"] == 1010
    assert admin.code("DELETE", f"clusters/{cluster.pk}") == 1010
    assert admin.code("DELETE", f"clusters/{cluster.pk}", dry_run="true") == 0
    assert admin.code("GET", f"clusters/{cluster.pk}") == 0
    assert admin.code("DELETE", f"clusters/{cluster.pk}", confirm="true") == 0
    assert admin.code("GET", f"clusters/{cluster.pk}") == 1002


def test_the_levels_off_and_all(
    admin: Caller, put: Put, guarded: str, where: dict[str, Any], settings: Any
) -> None:
    settings.CONFIRMATION_LEVEL = "all"
    put("configmaps", {"metadata": {"name": "plain"}})
    assert delete(admin, "configmaps/plain", where)["code"] == 1010
    assert admin.code("POST", "nodes/node-01/drain", {"cluster_id": where["cluster_id"]}) == 1010
    settings.CONFIRMATION_LEVEL = "off"
    assert delete(admin, guarded, where)["code"] == 0


def test_the_impact_counts_what_would_go_too(
    admin: Caller, cluster: Cluster, put: Put, space: str, settings: Any
) -> None:
    settings.CONFIRMATION_LEVEL = "all"
    put(
        "pods",
        {
            "metadata": {"name": "one"},
            "spec": {"containers": [{"name": "main", "image": "busybox"}]},
        },
    )
    refused = delete(admin, f"namespaces/{space}", {"cluster_id": cluster.pk})
    assert (refused["data"]["impact"]["pods"], refused["data"]["require_name"]) == (1, True)


def test_a_right_that_is_lacking_comes_first(
    admin: Caller, guarded: str, where: dict[str, Any]
) -> None:
    assert Caller()("DELETE", guarded, **where)["code"] == 2001


def test_a_caller_who_never_confirms_keeps_so_many_tokens_and_no_more(
    admin: Caller, guarded: str, where: dict[str, Any]
) -> None:
    tokens = [
        delete(admin, guarded, where)["data"]["confirm_token"] for _ in range(TOKENS_PER_USER + 1)
    ]
    assert delete(admin, guarded, where, confirm_token=tokens[0])["code"] == 1010
    assert delete(admin, guarded, where, confirm_token=tokens[-1])["code"] == 0
