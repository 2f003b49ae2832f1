"""Debug containers over REST: started as kubectl debug does, by who may, from images that may."""

from typing import Any

import pytest
from django.contrib.auth.models import User

from access import grants, tokens
from access.models import AuditEntry
from clusters.models import Cluster
from simcluster.testing import RunningCluster
from tests.caller import Caller
from tests.workloads.conftest import Put, template
from workloads.streams.debug_containers import image_matches

pytestmark = pytest.mark.django_db


@pytest.fixture
def body(cluster: Cluster, space: str, put: Put, apiserver: RunningCluster) -> dict[str, Any]:
    """What starts one in the pod `web`, which runs."""
    put("pods", {"metadata": {"name": "web"}, "spec": template()["spec"]})
    apiserver.wait(lambda: (apiserver.get("pods", "web", space) or {})["status"].get("podIP"))
    where = {"cluster_id": cluster.pk, "namespace": space}
    return {**where, "image": "busybox:1.37", "command": ["sleep", "3600"]}


def entries(apiserver: RunningCluster, space: str) -> list[dict[str, Any]]:
    """The pod's ephemeral containers."""
    pod = apiserver.get("pods", "web", space)
    assert pod is not None
    return list(pod["spec"].get("ephemeralContainers") or [])


def test_a_debug_container_runs_beside_its_target(
    admin: Caller, apiserver: RunningCluster, space: str, body: dict[str, Any]
) -> None:
    target = template()["spec"]["containers"][0]["name"]
    tried = admin.data("POST", "pods/web/debug", {**body, "target": target, "dry_run": True})
    assert tried["state"] == "waiting"
    assert entries(apiserver, space) == []
    answer = admin.data("POST", "pods/web/debug", {**body, "target": target})
    (entry,) = entries(apiserver, space)
    assert answer["container"] == entry["name"]
    assert answer["state"] == "running"
    assert entry["name"].startswith("debugger-")
    assert len(entry["name"]) == len("debugger-") + 5
    assert (entry["targetContainerName"], entry["stdin"], entry["tty"]) == (target, True, True)
    assert entry["securityContext"] == {"capabilities": {"add": ["SYS_PTRACE"]}}
    # A terminal leads into it, and the audit trail says what was started.
    where = {key: body[key] for key in ("cluster_id", "namespace")}
    ticket = admin.data("POST", "pods/web/terminal", {**where, "container": entry["name"]})
    assert ticket["terminal_url"]
    line = AuditEntry.objects.filter(verb="debug").latest("pk")
    assert line.details["image"] == "busybox:1.37"
    assert line.details["container"] == entry["name"]
    assert line.details["command"] == "sleep 3600"


def test_what_cannot_be_started_says_why_and_changes_nothing(
    admin: Caller, apiserver: RunningCluster, space: str, body: dict[str, Any]
) -> None:
    refused: tuple[dict[str, Any], ...] = (
        {"image": ""},
        {"image": "bad image"},
        {"image": "-v"},
        {"image": 7},
        {"target": "nobody"},
        {"command": "sh"},
        {"command": ["a\x00b"]},
        {"command": ["x" * 9000]},
        {"profile": "sysadmin"},
        {"unheard": "of"},
    )
    for wrong in refused:
        assert admin.code("POST", "pods/web/debug", {**body, **wrong}) == 1001, wrong
    assert admin.code("POST", "pods/absent/debug", body) == 1004
    assert entries(apiserver, space) == []
    # The container is there, and its image is not.
    missing = admin("POST", "pods/web/debug", {**body, "image": "busybox:does-not-exist"})
    assert missing["code"] == 1008
    assert "ImagePull" in missing["msg"]


def test_only_images_of_the_setting_are_started(
    admin: Caller, apiserver: RunningCluster, space: str, body: dict[str, Any], settings: Any
) -> None:
    settings.DEBUG_IMAGES = ["busybox:*", "registry.example.com/debug/**"]
    other = {**body, "image": "busybox.example.com/root:1"}
    assert admin.code("POST", "pods/web/debug", other) == 1005
    assert entries(apiserver, space) == []
    assert admin.code("POST", "pods/web/debug", body) == 0
    assert image_matches("registry.example.com/debug/a/b:1", "registry.example.com/debug/**")
    assert not image_matches("registry.example.com.evil.net/debug/a", "registry.example.com/**")
    assert not image_matches("busybox/x:1", "busybox*")


@pytest.mark.parametrize("scopes", [["read", "write"], ["read", "terminal"], ["read"]])
def test_it_needs_the_right_to_a_shell_and_to_change_the_pod(
    apiserver: RunningCluster, cluster: Cluster, space: str, body: dict[str, Any], scopes: list[str]
) -> None:
    user = User.objects.create_user("omar")
    role = grants.role_of("operator")
    grants.give(user=user, role=role, cluster=cluster.name, namespace=space, by="")
    narrow = Caller(tokens.create_api_token(user, "narrow", scopes=scopes)[1])
    assert narrow.code("POST", "pods/web/debug", body) == 1005
    assert entries(apiserver, space) == []
    enough = ["read", "write", "terminal"]
    whole = Caller(tokens.create_api_token(user, "whole", scopes=enough)[1])
    assert whole.code("POST", "pods/web/debug", {**body, "namespace": "default"}) == 1005
    assert whole.code("POST", "pods/web/debug", body) == 0


def test_those_who_wait_for_an_image_leave_threads_to_others(
    admin: Caller, apiserver: RunningCluster, space: str, body: dict[str, Any], settings: Any
) -> None:
    settings.WEB_STREAMS_PER_CALLER = 0
    refused = admin("POST", "pods/web/debug", body)
    assert refused["msg"].startswith("0 of your debug containers and streams are open or starting")
    assert entries(apiserver, space) == []
    settings.WEB_STREAMS_PER_CALLER = 1
    # The place is given back, also after a failure.
    assert admin.code("POST", "pods/web/debug", {**body, "target": "nobody"}) == 1001
    assert admin.code("POST", "pods/web/debug", body) == 0
    assert admin.code("POST", "pods/web/debug", body) == 0
