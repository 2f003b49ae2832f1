"""An old version is shown first, tried as a dry run, and written only by who confirms it."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from django.contrib.auth import get_user_model

from access import grants
from access.models import AuditEntry
from access.tokens import create_api_token
from clusters import registry as services
from clusters.models import Cluster
from simcluster.testing import RunningCluster
from tests.caller import Caller
from tests.storage_api.collecting import collecting, eventually
from tests.storage_api.test_collector import definition

PATH = "/api/v1/namespaces/default/configmaps"


class Story:
    """A ConfigMap through its life: written past us, followed by the collector, restored through us."""

    def __init__(self, admin: Caller, cluster: Cluster) -> None:
        self.admin, self.cluster = admin, cluster
        self.where = {
            "cluster_id": cluster.pk,
            "kind": "configmaps",
            "namespace": "default",
            "name": "conf",
        }

    def write(self, method: str, path: str, body: Any = None) -> None:
        """Change something past us, and wait until the log has it."""
        before = len(self.lines())
        services.client(self.cluster).request(method, path, body=body)
        eventually(lambda: len(self.lines()) > before)

    def lines(self) -> list[dict[str, Any]]:
        """The object's history, oldest first."""
        found: list[dict[str, Any]] = self.admin.data("GET", "history", **self.where)["items"]
        return found[::-1]

    def restore(self, **asked: Any) -> dict[str, Any]:
        """The whole envelope."""
        return self.admin("POST", "history/restore", {**self.where, **asked})


@pytest.fixture
def story(admin: Caller, watched: Cluster) -> Iterator[Story]:
    """A ConfigMap with two versions."""
    with collecting():
        found = Story(admin, watched)
        found.write(
            "POST", PATH, {"metadata": {"name": "conf", "labels": {"a": "1"}}, "data": {"v": "1"}}
        )
        found.write(
            "PUT", f"{PATH}/conf", {"metadata": {"name": "conf"}, "data": {"v": "2", "w": "x"}}
        )
        yield found


def conf(server: RunningCluster) -> dict[str, Any] | None:
    """The ConfigMap as the cluster has it."""
    return server.get("configmaps", "conf", "default")


def test_a_version_comes_back_after_it_was_shown_and_confirmed(
    story: Story, server: RunningCluster
) -> None:
    seq = story.lines()[0]["seq"]
    shown = story.restore(seq=seq)["data"]
    assert (shown["applied"], shown["action"], shown["verdict"]["accepted"]) == (
        False,
        "replace",
        True,
    )
    assert {(".".join(change["path"]), change["op"]) for change in shown["changes"]} == {
        ("metadata.labels", "add"),
        ("data.v", "replace"),
        ("data.w", "remove"),
    }
    assert (conf(server) or {})["data"] == {"v": "2", "w": "x"}, "looking changes nothing"
    done = story.restore(seq=seq, confirm_token=shown["confirm_token"])["data"]
    assert done["applied"]
    live = conf(server) or {}
    assert (live["data"], live["metadata"]["labels"]) == ({"v": "1"}, {"a": "1"})
    assert live["metadata"]["uid"] == done["object"]["metadata"]["uid"]
    again = story.restore(seq=seq, confirm_token=shown["confirm_token"])
    assert (again["code"], again["data"]["action"]) == (0, "unchanged"), (
        "there is nothing left to do"
    )
    (line,) = AuditEntry.objects.filter(
        verb="update", kind="configmaps", details__has_key="restored"
    )
    assert (line.username, line.name, line.details["restored"]["seq"]) == ("admin", "conf", seq)
    last = eventually(lambda: len(story.lines()) > 2 and story.lines()[-1])
    assert (last["who"]["user"], last["who"]["verb"]) == ("admin", "update")


def test_a_deleted_object_is_made_anew(story: Story, server: RunningCluster) -> None:
    old = (conf(server) or {})["metadata"]["uid"]
    story.write("DELETE", f"{PATH}/conf")
    gone = story.lines()[-1]
    assert gone["op"] == "delete"
    shown = story.restore(seq=gone["seq"])["data"]
    assert (shown["action"], shown["verdict"]["accepted"]) == ("create", True)
    assert "uid" not in shown["content"]["metadata"]
    done = story.restore(seq=gone["seq"], confirm_token=shown["confirm_token"])["data"]
    assert done["applied"]
    live = conf(server) or {}
    assert (live["data"], live["metadata"]["uid"] != old) == ({"v": "2", "w": "x"}, True)


def test_a_token_is_good_for_what_was_shown_alone(story: Story, server: RunningCluster) -> None:
    seq = story.lines()[0]["seq"]
    token = story.restore(seq=seq)["data"]["confirm_token"]
    story.write("PUT", f"{PATH}/conf", {"metadata": {"name": "conf"}, "data": {"v": "3"}})
    refused = story.restore(seq=seq, confirm_token=token)
    assert refused["code"] == 1010
    assert refused["data"]["applied"] is False
    assert (conf(server) or {})["data"] == {"v": "3"}
    assert story.restore(seq=seq, dry_run=True)["data"]["confirm_token"] is None
    done = story.restore(seq=seq, confirm_token=refused["data"]["confirm_token"])
    assert done["data"]["applied"]
    assert (conf(server) or {})["data"] == {"v": "1"}


def test_what_the_api_server_refuses_is_said_before_anything_is_done(
    story: Story, server: RunningCluster
) -> None:
    seq = story.lines()[0]["seq"]
    services.client(story.cluster).request(
        "PUT",
        f"{PATH}/conf",
        body={"metadata": {"name": "conf"}, "data": {"v": "2"}, "immutable": True},
    )
    shown = story.restore(seq=seq)["data"]
    assert (shown["verdict"]["accepted"], shown["confirm_token"]) == (False, None)
    assert "immutable" in shown["verdict"]["message"]
    refused = story.restore(seq=seq, confirm=True)
    assert (refused["code"], (conf(server) or {})["data"]) == (1008, {"v": "2"})


def test_versions_are_named_by_time_too_and_bad_names_are_refused(story: Story) -> None:
    first = story.lines()[0]
    assert story.restore(at=first["at"])["data"]["content"]["data"] == {"v": "1"}
    assert story.restore()["code"] == 1001
    assert story.restore(seq=first["seq"], at=first["at"])["code"] == 1001
    assert story.restore(seq=first["seq"] + 1_000_000)["code"] == 1004
    assert story.restore(seq=first["seq"], name="other")["code"] == 1004
    assert story.restore(at="2020-01-01T00:00:00Z")["code"] == 1001
    assert story.restore(seq="x")["code"] == 1001
    secret = story.restore(seq=first["seq"], kind="secrets")
    assert (secret["code"], secret["data"]["reason"]) == (1001, "hashed_values")


def test_restoring_needs_the_right_to_write_the_object(
    story: Story, server: RunningCluster
) -> None:
    callers = {}
    for role in (grants.Role.VIEWER, grants.Role.OPERATOR):
        user = get_user_model().objects.create_user(role.value)
        grants.give(user=user, role=role, cluster="watched")
        callers[role] = Caller(create_api_token(user, "t")[1])
    asked = {**story.where, "seq": story.lines()[0]["seq"], "confirm": True}
    assert callers[grants.Role.VIEWER].code("POST", "history/restore", asked) == 1005
    assert (conf(server) or {})["data"]["v"] == "2"
    assert callers[grants.Role.OPERATOR].data("POST", "history/restore", asked)["applied"]


def test_custom_and_cluster_wide_kinds_come_back_too(
    admin: Caller, server: RunningCluster, watched: Cluster
) -> None:
    registry = services.client(watched)
    with collecting():
        registry.request(
            "POST",
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            body=definition("a.example.com"),
        )
        eventually(partial(server.cluster.table.find, "a.example.com", "v1", "services"))
        thing = {
            "apiVersion": "a.example.com/v1",
            "kind": "Service",
            "metadata": {"name": "mine"},
            "spec": {"size": 1},
        }
        address = "/apis/a.example.com/v1/namespaces/default/services"
        registry.request("POST", address, body=thing)
        roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
        registry.request(
            "POST", roles, body={"metadata": {"name": "team", "labels": {"a": "1"}}, "rules": []}
        )
        for kind, namespace, name, path in (
            ("services.a.example.com", "default", "mine", f"{address}/mine"),
            ("clusterroles", "", "team", f"{roles}/team"),
        ):
            where = {"cluster_id": watched.pk, "kind": kind, "namespace": namespace, "name": name}

            def last(op: str, where: dict[str, Any] = where) -> Any:
                answer = admin("GET", "history", **where)
                lines = answer["data"].get("items") or []
                return lines and lines[0]["op"] == op and lines[0]["seq"]

            eventually(lambda last=last: last("add"))
            registry.request("DELETE", path)
            seq = eventually(lambda last=last: last("delete"))
            assert admin.data("POST", "history/restore", {**where, "seq": seq, "confirm": True})[
                "applied"
            ]
            eventually(lambda last=last: last("add"))
    assert admin.data(
        "GET",
        "resources/a.example.com/v1/services/mine",
        cluster_id=watched.pk,
        namespace="default",
    )["spec"] == {"size": 1}
    assert (
        admin.data("GET", "clusterroles/team", cluster_id=watched.pk)["metadata"]["labels"]["a"]
        == "1"
    )
