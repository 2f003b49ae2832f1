"""What Kubernetes' own escalation check would refuse is refused here, at every door; the kubeconfig itself may do anything."""

import uuid
from typing import Any

import orjson
import pytest

from clusters import escalation, registry
from clusters.kinds import KINDS
from clusters.models import Cluster
from core.errors import Forbidden
from storage_api.history import restore
from storage_api.history.restore import RestoreTarget
from tests.access.conftest import Person
from tests.caller import Caller

pytestmark = pytest.mark.django_db
RBAC = "rbac.authorization.k8s.io"
FORBIDDEN = 1005
ALL = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
PODS = {"apiGroups": [""], "resources": ["pods", "configmaps"], "verbs": ["get", "list", "delete"]}
TOO_MUCH: list[dict[str, Any]] = [
    ALL,
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["*"]},
    {"apiGroups": [""], "resources": ["*"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["resourcequotas"], "verbs": ["update"]},
    {"apiGroups": [RBAC], "resources": ["roles"], "verbs": ["escalate"]},
    {"apiGroups": [RBAC], "resources": ["clusterroles"], "verbs": ["bind"]},
    {"apiGroups": [""], "resources": ["users"], "verbs": ["impersonate"]},
    {"apiGroups": [RBAC], "resources": ["rolebindings"], "verbs": ["get", "bind"]},
    {"nonResourceURLs": ["/metrics"], "verbs": ["get"]},
]


@pytest.fixture
def chief(cluster: Cluster, space: str, person: Person) -> Caller:
    """An admin of one namespace."""
    return person("admin", cluster=cluster, namespace=space)


def binding(name: str, role: str, kind: str = "ClusterRole") -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "roleRef": {"apiGroup": RBAC, "kind": kind, "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": "default"}],
    }


def role(name: str, *rules: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": name}, "rules": list(rules)}


def cluster_role(admin: Caller, cluster: Cluster, content: dict[str, Any]) -> str:
    """A ClusterRole of a name that no other test has."""
    name = f"{content['metadata']['name']}-{uuid.uuid4().hex[:6]}"
    content = {**content, "metadata": {**content["metadata"], "name": name}}
    admin.data("POST", "clusterroles", {"cluster_id": cluster.pk, "content": content})
    return name


@pytest.mark.parametrize("lent", ["cluster-admin", "system:node", "system:controller:job"])
def test_an_admin_of_a_namespace_lends_no_role_of_the_cluster_itself(
    chief: Caller, cluster: Cluster, space: str, lent: str
) -> None:
    at = {"cluster_id": cluster.pk, "namespace": space}
    made = binding("taker", lent)
    text = orjson.dumps({"apiVersion": f"{RBAC}/v1", "kind": "RoleBinding", **made}).decode()
    doors = ["rolebindings", f"resources/{RBAC}/v1/rolebindings"]
    for door in doors:
        for content in (made, text):
            assert chief.code("POST", door, {**at, "content": content}) == FORBIDDEN
        assert chief.code("PUT", f"{door}/taker", {**at, "content": made}) == FORBIDDEN
    applied = {"apiVersion": f"{RBAC}/v1", "kind": "RoleBinding", **made}
    answer = chief.code(
        "PATCH",
        "rolebindings/taker",
        orjson.dumps(applied),
        content_type="application/apply-patch+yaml",
        **at,
    )
    assert answer == FORBIDDEN
    assert chief.data("GET", "rolebindings", **at)["total"] == 0


def test_what_every_admin_of_a_namespace_may_lend_and_change(
    chief: Caller, cluster: Cluster, space: str
) -> None:
    at = {"cluster_id": cluster.pk, "namespace": space}
    for lent in ("view", "edit", "admin"):
        chief.data("POST", "rolebindings", {**at, "content": binding(f"{lent}ers", lent)})
    chief.data("POST", "roles", {**at, "content": role("reader", PODS)})
    chief.data("POST", "rolebindings", {**at, "content": binding("readers", "reader", "Role")})
    subjects = {"subjects": [{"kind": "User", "apiGroup": RBAC, "name": "vera"}]}
    for kind, body in (
        ("application/merge-patch+json", subjects),
        ("application/json-patch+json", [{"op": "remove", "path": "/subjects/0"}]),
        ("application/strategic-merge-patch+json", {"metadata": {"labels": {"a": "b"}}}),
    ):
        for name in ("readers", "viewers"):
            chief.data("PATCH", f"rolebindings/{name}", orjson.dumps(body), content_type=kind, **at)
    chief.data("DELETE", "rolebindings/viewers", **at)


@pytest.mark.parametrize("rule", TOO_MUCH, ids=lambda rule: orjson.dumps(rule).decode())
def test_a_role_holds_no_more_than_the_admin_of_its_namespace(
    admin: Caller, chief: Caller, cluster: Cluster, space: str, rule: dict[str, Any]
) -> None:
    at = {"cluster_id": cluster.pk, "namespace": space}
    chief.data("POST", "roles", {**at, "content": role("mine", PODS)})
    for body in (role("more", rule), role("more", PODS, rule)):
        assert chief.code("POST", "roles", {**at, "content": body}) == FORBIDDEN
    assert chief.code("PUT", "roles/mine", {**at, "content": role("mine", rule)}) == FORBIDDEN
    patches: list[tuple[str, Any]] = [
        ("application/merge-patch+json", {"rules": [rule]}),
        ("application/strategic-merge-patch+json", {"rules": [rule]}),
        ("application/json-patch+json", [{"op": "add", "path": "/rules/-", "value": rule}]),
        (
            "application/apply-patch+yaml",
            {"apiVersion": f"{RBAC}/v1", "kind": "Role", **role("mine", rule)},
        ),
    ]
    for kind, body in patches:
        query: dict[str, Any] = {**at, "force": "true"} if "apply" in kind else at
        sent = orjson.dumps(body)
        answer = chief("PATCH", "roles/mine", sent, content_type=kind, **query)
        assert answer["code"] in (FORBIDDEN, 1008), (kind, answer)
    assert chief.data("GET", "roles/mine", **at)["rules"] == [PODS]
    made = cluster_role(admin, cluster, role("wide", rule))
    assert chief.code("POST", "rolebindings", {**at, "content": binding("b", made)}) == FORBIDDEN


def test_a_patch_in_parts_is_weighed_as_a_whole(
    chief: Caller, cluster: Cluster, space: str
) -> None:
    at = {"cluster_id": cluster.pk, "namespace": space}
    rule = {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["get"]}
    chief.data("POST", "roles", {**at, "content": role("mine", rule)})

    def patch(path: str, value: list[str]) -> int:
        body = orjson.dumps([{"op": "replace", "path": f"/rules/0/{path}", "value": value}])
        kind = "application/json-patch+json"
        return chief.code("PATCH", "roles/mine", body, content_type=kind, **at)

    assert patch("verbs", ["impersonate"]) == 0
    assert patch("resources", ["users"]) == FORBIDDEN


def test_a_role_that_gathers_others_is_weighed_with_them(
    admin: Caller, chief: Caller, cluster: Cluster, space: str
) -> None:
    at, mark = {"cluster_id": cluster.pk, "namespace": space}, uuid.uuid4().hex[:8]
    content = role("gatherer")
    content["aggregationRule"] = {"clusterRoleSelectors": [{"matchLabels": {"gather": mark}}]}
    gatherer = cluster_role(admin, cluster, content)
    part = role("part", PODS)
    part["metadata"]["labels"] = {"gather": mark}
    cluster_role(admin, cluster, part)
    chief.data("POST", "rolebindings", {**at, "content": binding("first", gatherer)})
    part = role("part", ALL)
    part["metadata"]["labels"] = {"gather": mark}
    cluster_role(admin, cluster, part)
    body = {**at, "content": binding("second", gatherer)}
    assert chief.code("POST", "rolebindings", body) == FORBIDDEN


def test_a_role_that_is_not_there_yet_is_not_lent_and_a_strong_one_neither(
    admin: Caller, chief: Caller, cluster: Cluster, space: str
) -> None:
    at = {"cluster_id": cluster.pk, "namespace": space}
    for kind, code in (("Role", 1004), ("ClusterRole", FORBIDDEN)):
        body = {**at, "content": binding("early", "later", kind)}
        assert chief.code("POST", "rolebindings", body) == code
    admin.data("POST", "roles", {**at, "content": role("strong", ALL)})
    body = {**at, "content": binding("late", "strong", "Role")}
    assert chief.code("POST", "rolebindings", body) == FORBIDDEN
    for wrong in ({}, {"kind": "ClusterRole"}, {"kind": ["ClusterRole"], "name": "x"}):
        content = {"metadata": {"name": "wrong"}, "roleRef": wrong}
        assert chief.code("POST", "rolebindings", {**at, "content": content}) == 1001
    many = {name: [f"{name}{n}" for n in range(60)] for name in ("verbs", "resources", "apiGroups")}
    assert chief.code("POST", "roles", {**at, "content": role("many", many)}) == 1001


def test_an_old_version_that_gives_too_much_is_not_restored(cluster: Cluster, space: str) -> None:
    made = {"apiVersion": f"{RBAC}/v1", "kind": "RoleBinding", **binding("old", "cluster-admin")}
    subject = RestoreTarget(cluster, KINDS["rolebindings"], space, "old")
    with pytest.raises(Forbidden):
        restore.prepare(subject, orjson.dumps(made), None)
    assert restore.prepare(subject, orjson.dumps(made), None, unbounded=True).verdict.made


def test_admins_of_the_cluster_write_what_they_like(
    person: Person, cluster: Cluster, space: str
) -> None:
    at = {"cluster_id": cluster.pk, "namespace": space}
    caller = person("admin", cluster=cluster)
    caller.data("POST", "rolebindings", {**at, "content": binding("all", "cluster-admin")})
    caller.data("POST", "roles", {**at, "content": role("all", ALL)})
    kind = "application/merge-patch+json"
    rules = orjson.dumps({"rules": [*TOO_MUCH[:3]]})
    caller.data("PATCH", "roles/all", rules, content_type=kind, **at)


def test_what_the_clusters_own_admin_holds_counts(admin: Caller, cluster: Cluster) -> None:
    """`admin` gathers other roles, and nobody may have gathered them yet."""
    client, mark = registry.client(cluster), uuid.uuid4().hex[:8]
    gadgets = {"apiGroups": ["example.com"], "resources": ["gadgets"], "verbs": ["get"]}
    part = role("gadgets", gadgets)
    part["metadata"]["labels"] = {"to-admin": mark}
    cluster_role(admin, cluster, part)
    own = {"metadata": {"name": "admin"}, "rules": [PODS]}
    own["aggregationRule"] = {"clusterRoleSelectors": [{"matchLabels": {"to-admin": mark}}]}
    admin.data("POST", "clusterroles", {"cluster_id": cluster.pk, "content": own})
    try:
        escalation.check(client, KINDS["roles"], role("r", gadgets, PODS), "default")
        secrets = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}
        with pytest.raises(Forbidden):
            escalation.check(client, KINDS["roles"], role("r", secrets), "default")
    finally:
        admin.data("DELETE", "clusterroles/admin", cluster_id=cluster.pk, confirm="true")


def test_access_kinds_of_other_groups_are_for_admins_of_the_cluster(
    person: Person, cluster: Cluster, space: str
) -> None:
    at = {"cluster_id": cluster.pk, "namespace": space}
    body = {**at, "content": {"metadata": {"name": "more"}}}
    for role_name in ("viewer", "operator", "admin"):
        caller = person(role_name, cluster=cluster, namespace=space)
        for address in (
            "authorization.openshift.io/v1/rolebindings",
            "authorization.openshift.io/v1/RoleBindings",
            "management.cattle.io/v3/projectroletemplatebindings",
            "iam.kubesphere.io/v1beta1/workspaceroles",
            "RBAC.authorization.k8s.io/v1/rolebindings",
        ):
            assert caller.code("POST", f"resources/{address}", body) == FORBIDDEN


def test_viewers_of_a_whole_cluster_see_its_nodes_and_none_of_its_access_kinds(
    person: Person, cluster: Cluster, space: str
) -> None:
    at = {"cluster_id": cluster.pk}
    seen = "nodes persistentvolumes storageclasses namespaces customresourcedefinitions"
    hidden = "clusterroles clusterrolebindings roles serviceaccounts"
    for role_name in ("viewer", "operator"):
        for where in (None, cluster):
            caller = person(role_name, cluster=where)
            for plural in seen.split():
                assert caller.code("GET", plural, **at) == 0, plural
            for plural in hidden.split():
                assert caller.code("GET", plural, **at) == FORBIDDEN, plural
            counts = caller.data("GET", "multicluster/overview", fresh="true")["clusters"][0]
            assert counts["counts"]["nodes"]["total"] > 0
            body = {**at, "content": {"metadata": {"name": "n"}}}
            assert caller.code("POST", "persistentvolumes", body) == FORBIDDEN
    inside = person("admin", cluster=cluster, namespace=space)
    for plural in seen.replace("namespaces ", "").split():
        assert inside.code("GET", plural, **at) == FORBIDDEN
    assert inside.data("GET", "multicluster/overview")["clusters"][0]["counts"]["nodes"] is None
