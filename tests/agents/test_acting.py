"""Acting tools: a dry run first, then the deed with its token, once."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache

from access.models import AuditEntry
from clusters.models import Cluster
from simcluster.testing import RunningCluster
from tests.agents.conftest import Agent, Member
from tests.caller import Caller
from tests.storage_api.collecting import eventually
from tests.workloads.conftest import pods_of, workload

Put = Callable[..., dict[str, Any]]
ACTING = {"scale", "restart", "rollback", "apply", "delete", "cordon", "drain"}


def replicas(apiserver: RunningCluster, space: str, name: str = "web") -> int:
    """What the cluster has as spec.replicas."""
    (item,) = (
        one for one in apiserver.list("deployments.apps", space) if one["metadata"]["name"] == name
    )
    return int(item["spec"]["replicas"])


def node_name(apiserver: RunningCluster) -> str:
    """One of the nodes."""
    return str(apiserver.list("nodes")[-1]["metadata"]["name"])


def test_a_dry_run_comes_first_and_its_token_works_once(
    agent: Agent, cluster: Cluster, apiserver: RunningCluster, space: str, put: Put
) -> None:
    put("deployments", workload(replicas=2))
    one = {"cluster": cluster.name, "namespace": space, "kind": "deployments", "name": "web"}
    planned = agent("scale", **one, replicas=3)
    assert planned.body["status"] == "dry_run"
    assert f"Deployment {space}/web in cluster {cluster.name}" in planned.data["will"]
    assert "from 2 to 3" in planned.data["will"]
    assert planned.data["objects"] == [f"Deployment {space}/web"]
    assert replicas(apiserver, space) == 2
    token = planned.body["confirm_token"]
    for wrong in (
        {"replicas": 4, "confirm_token": token},
        {"replicas": 3, "confirm_token": f"{token}x"},
        {"replicas": 3, "confirm_token": "1"},
    ):
        refused = agent("scale", **one, **wrong)
        assert refused.failed
        assert "without confirm_token" in refused.body["try"]
    assert agent("restart", **one, confirm_token=token).failed
    assert replicas(apiserver, space) == 2
    done = agent("scale", **one, replicas=3, confirm_token=token)
    assert done.body["status"] == "done"
    assert replicas(apiserver, space) == 3
    assert agent("scale", **one, replicas=3, confirm_token=token).failed
    line = AuditEntry.objects.filter(verb="scale", namespace=space, result="success").last()
    assert line is not None
    assert (line.username, line.details["via"]) == ("boss", "mcp")
    assert "agent" in line.token


def test_a_token_is_one_callers_and_of_what_was_seen(
    agent: Agent,
    member: Member,
    script: Caller,
    cluster: Cluster,
    apiserver: RunningCluster,
    space: str,
    put: Put,
) -> None:
    put("deployments", workload(replicas=2))
    one = {"cluster": cluster.name, "namespace": space, "kind": "deployments", "name": "web"}
    other = member("admin")
    token = agent("scale", **one, replicas=3).body["confirm_token"]
    assert other("scale", **one, replicas=3, confirm_token=token).failed
    # Somebody else changes it in between.
    body = {"cluster_id": cluster.pk, "namespace": space, "replicas": 1}
    script.data("POST", "deployments/web/scale", body)
    assert agent("scale", **one, replicas=3, confirm_token=token).failed
    assert replicas(apiserver, space) == 1
    expired = agent("scale", **one, replicas=3).body["confirm_token"]
    cache.clear()
    assert agent("scale", **one, replicas=3, confirm_token=expired).failed
    assert replicas(apiserver, space) == 1


def test_each_acting_tool_does_what_its_dry_run_says(
    agent: Agent, cluster: Cluster, apiserver: RunningCluster, space: str, put: Put
) -> None:
    place = {"cluster": cluster.name, "namespace": space}
    one = {**place, "kind": "deployments", "name": "web"}
    put("deployments", workload(replicas=1))
    eventually(lambda: len(pods_of(apiserver, space)) == 1)

    restarted = agent("restart", **one)
    assert "1 pod" in restarted.data["will"]
    assert not agent("restart", **one, confirm_token=restarted.body["confirm_token"]).failed

    manifest = (
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: made\n"
        f"  namespace: {space}\ndata:\n  a: b\n"
    )
    planned = agent("apply", cluster=cluster.name, manifest=manifest)
    assert planned.data["objects"] == [f"ConfigMap {space}/made"]
    assert "created" in planned.data["will"]
    assert "made" not in [item["metadata"]["name"] for item in apiserver.list("configmaps", space)]
    assert not agent.confirm("apply", cluster=cluster.name, manifest=manifest).failed
    bad = agent("apply", cluster=cluster.name, manifest=manifest.replace("data:", "datum:"))
    assert bad.failed

    deletion = {**place, "kind": "cm", "name": "made"}
    assert not agent.confirm("delete", **deletion).failed
    assert "made" not in [item["metadata"]["name"] for item in apiserver.list("configmaps", space)]
    assert agent("delete", **deletion).failed

    rolled = agent.confirm("rollback", **one)
    assert not rolled.failed, rolled.body
    assert "revision 1" in rolled.data["done"]


def test_nodes_are_cordoned_and_drained(
    agent: Agent, cluster: Cluster, apiserver: RunningCluster, settings: Any
) -> None:
    name = node_name(apiserver)
    node = {"cluster": cluster.name, "name": name}

    def is_unschedulable() -> bool:
        (item,) = (one for one in apiserver.list("nodes") if one["metadata"]["name"] == name)
        return bool(item["spec"].get("unschedulable"))

    assert "no new pods" in agent("cordon", **node).data["will"]
    assert not is_unschedulable()
    assert agent.confirm("cordon", **node).data["result"]["unschedulable"] is True
    assert is_unschedulable()
    planned = agent("drain", **node, force=True, delete_emptydir_data=True)
    assert f"Node {name}" in planned.data["will"]
    assert agent.confirm("cordon", **node, uncordon=True).data["result"]["unschedulable"] is False
    assert not is_unschedulable()


@pytest.mark.parametrize(
    ("role", "scopes"),
    [("viewer", []), ("admin", ["read", "logs"]), ("operator", ["agent-read"])],
)
def test_without_a_right_to_write_there_are_no_acting_tools(
    member: Member, script: Caller, cluster: Cluster, space: str, role: str, scopes: list[str]
) -> None:
    taken_apart = ["read", "logs"] if "agent-read" in scopes else scopes
    caller = member(role, cluster=cluster, scopes=taken_apart)
    tools = set(caller.tools())
    assert not tools & ACTING
    assert "why_failing" in tools
    refused = caller("delete", kind="cm", namespace=space, name="kube-root-ca.crt")
    assert refused.failed
    assert "unknown tool" in refused.body["error"]


def test_presets_are_scopes_that_agents_need(
    boss: User, agent: Agent, cluster: Cluster, apiserver: RunningCluster
) -> None:
    boss.set_password("a-long-Passphrase-7")
    boss.save()
    entry = {"username": "boss", "password": "a-long-Passphrase-7"}
    script = Caller(Caller().data("POST", "/api/v1/auth/login", entry)["token"])
    made = script.data("POST", "/api/v1/auth/tokens", {"name": "a", "scopes": ["agent-act"]})
    assert made["scopes"] == ["read", "logs", "write", "nodes"]
    reading = script.data("POST", "/api/v1/auth/tokens", {"name": "b", "scopes": ["agent-read"]})
    assert reading["scopes"] == ["read", "logs"]
    agent.token = made["token"]
    assert set(agent.tools()) >= ACTING
    # What is an administrator's of the rest stays out of reach.
    assert not agent("cordon", cluster=cluster.name, name=node_name(apiserver)).failed
    assert agent("delete", cluster=cluster.name, kind="nodes", name=node_name(apiserver)).failed
    agent.token = reading["token"]
    assert not set(agent.tools()) & ACTING


def test_roles_of_a_namespace_end_at_it(
    member: Member, cluster: Cluster, apiserver: RunningCluster, space: str, put: Put
) -> None:
    put("deployments", workload(replicas=1))
    operator = member("operator", cluster=cluster, namespace=space)
    place = {"namespace": space, "kind": "deployments", "name": "web"}
    assert not operator.confirm("scale", **place, replicas=2).failed
    assert replicas(apiserver, space) == 2
    elsewhere = operator("scale", namespace="kube-system", kind="deployments", name="x", replicas=0)
    assert elsewhere.failed
    assert elsewhere.body["code"] == 1005
    assert operator("drain", name=apiserver.list("nodes")[0]["metadata"]["name"]).failed
    assert operator("cordon", name=apiserver.list("nodes")[0]["metadata"]["name"]).failed
