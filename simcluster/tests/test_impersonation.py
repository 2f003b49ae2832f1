"""Requests in the name of another user."""

import uuid
from collections.abc import Iterable
from typing import Any

import pytest
from urllib3 import HTTPHeaderDict

from simcluster.testing import RunningCluster
from simcluster.tests.conftest import Api, Reply, api_of

RBAC = "/apis/rbac.authorization.k8s.io/v1"


def call(
    api: Api, path: str, names: Iterable[tuple[str, str]], *, method: str = "GET", body: bytes = b""
) -> Reply:
    headers = HTTPHeaderDict(api.headers(**({"Content-Type": "application/json"} if body else {})))
    for name, value in names:
        headers.add(name, value)
    answer = api.pool.request(method, api.url + path, headers=headers, body=body or None)
    return Reply(answer.status, answer.headers, answer.data)


def grant(api: Api, subject: dict[str, Any], *rules: dict[str, Any]) -> None:
    name = f"imp-{uuid.uuid4().hex[:8]}"
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole"}
    made = api.post(f"{RBAC}/clusterroles", {**role, "metadata": {"name": name}, "rules": rules})
    assert made.status == 201
    binding = {
        **role,
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", **subject}],
    }
    assert api.post(f"{RBAC}/clusterrolebindings", binding).status == 201


def rule(verb: str, group: str, *resources: str, **more: Any) -> dict[str, Any]:
    return {"verbs": [verb], "apiGroups": [group], "resources": list(resources), **more}


def test_a_request_has_the_rights_of_whom_it_names(api: Api) -> None:
    name = f"jane-{uuid.uuid4().hex[:6]}"
    grant(api, {"kind": "Group", "name": f"{name}s"}, rule("list", "", "pods"))
    alone = [("Impersonate-User", name)]
    both = [*alone, ("Impersonate-Group", "others"), ("impersonate-group", f"{name}s")]
    refused = call(api, "/api/v1/pods", alone)
    assert (refused.status, refused.body["message"]) == (
        403,
        f'pods is forbidden: User "{name}" cannot list resource "pods" in API group "" at the cluster scope',
    )
    assert call(api, "/api/v1/pods", both).status == 200
    assert call(api, "/api/v1/secrets", both).status == 403
    assert call(api, "/metrics-of-old", both).status == 403


def test_a_review_tells_who_one_is(api: Api, sim: RunningCluster) -> None:
    names = [
        ("Impersonate-User", "jane"),
        ("Impersonate-Group", "developers"),
        ("Impersonate-Group", "admins"),
        ("Impersonate-Uid", "06f6ce97"),
        ("Impersonate-Extra-Acme.com%2Fproject", "some-project"),
        ("Impersonate-Extra-Scopes", "view"),
        ("Impersonate-Extra-Scopes", "dev"),
    ]
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    raw = b'{"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}'
    answer = call(api, path, names, method="POST", body=raw)
    assert answer.body["status"]["userInfo"] == {
        "username": "jane",
        "uid": "06f6ce97",
        "groups": ["developers", "admins", "system:authenticated"],
        "extra": {"acme.com/project": ["some-project"], "scopes": ["view", "dev"]},
    }
    recorded = next(one for one in reversed(sim.requests) if one.path == path)
    assert [pair for pair in recorded.header_list if pair[0].startswith("Impersonate")] == names


@pytest.mark.parametrize(
    ("name", "groups"),
    [
        (
            "system:serviceaccount:shop:web",
            ["system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"],
        ),
        ("joe", ["system:authenticated"]),
    ],
)
def test_users_have_the_groups_of_their_kind(api: Api, name: str, groups: list[str]) -> None:
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    raw = b'{"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}'
    answer = call(api, path, [("Impersonate-User", name)], method="POST", body=raw)
    assert answer.body["status"]["userInfo"] == {"username": name, "groups": groups}


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([("Impersonate-User", "root")], 'users "root" is forbidden'),
        ([("Impersonate-Group", "system:masters")], 'groups "system:masters" is forbidden'),
        ([("Impersonate-Uid", "7")], 'uids.authentication.k8s.io "7" is forbidden'),
        (
            [("Impersonate-Extra-Scopes", "all")],
            'userextras.authentication.k8s.io "all" is forbidden',
        ),
        (
            [("Impersonate-User", "system:serviceaccount:kube-system:default")],
            'serviceaccounts "default" is forbidden',
        ),
    ],
)
def test_every_part_needs_the_verb(
    api: Api, sim: RunningCluster, names: list[tuple[str, str]], words: str
) -> None:
    caller = f"caller-{uuid.uuid4().hex[:6]}"
    grant(
        api,
        {"kind": "User", "name": caller},
        rule("impersonate", "", "users", resourceNames=["jane"]),
        rule("impersonate", "", "groups", resourceNames=["developers"]),
    )
    grant(api, {"kind": "Group", "name": "developers"}, rule("list", "", "configmaps"))
    token = sim.add_user(caller)["users"][0]["user"]["token"]
    person = api_of(sim, token)
    allowed = [("Impersonate-User", "jane"), ("Impersonate-Group", "developers")]
    assert call(person, "/api/v1/configmaps", allowed).status == 200
    tried = names if names[0][0] == "Impersonate-User" else [*allowed, *names]
    answer = call(person, "/api/v1/configmaps", tried)
    assert (answer.status, answer.body["reason"]) == (403, "Forbidden")
    assert answer.body["message"].startswith(words)
    assert f'User "{caller}" cannot impersonate resource' in answer.body["message"]


def test_groups_without_a_user_are_an_error(api: Api) -> None:
    answer = call(api, "/api/v1/pods", [("Impersonate-Group", "developers")])
    assert answer.status == 500
    assert answer.raw.decode() == (
        'Internal Server Error: "/api/v1/pods": '
        "requested [{Group  developers    }] without impersonating a user\n"
    )
