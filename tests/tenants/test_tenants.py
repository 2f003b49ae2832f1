"""Tenants over KubeGale's own routes: plans, members, options, usage and drift."""

import uuid
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command

from access.models import Grant
from clusters.models import Cluster
from tenants import tasks
from tenants.models import Tenant, UsageSample
from tests.access.conftest import Person, new_space
from tests.caller import Caller

pytestmark = pytest.mark.django_db


@pytest.fixture
def name() -> str:
    return f"tn-{uuid.uuid4().hex[:8]}"


def body(cluster: Cluster, name: str, **more: Any) -> dict[str, Any]:
    return {"cluster_id": cluster.pk, "name": name, **more}


def drift(*options: str) -> str:
    out = StringIO()
    call_command("check_tenants", *options, stdout=out)
    return out.getvalue()


def test_a_tenant_is_made_whole_and_goes_whole(admin: Caller, cluster: Cluster, name: str) -> None:
    admin.data("POST", "plans", {"name": "small", "hard": {"pods": "5", "limitMemory": "1Gi"}})
    User.objects.create_user("mia")
    made = admin.data(
        "POST",
        "tenants",
        body(
            cluster, name, plan="small", contact="mia@example.com", members=[{"username": "mia", "role": "admin"}],
            network_policy=True, role_bindings=True, pod_security="baseline",
        ),
    )  # fmt: skip
    assert (made["name"], made["status"], made["contact"]) == (name, "Active", "mia@example.com")
    assert made["members"] == [{"username": "mia", "role": "admin"}]
    assert made["quotas"][0]["hard"]["pods"] == "5"
    assert made["usage"]["hard"] == {"limitMemory": 1024, "pods": 5}
    assert made["labels"]["pod-security.kubernetes.io/enforce"] == "baseline"
    where = {"cluster_id": cluster.pk, "namespace": name}
    (policy,) = admin.data("GET", "networkpolicies", **where)["items"]
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    (binding,) = admin.data("GET", "rolebindings", **where)["items"]
    assert (binding["roleRef"]["name"], binding["subjects"][0]["name"]) == ("admin", "mia")
    assert f"/{name}:" not in drift()
    assert admin.code("POST", "tenants", body(cluster, name)) == 1007
    assert admin.data("DELETE", f"tenants/{name}", cluster_id=cluster.pk) == {}
    assert not Tenant.objects.exists()
    assert not Grant.objects.filter(user__username="mia").exists()


def test_a_tenants_admin_manages_its_members_and_nothing_beyond(
    admin: Caller, cluster: Cluster, name: str, person: Person
) -> None:
    User.objects.create_user("new")
    person("viewer", cluster=cluster, namespace=new_space(admin, cluster), name="boss")
    admin.data(
        "POST", "tenants", body(cluster, name, quotas=[{"name": "q", "hard": {"pods": "5"}}])
    )
    admin.data(
        "POST",
        f"tenants/{name}/members",
        {"cluster_id": cluster.pk, "username": "boss", "role": "admin"},
    )
    boss = person("viewer", cluster=cluster, namespace=name, name="boss")
    where = {"cluster_id": cluster.pk}
    assert boss.data(
        "POST", f"tenants/{name}/members", {**where, "username": "new", "role": "operator"}
    ) == {
        "username": "new",
        "role": "operator",
    }
    assert (
        boss.data(
            "POST", f"tenants/{name}/members", {**where, "username": "new", "role": "viewer"}
        )["role"]
        == "viewer"
    )
    members = boss.data("GET", f"tenants/{name}/members", **where)["items"]
    assert members == [{"username": "boss", "role": "admin"}, {"username": "new", "role": "viewer"}]
    assert [tenant["name"] for tenant in boss.data("GET", "tenants", **where)["items"]].count(
        name
    ) == 1
    quotas = [{"name": "q", "hard": {"pods": "500"}}]
    assert boss.code("PUT", f"tenants/{name}", {**where, "quotas": quotas}) == 1005
    assert boss.code("DELETE", f"tenants/{name}", **where) == 1005
    assert (
        boss.code(
            "PUT",
            "resourcequotas/q",
            {**where, "namespace": name, "content": {"spec": {"hard": {"pods": "500"}}}},
        )
        == 1005
    )
    assert (
        boss.code("POST", "tenants/default/members", {**where, "username": "new", "role": "viewer"})
        == 1005
    )
    assert boss.data("DELETE", f"tenants/{name}/members/new", **where) == {}
    assert boss.code("DELETE", f"tenants/{name}/members/new", **where) == 1004
    assert not Grant.objects.filter(user__username="new").exists()


def test_an_update_changes_what_is_given(admin: Caller, cluster: Cluster, name: str) -> None:
    admin.data(
        "POST",
        "tenants",
        body(cluster, name, labels={"team": "a"}, quotas=[{"name": "q", "hard": {"pods": "5"}}]),
    )
    changed = admin.data(
        "PUT",
        f"tenants/{name}",
        {
            "cluster_id": cluster.pk,
            "contact": "c",
            "quotas": [{"name": "q", "hard": {"pods": "9"}}],
        },
    )
    assert (
        changed["contact"],
        changed["labels"]["team"],
        changed["quotas"][0]["hard"]["pods"],
    ) == ("c", "a", "9")


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"plan": "no-such-plan"}, 1004),
        ({"members": [{"username": "nobody-here", "role": "viewer"}]}, 1004),
        ({"members": [{"username": "admin", "role": "god"}]}, 1001),
        ({"quotas": [{"name": "q"}]}, 1001),
        ({"pod_security": "some"}, 1001),
        ({"network_policy": "yes"}, 1001),
        ({"name": ""}, 1001),
        ({"labels": {"a": 1}}, 1001),
    ],
)
def test_what_cannot_be_made_makes_nothing(
    admin: Caller, cluster: Cluster, name: str, more: dict[str, Any], code: int
) -> None:
    assert admin.code("POST", "tenants", {**body(cluster, name), **more}) == code
    assert admin.code("GET", f"tenants/{name}", cluster_id=cluster.pk) == 1003
    assert not Tenant.objects.exists()


def test_usage_is_sampled_and_shown_over_time(admin: Caller, cluster: Cluster, name: str) -> None:
    admin.data(
        "POST", "tenants", body(cluster, name, quotas=[{"name": "q", "hard": {"pods": "5"}}])
    )
    tasks.sample_cluster(cluster.pk)
    usage = admin.data("GET", f"tenants/{name}/usage", cluster_id=cluster.pk)
    assert usage["now"]["hard"] == {"pods": 5}
    assert [sample["hard"] for sample in usage["samples"]] == [{"pods": 5}]
    assert admin.code("GET", f"tenants/{name}/usage", cluster_id=cluster.pk, since="soon") == 1001
    assert UsageSample.objects.count() == 1


def test_drift_is_named_and_mended(admin: Caller, cluster: Cluster, name: str) -> None:
    admin.data("POST", "tenants", body(cluster, name, network_policy=True))
    admin.data(
        "DELETE", "networkpolicies/kubegale-default-deny", cluster_id=cluster.pk, namespace=name
    )
    assert f"missing: simulated/{name}: NetworkPolicy kubegale-default-deny is not there" in drift()
    Tenant.objects.filter(namespace=name).update(uid="another")
    User.objects.create_user("mia")
    Grant.objects.create(
        user=User.objects.get(username="mia"), role="viewer", cluster=cluster, namespace=name, namespace_uid="another",
        tenant=Tenant.objects.get(namespace=name),
    )  # fmt: skip
    assert f"remade: simulated/{name}: " in drift()
    drift("--fix")
    assert not Grant.objects.exists()
    assert f"unknown: simulated/{name}: " in drift()
    drift("--fix")
    assert f"/{name}: " not in drift()
    Tenant.objects.create(cluster=cluster, namespace="long-gone", uid="x")
    with pytest.raises(SystemExit):
        drift("--strict")


def test_nobody_makes_members_of_more_than_their_token_holds(
    admin: Caller, cluster: Cluster, name: str, person: Person
) -> None:
    User.objects.create_user("friend")
    narrow = person("admin", scopes=["admin"])
    for role in ("viewer", "operator", "admin"):
        members = [{"username": "friend", "role": role}]
        assert narrow.code("POST", "tenants", body(cluster, name, members=members)) == 1005
        body_of_one = {"cluster_id": cluster.pk, "username": "friend", "role": role}
        assert narrow.code("POST", f"tenants/{name}/members", body_of_one) in (1005, 1003)
        grant = {"user": "friend", "role": role, "cluster": cluster.name}
        assert narrow.code("POST", "grants", grant) == 1005
        new = {"username": "new", "password": "a-long-Passphrase-7", "role": role}
        assert narrow.code("POST", "users", new) == 1005
    assert admin.code("GET", f"namespaces/{name}", cluster_id=cluster.pk) != 0
    assert not Grant.objects.filter(user__username="friend").exists()
    assert not User.objects.filter(username="new").exists()
    narrow.data("POST", "tenants", body(cluster, name))
    assert (
        narrow.code(
            "POST",
            f"tenants/{name}/members",
            {"cluster_id": cluster.pk, "username": "friend", "role": "viewer"},
        )
        == 1005
    )
