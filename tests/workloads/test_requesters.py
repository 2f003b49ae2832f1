"""Operations go on with their requester's rights of the moment and in their name; one's own things need the right too."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from access import grants, sign_in, tokens, users
from access.models import ApiToken, Grant
from clusters.models import Cluster
from operations.models import Operation
from simcluster.testing import RunningCluster
from tests.caller import Caller
from tests.turning import finish, take_turn
from tests.workloads.conftest import Put, is_ready, pods_of, workload
from tests.workloads.test_pod_actions import end
from workloads.models import Recording

RBAC = "rbac.authorization.k8s.io"
pytestmark = pytest.mark.django_db


@pytest.fixture
def vera(cluster: Cluster, space: str) -> User:
    """An operator of the namespace."""
    user = User.objects.create_user("vera", None, "a-long-Passphrase-7")
    grants.give(user=user, role=grants.role_of("operator"), cluster=cluster.name, namespace=space)
    return user


def script(user: User, **token: Any) -> Caller:
    """The person's script."""
    return Caller(tokens.create_api_token(user, "script", **token)[1])


def deletion(caller: Caller, where: dict[str, Any]) -> int:
    """An operation that deletes the namespace's config maps."""
    body = {**where, "action": "delete", "labelSelector": "app=many"}
    return int(caller.data("POST", "bulk/configmaps", body)["operation_id"])


@pytest.fixture
def where(cluster: Cluster, space: str, put: Put) -> dict[str, Any]:
    """A place with things in it."""
    for name in ("one", "two"):
        put("configmaps", {"metadata": {"name": name, "labels": {"app": "many"}}})
    return {"cluster_id": cluster.pk, "namespace": space}


def left(apiserver: RunningCluster, space: str) -> list[str]:
    """The names of what was not deleted."""
    return sorted(
        item["metadata"]["name"]
        for item in apiserver.list("configmaps", space)
        if (item["metadata"].get("labels") or {}).get("app") == "many"
    )


WAYS: dict[str, Callable[[User], Any]] = {
    "grant": lambda user: Grant.objects.filter(user=user).delete(),
    "role": lambda user: Grant.objects.filter(user=user).update(role="viewer"),
    "token": lambda user: ApiToken.objects.filter(user=user).update(revoked_at=timezone.now()),
    "expired": lambda user: ApiToken.objects.filter(user=user).update(
        expires_at=timezone.now() - timedelta(seconds=1)
    ),
    "scopes": lambda user: ApiToken.objects.filter(user=user).update(scopes=["read"]),
    "clusters": lambda user: ApiToken.objects.filter(user=user).update(clusters=["elsewhere"]),
    "user": lambda user: users.change(user, is_active=False),
    "gone": lambda user: user.delete(),
}


@pytest.mark.parametrize("way", WAYS)
def test_an_operation_ends_with_its_requesters_right(
    apiserver: RunningCluster, space: str, vera: User, where: dict[str, Any], way: str
) -> None:
    pk = deletion(script(vera), where)
    WAYS[way](vera)
    row = take_turn(pk)
    assert (row.state, row.reason) == (Operation.State.FAILED, "RightLost")
    assert row.error.startswith("vera may no longer do this")
    assert left(apiserver, space) == ["one", "two"]


def test_an_operation_that_is_under_way_ends_too(
    apiserver: RunningCluster, space: str, vera: User, put: Put, where: dict[str, Any]
) -> None:
    put("deployments", workload(image="nginx:never"))
    answer = script(vera).data("POST", "deployments/web/restart", where)
    pk = answer["operation_id"]
    apiserver.faults.add(path="/apis/apps/v1", action="status", code=503)
    assert take_turn(pk).state == Operation.State.RUNNING
    Grant.objects.filter(user=vera).delete()
    row = take_turn(pk)
    apiserver.faults.clear()
    assert (row.state, row.reason) == (Operation.State.FAILED, "RightLost")


def test_signing_out_and_a_new_password_end_no_operation(
    apiserver: RunningCluster, space: str, vera: User, where: dict[str, Any]
) -> None:
    pair = sign_in.pair_for(vera)
    pk = deletion(Caller(pair.token), where)
    sign_in.sign_out(pair.token)
    users.change(vera, password="another-Passphrase-8")
    assert finish(pk).state == Operation.State.SUCCEEDED
    assert left(apiserver, space) == []


# --- one's own ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "token",
    [
        {"scopes": ["read"], "clusters": ["second"]},
        {"clusters": ["second"]},
        {"scopes": ["storage:read"]},
    ],
)
def test_a_token_reaches_its_users_operations_only_where_it_may(
    cluster: Cluster, vera: User, where: dict[str, Any], token: dict[str, Any]
) -> None:
    pk = deletion(script(vera), where)
    narrow = script(vera, **token)
    assert narrow.code("GET", f"operations/{pk}") == 1004
    assert narrow.code("POST", f"operations/{pk}/cancel") == 1004
    assert narrow.code("POST", f"operations/{pk}/stream") == 1004
    assert narrow.data("GET", "operations")["items"] == []
    assert Operation.objects.get(pk=pk).state == Operation.State.PENDING


def test_a_token_that_reads_cancels_nothing(
    cluster: Cluster, vera: User, where: dict[str, Any]
) -> None:
    pk = deletion(script(vera), where)
    reader = script(vera, scopes=["read"], clusters=[cluster.name])
    assert reader.data("GET", f"operations/{pk}")["id"] == pk
    assert reader.code("POST", f"operations/{pk}/cancel") == 1005
    assert Operation.objects.get(pk=pk).state == Operation.State.PENDING
    assert script(vera).data("POST", f"operations/{pk}/cancel")["state"] == "cancelled"


def test_who_lost_the_right_sees_their_own_operations_no_longer(
    vera: User, where: dict[str, Any]
) -> None:
    caller = script(vera)
    pk = deletion(caller, where)
    assert [row["id"] for row in caller.data("GET", "operations")["items"]] == [pk]
    Grant.objects.filter(user=vera).delete()
    assert caller.code("GET", f"operations/{pk}") == 1004
    assert caller.data("GET", "operations")["items"] == []


def test_recordings_of_ones_own_need_the_right_too(
    admin: Caller, cluster: Cluster, space: str, vera: User
) -> None:
    row = Recording.objects.create(
        session="5" * 32, user=vera, username="vera", cluster=cluster, namespace=space, pod="web"
    )
    on_node = Recording.objects.create(
        session="6" * 32, user=vera, username="vera", cluster=cluster, node="node-01"
    )
    where = {"cluster_id": cluster.pk, "namespace": space}
    caller = script(vera)
    assert caller.raw("GET", f"terminal-recordings/{row.pk}/replay").status_code == 200
    assert caller.code("GET", f"terminal-recordings/{on_node.pk}") == 1004
    for token in (
        {"scopes": ["read"], "clusters": ["second"]},
        {"clusters": ["second"]},
        {"scopes": ["read", "logs"]},
    ):
        narrow = script(vera, **token)
        for path in (f"terminal-recordings/{row.pk}", f"terminal-recordings/{row.pk}/replay"):
            assert narrow.code("GET", path) == 1004, (token, path)
        assert narrow.code("GET", "terminal-recordings", **where) == 1005
    Grant.objects.filter(user=vera).delete()
    assert caller.code("GET", f"terminal-recordings/{row.pk}") == 1004
    grants.give(user=vera, role=grants.role_of("operator"), cluster=cluster.name)
    listed = caller.data("GET", "terminal-recordings", cluster_id=cluster.pk)["items"]
    assert [item["pod"] for item in listed] == ["web"], "shells on nodes are for who may open one"
    assert len(admin.data("GET", "terminal-recordings", cluster_id=cluster.pk)["items"]) == 2


# --- in whose name --------------------------------------------------------------------------------------------------
def named(apiserver: RunningCluster) -> set[tuple[str, str]]:
    """(user, group) of every request since the last look; there has to be one."""
    seen = set()
    for request in list(apiserver.requests):
        headers = {name.lower(): value for name, value in request.headers.items()}
        seen.add((headers.get("impersonate-user", ""), headers.get("impersonate-group", "")))
    apiserver.requests.clear()
    assert seen
    return seen


def test_every_path_to_a_cluster_is_in_the_callers_name(
    admin: Caller,
    apiserver: RunningCluster,
    cluster: Cluster,
    space: str,
    put: Put,
    vera: User,
    where: dict[str, Any],
) -> None:
    put("deployments", workload(replicas=1))
    pod = apiserver.wait(lambda: pods_of(apiserver, space), seconds=30)[0]
    assert is_ready(pod)
    name = pod["metadata"]["name"]
    vera.groups.create(name="team-blue")
    caller = script(vera)
    # The cluster decides as the person: it has to know the group.
    binding = {
        "metadata": {"name": "team-blue"},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": RBAC, "kind": "Group", "name": "team-blue"}],
    }
    apiserver.load(f"clusterrolebindings.{RBAC}", [binding])
    admin.data("PUT", f"clusters/{cluster.pk}", {"impersonate": True})
    vera_alone = {("vera", "team-blue")}
    calls: list[tuple[str, str, dict[str, Any] | None]] = [
        ("GET", "pods", None),
        ("GET", f"pods/{name}", None),
        ("GET", f"pods/{name}/events", None),
        ("GET", "metrics/pods", None),
        ("GET", f"pods/{name}/logs", None),
        ("GET", "topology", None),
        ("GET", "deployments/web/revisions", None),
        ("POST", "configmaps", {"content": {"metadata": {"name": "made"}}}),
        ("POST", "deployments/web/scale", {"replicas": 2}),
        ("DELETE", "configmaps/made", None),
    ]
    for method, path, body in calls:
        apiserver.requests.clear()
        if body is None:
            caller.data(method, path, **where)
        else:
            caller.data(method, path, {**where, **body})
        assert named(apiserver) == vera_alone, (method, path)
    apiserver.requests.clear()
    pk = deletion(caller, where)
    assert named(apiserver) == vera_alone
    assert finish(pk).state == Operation.State.SUCCEEDED
    assert named(apiserver) == vera_alone
    events = {"Accept": "text/event-stream"}
    query = {**where, "follow": 1, "tail_lines": 1}
    address = f"/api/v1/kubernetes/pods/{name}/logs"
    stream = caller.client.get(address, query_params=query, headers=events)
    parts = iter(stream.streaming_content)
    next(parts)
    next(parts)
    assert named(apiserver) == vera_alone
    end(stream)
