"""What grants and tokens let people see and do, against an API server over the wire."""

import base64
import uuid
from typing import Any

import pytest
from django.contrib.auth.models import User

from access.models import Grant
from clusters.models import Cluster
from tests.access.conftest import Person, new_space
from tests.caller import Caller

pytestmark = pytest.mark.django_db
STORE = "/bcsapi/v4/storage/k8s/dynamic/namespace_resources/clusters"
HIDDEN = "aGlkZGVuLXZhbHVl"


def make(
    admin: Caller, cluster: Cluster, space: str, plural: str, name: str, **content: Any
) -> None:
    manifest = {"metadata": {"name": name}, **content}
    admin.data("POST", plural, {"cluster_id": cluster.pk, "namespace": space, "content": manifest})


def test_lists_show_what_one_may_see_with_exact_totals(
    admin: Caller, cluster: Cluster, space: str, person: Person
) -> None:
    other = new_space(admin, cluster)
    for n in range(3):
        make(admin, cluster, space, "configmaps", f"mine-{n}")
        make(admin, cluster, other, "configmaps", f"theirs-{n}")
    caller = person("viewer", cluster=cluster, namespace=space)
    page = caller.data("GET", "configmaps", cluster_id=cluster.pk, keyword="-", pageSize=2)
    own = caller.data("GET", "configmaps", cluster_id=cluster.pk, pageSize=100)["items"]
    assert {item["metadata"]["namespace"] for item in own} == {space}
    assert page["total"] == len([item for item in own if "-" in item["metadata"]["name"]])
    assert len(page["items"]) == 2
    names = [
        item["metadata"]["name"]
        for item in caller.data("GET", "namespaces", cluster_id=cluster.pk)["items"]
    ]
    assert names == [space]
    assert [item["id"] for item in caller.data("GET", "clusters")["items"]] == [cluster.pk]


def test_what_is_hidden_and_what_is_not_there_answer_alike(
    admin: Caller, cluster: Cluster, space: str, person: Person
) -> None:
    other = new_space(admin, cluster)
    make(admin, cluster, other, "configmaps", "real")
    caller = person("admin", cluster=cluster, namespace=space)
    asked = [
        ("configmaps/real", {"cluster_id": cluster.pk, "namespace": other}),
        ("configmaps/unreal", {"cluster_id": cluster.pk, "namespace": other}),
        ("configmaps/unreal", {"cluster_id": cluster.pk, "namespace": "no-such-namespace"}),
        ("configmaps/unreal", {"cluster_id": cluster.pk + 1000, "namespace": space}),
    ]
    answers = [caller("GET", path, **query) for path, query in asked]
    assert answers[0]["code"] == 1005
    assert answers == [answers[0]] * 4
    assert (
        caller.code("GET", f"clusters/{cluster.pk + 1000}")
        == caller.code("PUT", f"clusters/{cluster.pk}", {})
        == 1005
    )


def test_secret_values_are_for_those_with_the_right(
    admin: Caller, cluster: Cluster, space: str, person: Person
) -> None:
    make(admin, cluster, space, "secrets", "pass", data={"key": HIDDEN})
    where: dict[str, Any] = {"cluster_id": cluster.pk, "namespace": space}
    plain = base64.b64decode(HIDDEN).decode()
    viewer, operator = person("viewer"), person("operator", cluster=cluster, namespace=space)
    for path in (
        "secrets/pass",
        "secrets",
        "resources/core/v1/secrets/pass",
        "resources/core/v1/secrets",
    ):
        text = viewer.raw("GET", path, **where).content.decode()
        assert "key" in text
        assert HIDDEN not in text
    for path in (f"/api/v1/secret/{space}", f"/api/v1/secret/{space}/name/pass"):
        assert plain not in viewer.raw("GET", path, cluster=cluster.pk).content.decode()
        assert plain in operator.raw("GET", path, cluster=cluster.pk).content.decode()
    assert operator.data("GET", "secrets/pass", **where)["data"] == {"key": HIDDEN}
    assert HIDDEN not in operator.raw("GET", "secrets", **where).content.decode()


def test_a_namespace_made_anew_inherits_nobodys_rights(
    cluster: Cluster, space: str, person: Person
) -> None:
    caller = person("operator", cluster=cluster, namespace=space)
    where = {"cluster_id": cluster.pk, "namespace": space}
    assert caller.code("GET", "pods", **where) == 0
    # As it stands after the namespace was deleted and made again: the grant was given for another uid.
    Grant.objects.filter(namespace=space).update(namespace_uid=str(uuid.uuid4()))
    assert caller.code("GET", "pods", **where) == 1005
    assert caller.code("GET", "secrets", **where) == 1005
    assert caller.code("GET", "namespaces", cluster_id=cluster.pk) == 1005


def test_a_grant_on_a_name_takes_the_first_namespace_of_that_name(
    admin: Caller, cluster: Cluster, person: Person
) -> None:
    name = "to-come-later"
    caller = person("viewer", cluster=cluster, namespace=name)
    assert caller.code("GET", "pods/x", cluster_id=cluster.pk, namespace=name) in {1005, 1003}
    admin.data(
        "POST", "namespaces", {"cluster_id": cluster.pk, "content": {"metadata": {"name": name}}}
    )
    assert caller.code("GET", "pods", cluster_id=cluster.pk, namespace=name) == 0
    assert Grant.objects.get(namespace=name).namespace_uid


def test_a_namespace_in_the_body_does_not_reach_elsewhere(
    admin: Caller, cluster: Cluster, space: str, person: Person
) -> None:
    other = new_space(admin, cluster)
    caller, manifest = (
        person("operator", cluster=cluster, namespace=space),
        {"metadata": {"name": "x", "namespace": other}},
    )
    for sent in (
        {"cluster_id": cluster.pk, "content": manifest},
        {"cluster_id": cluster.pk, "namespace": space, "content": manifest},
        {
            "cluster_id": cluster.pk,
            "namespace": space,
            "content": f"metadata: {{name: x, namespace: {other}}}",
        },
        {"cluster_id": cluster.pk, "content": f"metadata: {{name: x, namespace: {other}}}"},
    ):
        assert caller.code("POST", "configmaps", sent) in {1001, 1005}
        assert caller.code("POST", "resources/core/v1/configmaps", sent) in {1001, 1005}
    listed = admin.data("GET", "configmaps", cluster_id=cluster.pk, namespace=other)["items"]
    assert "x" not in [item["metadata"]["name"] for item in listed]


def test_cluster_scoped_kinds_are_not_reached_through_a_namespace(
    cluster: Cluster, space: str, person: Person
) -> None:
    caller, where = (
        person("admin", cluster=cluster, namespace=space),
        {"cluster_id": cluster.pk, "namespace": space},
    )
    for path in (
        "nodes",
        "resources/core/v1/nodes",
        "persistentvolumes",
        "resources/rbac.authorization.k8s.io/v1/clusterroles",
    ):
        assert caller.code("GET", path, **where) == 1005, path
    assert caller.code("GET", "roles", **where) == 0


# --- tokens ---------------------------------------------------------------------------------------------------------
def test_a_token_allows_no_more_than_its_scopes_and_clusters(
    cluster: Cluster, space: str, person: Person
) -> None:
    where = {"cluster_id": cluster.pk, "namespace": space}
    reader = person("admin", scopes=["read"])
    assert reader.code("GET", "configmaps", **where) == 0
    assert reader.code("DELETE", "configmaps/x", **where) == 1005
    assert reader.code("GET", "clusterroles", **where) == 1005
    elsewhere = person("admin", clusters=["another"])
    assert elsewhere.code("GET", "configmaps", **where) == 1005
    assert elsewhere.code("GET", "clusters") == 1005
    here = person("admin", clusters=[cluster.name])
    assert here.code("GET", "configmaps", **where) == 0


def test_an_agents_token_never_touches_another_clusters_rows(person: Person) -> None:
    agent = person("admin", scopes=["storage:write", "storage:read"], clusters=["BCS-K8S-1"])
    document = {
        "data": {"metadata": {"name": "p"}},
        "clusterId": "BCS-K8S-2",
        "cluster_id": "BCS-K8S-2",
    }
    assert agent.raw("PUT", f"{STORE}/BCS-K8S-1/namespaces/n/Pod/p", document).status_code == 200
    assert agent.raw("PUT", f"{STORE}/BCS-K8S-2/namespaces/n/Pod/p", document).status_code == 403
    assert agent.raw("GET", f"{STORE}/BCS-K8S-2/namespaces/n/Pod/p").status_code == 403
    assert agent.raw("GET", f"{STORE}/bcs-k8s-1/namespaces/n/Pod/p").status_code == 403
    event = {
        "id": "e",
        "env": "k8s",
        "kind": "Pod",
        "clusterId": "BCS-K8S-2",
        "eventTime": 1,
        "data": {},
    }
    assert agent.raw("PUT", "/bcsapi/v4/storage/events", event).status_code == 403
    root = person("admin")
    assert (
        root.raw(
            "PUT",
            "/bcsapi/v4/storage/host/10.9.8.7",
            {"ip": "10.9.8.7", "clusterId": "BCS-K8S-2", "data": {}},
        ).status_code
        == 200
    )
    assert (
        agent.raw(
            "PUT", "/bcsapi/v4/storage/host/clusters/BCS-K8S-1", {"ips": ["10.9.8.7"]}
        ).status_code
        == 403
    )
    assert (
        agent.raw(
            "PUT", "/bcsapi/v4/storage/host/clusters/BCS-K8S-1", {"ips": ["10.9.8.8"]}
        ).status_code
        == 200
    )
    reader = person("admin", scopes=["storage:read"], clusters=["BCS-K8S-1"])
    assert reader.raw("PUT", f"{STORE}/BCS-K8S-1/namespaces/n/Pod/p", document).status_code == 403
    assert reader.code("GET", "clusters") == 1005


def test_tokens_are_made_listed_and_revoked_over_the_api_by_their_owner() -> None:
    User.objects.create_user("vera", password="a-long-Passphrase-7")
    pair = Caller().data(
        "POST", "/api/v1/auth/login", {"username": "vera", "password": "a-long-Passphrase-7"}
    )
    vera = Caller(pair["token"])
    made = vera.data(
        "POST", "/api/v1/auth/tokens", {"name": "ci", "scopes": ["read"], "expires_in_days": 1}
    )
    script = Caller(made["token"])
    assert script.data("GET", "/api/v1/auth/me")["username"] == "vera"
    (listed,) = vera.data("GET", "/api/v1/auth/tokens")["items"]
    assert (listed["name"], listed["scopes"], "token" in listed) == ("ci", ["read"], False)
    assert script.code("POST", "/api/v1/auth/tokens", {"name": "wider"}) == 1005
    assert script.code("POST", "/api/v1/auth/password", {}) == 1005
    assert vera.code("DELETE", f"/api/v1/auth/tokens/{made['id'] + 1}") == 1004
    assert vera.data("DELETE", f"/api/v1/auth/tokens/{made['id']}") == {}
    assert script.code("GET", "/api/v1/auth/me") == 2001
    for bad in (
        {"name": ""},
        {"name": "x", "scopes": ["root"]},
        {"name": "x", "clusters": "a"},
        {"name": "x", "expires_in_days": 0},
    ):
        assert vera.code("POST", "/api/v1/auth/tokens", bad) == 1001


def test_a_new_password_ends_what_was_signed_in_before() -> None:
    User.objects.create_user("vera", password="a-long-Passphrase-7")
    pair = Caller().data(
        "POST", "/api/v1/auth/login", {"username": "vera", "password": "a-long-Passphrase-7"}
    )
    old = Caller(pair["token"])
    assert (
        old.code(
            "POST",
            "/api/v1/auth/password",
            {"password": "wrong", "new_password": "another-Passphrase-8"},
        )
        == 1001
    )
    assert (
        old.code(
            "POST",
            "/api/v1/auth/password",
            {"password": "a-long-Passphrase-7", "new_password": "12345678"},
        )
        == 1001
    )
    fresh = old.data(
        "POST",
        "/api/v1/auth/password",
        {"password": "a-long-Passphrase-7", "new_password": "another-Passphrase-8"},
    )
    assert old.code("GET", "/api/v1/auth/me") == 2001
    assert (
        Caller().code("POST", "/api/v1/auth/refresh", {"refresh_token": pair["refresh_token"]})
        == 2001
    )
    assert Caller(fresh["token"]).code("GET", "/api/v1/auth/me") == 0


# --- grants over the API --------------------------------------------------------------------------------------------
def test_an_admin_of_a_cluster_gives_and_takes_roles_there_and_nowhere_else(
    cluster: Cluster, space: str, person: Person
) -> None:
    boss, name = person("admin", cluster=cluster), User.objects.create_user("newcomer").username
    made = boss.data(
        "POST",
        "grants",
        {"user": name, "role": "operator", "cluster": cluster.name, "namespace": space},
    )
    assert (made["role"], made["cluster_id"], made["namespace"]) == ("operator", cluster.pk, space)
    for refused in (
        {"role": "viewer"},
        {"role": "admin"},
        {"role": "viewer", "cluster": "another"},
    ):
        assert boss.code("POST", "grants", {"user": name, **refused}) == 1005
    assert made["id"] in [grant["id"] for grant in boss.data("GET", "grants")["items"]]
    above = Grant.objects.create(user=User.objects.get(username=name), role="admin")
    assert boss.code("DELETE", f"grants/{above.pk}") == boss.code("DELETE", "grants/999999") == 1005
    assert boss.data("DELETE", f"grants/{made['id']}") == {}
    assert (
        person("operator", cluster=cluster).code(
            "POST", "grants", {"user": name, "role": "viewer", "cluster": cluster.name}
        )
        == 1005
    )


# --- impersonation --------------------------------------------------------------------------------------------------
def test_the_cluster_is_told_who_asks_and_never_what_the_caller_says(
    admin: Caller, cluster: Cluster, apiserver: Any, person: Person
) -> None:
    admin.data("PUT", f"clusters/{cluster.pk}", {"impersonate": True})
    assert admin.data("GET", f"clusters/{cluster.pk}")["impersonate"] is True
    caller = person("operator", name="vera")
    User.objects.get(username="vera").groups.create(name="team-blue")
    User.objects.get(username="vera").groups.create(name="system:masters")
    apiserver.requests.clear()
    forged = {
        "Impersonate-User": "system:admin",
        "Impersonate-Group": "system:masters",
        "X-Remote-User": "root",
        "X-Forwarded-For": "1.2.3.4",
        "Forwarded": "for=1.2.3.4",
    }
    caller.client.get(
        "/api/v1/kubernetes/configmaps",
        {"cluster_id": cluster.pk, "namespace": "default"},
        headers=forged,
    )
    headers = [
        {name.lower(): value for name, value in request.headers.items()}
        for request in apiserver.requests
    ]
    assert headers
    for seen in headers:
        assert seen["impersonate-user"] == "vera"
        assert seen["impersonate-group"] == "team-blue"
        assert not {"x-remote-user", "x-forwarded-for", "forwarded"} & set(seen)
    admin.data("PUT", f"clusters/{cluster.pk}", {"impersonate": False})
    apiserver.requests.clear()
    caller.client.get(
        "/api/v1/kubernetes/configmaps",
        {"cluster_id": cluster.pk, "namespace": "default"},
        headers=forged,
    )
    assert not [
        name
        for request in apiserver.requests
        for name in request.headers
        if name.lower().startswith("impersonate")
    ]


@pytest.mark.parametrize(
    "steps",
    [
        [{"op": "test", "path": "/data/key", "value": HIDDEN}],
        [{"op": "test", "path": "", "value": {}}],
        [{"op": "copy", "from": "/data/key", "path": "/metadata/annotations"}],
        [{"op": "copy", "from": "/data", "path": "/metadata/annotations"}],
        [{"op": "move", "from": "/data/key", "path": "/metadata/labels"}],
        [{"op": "copy", "from": "/metadata/annotations", "path": "/metadata/labels"}],
        [{"op": "replace", "path": "/type", "value": "x"}, {"op": "test", "path": "/data~1key"}],
    ],
)
def test_a_json_patch_tells_no_value_to_who_may_not_see_it(
    admin: Caller, cluster: Cluster, space: str, person: Person, steps: list[dict[str, Any]]
) -> None:
    make(admin, cluster, space, "secrets", "pass", data={"key": HIDDEN})
    narrow = person("operator", cluster=cluster, namespace=space, scopes=["read", "write"])
    for path in ("secrets/pass", "resources/core/v1/secrets/pass"):
        answer = narrow.raw("PATCH", path, steps, **json_patch(cluster, space))
        assert answer.json()["code"] == 1005
        assert HIDDEN not in answer.content.decode()
    where: dict[str, Any] = {"cluster_id": cluster.pk, "namespace": space}
    assert admin.data("GET", "secrets/pass", **where)["data"] == {"key": HIDDEN}


@pytest.mark.parametrize("addition", [b'"\xff"', b'"\\ud800"', b"1e999", b"[" * 1100 + b"]" * 1100])
def test_a_json_patch_that_only_an_api_server_can_read_compares_no_values(
    admin: Caller, cluster: Cluster, space: str, person: Person, addition: bytes
) -> None:
    """Go's reader forgives bytes that are no text, and does not look into numbers and lists that it only copies."""
    make(admin, cluster, space, "secrets", "pass", data={"key": HIDDEN})
    narrow = person("operator", cluster=cluster, namespace=space, scopes=["read", "write"])
    steps = b'[{"op":"test","path":"/data/key","value":"x"},{"op":"add","path":"/x","value":%s}]'
    answer = narrow("PATCH", "secrets/pass", steps % addition, **json_patch(cluster, space))
    assert answer["code"] == 1001
    assert "the body" in answer["msg"]


def test_a_json_patch_of_a_secret_changes_what_it_need_not_see(
    admin: Caller, cluster: Cluster, space: str, person: Person
) -> None:
    make(admin, cluster, space, "secrets", "pass", data={"key": HIDDEN})
    narrow = person("operator", cluster=cluster, namespace=space, scopes=["read", "write"])
    steps = [
        {"op": "test", "path": "/metadata/name", "value": "pass"},
        {"op": "add", "path": "/data/other", "value": HIDDEN},
    ]
    answer = narrow.data("PATCH", "secrets/pass", steps, **json_patch(cluster, space))
    assert set(answer["data"]) == {"key", "other"}
    whole = person("operator", cluster=cluster, namespace=space)
    steps = [{"op": "move", "from": "/data/other", "path": "/data/third"}]
    answer = whole.data("PATCH", "secrets/pass", steps, **json_patch(cluster, space))
    assert answer["data"] == {"key": HIDDEN, "third": HIDDEN}


def json_patch(cluster: Cluster, space: str) -> dict[str, Any]:
    """How a JSON patch of an object in the namespace is sent."""
    return {
        "content_type": "application/json-patch+json",
        "cluster_id": cluster.pk,
        "namespace": space,
    }
