"""The tables of rights, read as a person would ask them."""

import pytest

from access.policy import (
    RIGHTS,
    EffectiveGrant,
    Right,
    Role,
    ScopeLevel,
    is_audited,
    may_hand_out,
    narrow,
    requirement_for,
    visible_in_cluster,
)

RBAC = "rbac.authorization.k8s.io"


def may(
    role: Role,
    verb: str,
    kind: str,
    group: str = "",
    *,
    cluster: int | None = 1,
    namespace: str | None = None,
    asked: str = "",
) -> bool:
    held = [EffectiveGrant(RIGHTS[role], cluster, namespace)]
    wanted = requirement_for(verb, kind, group)
    return (
        visible_in_cluster(held, wanted, cluster=1, namespace=asked, collection=verb == "list")
        is not None
    )


@pytest.mark.parametrize(
    ("verb", "kind", "group", "least"),
    [
        ("list", "pods", "", Role.VIEWER),
        ("get", "secrets", "", Role.VIEWER),
        ("logs", "pods", "", Role.VIEWER),
        ("list", "nodes", "", Role.VIEWER),
        ("metrics", "nodes", "", Role.VIEWER),
        ("list", "persistentvolumes", "", Role.VIEWER),
        ("get", "storageclasses", "storage.k8s.io", Role.VIEWER),
        ("list", "customresourcedefinitions", "apiextensions.k8s.io", Role.VIEWER),
        ("list", "ingressclasses", "networking.k8s.io", Role.VIEWER),
        ("list", "namespaces", "", Role.VIEWER),
        ("create", "deployments", "apps", Role.OPERATOR),
        ("scale", "statefulsets", "apps", Role.OPERATOR),
        ("terminal", "pods", "", Role.OPERATOR),
        ("files.read", "pods", "", Role.OPERATOR),
        ("delete", "secrets", "", Role.OPERATOR),
        ("update", "endpoints", "", Role.OPERATOR),
        ("create", "widgets", "example.com", Role.OPERATOR),
        ("list", "roles", RBAC, Role.ADMIN),
        ("create", "rolebindings", RBAC, Role.ADMIN),
        ("list", "clusterroles", RBAC, Role.ADMIN),
        ("list", "serviceaccounts", "", Role.ADMIN),
        ("update", "nodes", "", Role.ADMIN),
        ("drain", "nodes", "", Role.ADMIN),
        ("terminal", "nodes", "", Role.ADMIN),
        ("create", "namespaces", "", Role.ADMIN),
        ("update", "resourcequotas", "", Role.ADMIN),
        ("create", "persistentvolumes", "", Role.ADMIN),
        ("delete", "customresourcedefinitions", "apiextensions.k8s.io", Role.ADMIN),
        ("create", "tokenreviews", "authentication.k8s.io", Role.ADMIN),
        ("list", "validatingwebhookconfigurations", "admissionregistration.k8s.io", Role.ADMIN),
        ("list", "apiservices", "apiregistration.k8s.io", Role.ADMIN),
        ("list", "rolebindings", "authorization.openshift.io", Role.ADMIN),
        ("create", "rolebindings", "authorization.openshift.io", Role.ADMIN),
        ("create", "RoleBindings", "authorization.openshift.io", Role.ADMIN),
        ("create", "projectroletemplatebindings", "management.cattle.io", Role.ADMIN),
        ("update", "globalroles", "iam.kubesphere.io", Role.ADMIN),
        ("patch", "policies", "iam.example.com", Role.ADMIN),
        ("get", "clusterroles", "example.com", Role.ADMIN),
        ("create", "roleassignments", "example.com", Role.ADMIN),
        ("create", "serviceaccounts", "example.com", Role.ADMIN),
        ("create", "rbacdefinitions", "example.com", Role.ADMIN),
        ("create", "authorizationpolicies", "security.istio.io", Role.OPERATOR),
        ("list", "audit", "", Role.ADMIN),
        ("a verb nobody foresaw", "pods", "", Role.ADMIN),
        ("list", "a kind nobody foresaw", "", Role.ADMIN),
    ],
)
def test_an_act_needs_its_role_and_every_higher_role_may_do_it(
    verb: str, kind: str, group: str, least: Role
) -> None:
    allowed = [role for role in Role if may(role, verb, kind, group)]
    assert allowed == list(Role)[list(Role).index(least) :]


@pytest.mark.parametrize(
    ("verb", "kind", "group"),
    [
        ("list", "nodes", ""),
        ("get", "persistentvolumes", ""),
        ("update", "resourcequotas", ""),
        ("create", "limitranges", ""),
        ("update", "endpoints", ""),
        ("create", "endpointslices", "discovery.k8s.io"),
        ("delete", "namespaces", ""),
        ("create", "clusterrolebindings", RBAC),
        ("create", "rolebindings", "authorization.openshift.io"),
        ("update", "roles", "iam.example.com"),
        ("update", "clusters", ""),
        ("list", "audit", ""),
        ("write", "storage", ""),
        ("list", "users", ""),
    ],
)
def test_an_admin_of_a_namespace_may_not_reach_beyond_it(verb: str, kind: str, group: str) -> None:
    assert not may(Role.ADMIN, verb, kind, group, namespace="a", asked="a")


def test_a_namespace_grant_holds_in_its_namespace_of_its_cluster_alone() -> None:
    assert may(Role.OPERATOR, "create", "pods", namespace="a", asked="a")
    assert not may(Role.OPERATOR, "create", "pods", namespace="a", asked="b")
    assert not may(Role.OPERATOR, "create", "pods", namespace="a", asked="")
    assert not may(Role.OPERATOR, "create", "pods", namespace="a", cluster=2, asked="a")


def test_a_list_without_a_namespace_is_narrowed_to_the_namespaces_held() -> None:
    held = [
        EffectiveGrant(RIGHTS[Role.VIEWER], 1, "a"),
        EffectiveGrant(RIGHTS[Role.VIEWER], 1, "b"),
        EffectiveGrant(RIGHTS[Role.VIEWER], 2, "c"),
    ]
    extent = visible_in_cluster(
        held, requirement_for("list", "pods"), cluster=1, namespace="", collection=True
    )
    assert extent is not None
    assert extent.namespaces == {"a", "b"}
    assert (
        visible_in_cluster(
            held, requirement_for("get", "pods"), cluster=1, namespace="", collection=False
        )
        is None
    )


def test_a_cluster_scoped_custom_kind_is_not_reached_through_a_namespace() -> None:
    held = [EffectiveGrant(RIGHTS[Role.ADMIN], 1, "a")]
    wanted = requirement_for("get", "widgets", "example.com", cluster_scoped=True)
    assert visible_in_cluster(held, wanted, cluster=1, namespace="a", collection=False) is None


@pytest.mark.parametrize(
    ("kind", "group", "seen"),
    [
        ("gadgets", "example.com", True),
        ("nodes", "metrics.k8s.io", True),
        ("tokens", "management.example.com", False),
        ("oauthclients", "login.example.com", False),
        ("users", "user.openshift.io", False),
        ("clusterroles", "authorization.openshift.io", False),
        ("mutatingwebhookconfigurations", "admissionregistration.k8s.io", False),
    ],
)
def test_a_viewer_of_a_cluster_sees_its_kinds_outside_namespaces_but_none_that_opens_doors(
    kind: str, group: str, *, seen: bool
) -> None:
    wanted = requirement_for("list", kind, group, cluster_scoped=True)
    whole, inside = (
        EffectiveGrant(RIGHTS[Role.VIEWER], 1),
        EffectiveGrant(RIGHTS[Role.VIEWER], 1, "a"),
    )
    place = {"cluster": 1, "namespace": "", "collection": True}
    assert (visible_in_cluster([whole], wanted, **place) is not None) is seen
    assert visible_in_cluster([inside], wanted, **place) is None


def test_a_token_only_ever_takes_away() -> None:
    whole = [EffectiveGrant(RIGHTS[Role.ADMIN])]
    cut = narrow(whole, rights=frozenset({Right.READ}), clusters=frozenset({1}))
    assert (
        visible_in_cluster(
            cut, requirement_for("list", "pods"), cluster=1, namespace="", collection=True
        )
        is not None
    )
    assert (
        visible_in_cluster(
            cut, requirement_for("list", "pods"), cluster=2, namespace="", collection=True
        )
        is None
    )
    assert (
        visible_in_cluster(
            cut, requirement_for("delete", "pods"), cluster=1, namespace="a", collection=False
        )
        is None
    )
    viewer = narrow(
        [EffectiveGrant(RIGHTS[Role.VIEWER], 1)], rights=frozenset(Right), clusters=None
    )
    assert (
        visible_in_cluster(
            viewer, requirement_for("delete", "pods"), cluster=1, namespace="a", collection=False
        )
        is None
    )


@pytest.mark.parametrize("role", list(Role))
def test_only_an_admin_hands_out_roles_and_only_where_they_are_one(role: Role) -> None:
    admin, operator = (
        [EffectiveGrant(RIGHTS[Role.ADMIN], 1)],
        [EffectiveGrant(RIGHTS[Role.OPERATOR])],
    )
    assert may_hand_out(admin, role, cluster=1, namespace="a")
    assert may_hand_out(admin, role, cluster=1, namespace="")
    assert not may_hand_out(admin, role, cluster=None, namespace="")
    assert not may_hand_out(admin, role, cluster=2, namespace="")
    assert not may_hand_out(operator, role, cluster=1, namespace="a")
    tenant = [EffectiveGrant(RIGHTS[Role.ADMIN], 1, "a")]
    assert may_hand_out(tenant, role, cluster=1, namespace="a")
    assert not may_hand_out(tenant, role, cluster=1, namespace="")


def test_every_write_and_every_look_into_logs_terminals_and_secrets_is_audited() -> None:
    for verb, kind in (
        ("create", "pods"),
        ("scale", "deployments"),
        ("logs", "pods"),
        ("terminal", "pods"),
        ("get", "secrets"),
        ("?", "pods"),
    ):
        assert is_audited(verb, kind)
    for verb, kind in (("list", "pods"), ("get", "configmaps"), ("revisions", "deployments")):
        assert not is_audited(verb, kind)


def test_wider_reaches_are_greater() -> None:
    assert ScopeLevel.ANY < ScopeLevel.NAMESPACE < ScopeLevel.CLUSTER < ScopeLevel.EVERYTHING
