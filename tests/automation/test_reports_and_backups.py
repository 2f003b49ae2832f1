"""Inspection reports, backups and applied manifests as a script meets them."""

import csv
from io import StringIO
from typing import Any

import orjson
from django.contrib.auth import get_user_model

from access import grants
from automation.models import NamespaceArchive
from clusters import registry
from clusters.kinds import KINDS
from core.errors import NotFound
from manifest_templates.models import TemplateDeployment
from tests.access.conftest import Person
from tests.automation.conftest import Script
from tests.turning import finish, take_turn

DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "app", "image": "web:latest"}]},
        },
    },
}


def config(name: str, **data: str) -> dict[str, Any]:
    """A ConfigMap."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def create(script: Script, plural: str, body: dict[str, Any]) -> None:
    """An object in the script's namespace."""
    registry.client(script.cluster).create(KINDS[plural], body, namespace=script.space)


def read(script: Script, plural: str, name: str, namespace: str = "") -> dict[str, Any] | None:
    """The object as the cluster has it; None without it."""
    client = registry.client(script.cluster)
    try:
        raw = client.get(KINDS[plural], name, namespace=namespace or script.space)
    except NotFound:
        return None
    obj: dict[str, Any] = orjson.loads(raw)
    return None if "deletionTimestamp" in obj["metadata"] else obj


def delete(script: Script, plural: str, name: str) -> None:
    """Delete an object of the script's namespace."""
    registry.client(script.cluster).delete(KINDS[plural], name, namespace=script.space)


# --- inspect --------------------------------------------------------------------------------------
def test_a_report_is_compared_with_the_last_and_comes_as_csv(script: Script) -> None:
    create(script, "deployments", DEPLOYMENT)
    task = script.make("inspect", {})
    assert script.rehearse(task)["state"] == "succeeded"
    first = script.finish(script.start(task))
    assert first["state"] == "succeeded", first
    report = script.caller.data("GET", f"task-runs/{first['id']}/report")
    assert report["previous"] is None
    found = {row["check"] for row in report["findings"] if row["object"]["name"] == "web"}
    assert {"image-latest", "no-limits", "single-replica", "runs-as-root"} <= found
    assert first["result"]["summary"]["total"] == report["summary"]["total"]
    finding = next(row for row in report["findings"] if row["check"] == "image-latest")
    # The link leads to the object.
    assert script.caller.data("GET", finding["object"]["link"])["metadata"]["name"] == "web"

    delete(script, "deployments", "web")
    create(script, "deployments", {**DEPLOYMENT, "metadata": {"name": "other"}})
    second = script.finish(script.start(task))
    report = script.caller.data("GET", f"task-runs/{second['id']}/report")
    assert report["previous"]["run_id"] == first["id"]
    assert {row["object"]["name"] for row in report["gone"]} == {"web"}
    assert {row["state"] for row in report["findings"] if row["object"]["name"] == "other"} == {
        "new"
    }
    answer = script.caller.raw("GET", f"task-runs/{second['id']}/report", format="csv")
    assert answer.headers["Content-Type"].startswith("text/csv")
    text = b"".join(answer.streaming_content).decode()
    rows = list(csv.DictReader(StringIO(text)))
    assert len(rows) == len(report["findings"]) + len(report["gone"])
    assert script.caller.code("GET", f"task-runs/{second['id']}/report", format="xml") == 1001


def test_a_reader_sees_no_finding_about_what_they_may_not_read(
    script: Script, person: Person
) -> None:
    create(script, "deployments", DEPLOYMENT)
    role = {
        "metadata": {"name": "wide"},
        "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}],
    }
    create(script, "roles", role)
    run = script.run("inspect", {})
    path = f"task-runs/{run['id']}/report"
    assert "Role" in {row["object"]["kind"] for row in script.caller.data("GET", path)["findings"]}
    operator = person("operator", cluster=script.cluster, namespace=script.space)
    report = operator.data("GET", path)
    kinds = {row["object"]["kind"] for row in report["findings"]}
    assert "Deployment" in kinds
    assert not kinds & {"Role", "ClusterRole", "ClusterRoleBinding", "Node", "Cluster"}
    assert report["hidden"] > 0
    assert person("viewer", cluster=script.cluster, namespace="default").code("GET", path) == 1004


# --- backup ---------------------------------------------------------------------------------------
def test_a_backup_is_restored_after_a_diff(script: Script) -> None:
    create(script, "deployments", DEPLOYMENT)
    create(script, "configmaps", config("settings", colour="blue"))
    secret = {"metadata": {"name": "keys"}, "stringData": {"password": "hunter2"}}
    create(script, "secrets", secret)
    run = script.run("backup", {})
    assert run["state"] == "succeeded", run
    archive = script.caller.data("GET", f"task-runs/{run['id']}/archives")["items"][0]
    names = {(row["kind"], row["name"]) for row in archive["objects"]}
    assert {("Deployment", "web"), ("ConfigMap", "settings")} <= names
    assert ("Secret", "keys") not in names

    delete(script, "deployments", "web")
    registry.client(script.cluster).patch(
        KINDS["configmaps"],
        "settings",
        {"data": {"colour": "red"}},
        patch="merge",
        namespace=script.space,
    )
    path = f"task-runs/{run['id']}/restore"
    planned = script.caller.data("POST", path, {"dry_run": True})
    actions = {(row["kind"], row["name"]): row["action"] for row in planned["documents"]}
    assert actions["Deployment", "web"] == "create"
    assert actions["ConfigMap", "settings"] == "configure"
    diff = next(row["diff"] for row in planned["documents"] if row["name"] == "settings")
    assert "colour: red" in diff
    assert read(script, "deployments", "web") is None

    restored = script.caller.data("POST", path, {})
    assert {row["action"] for row in restored["documents"]} <= {
        "created",
        "configured",
        "unchanged",
    }, restored
    assert read(script, "deployments", "web") is not None
    settings = read(script, "configmaps", "settings")
    assert settings is not None
    assert settings["data"] == {"colour": "blue"}


def test_a_backup_goes_to_another_namespace_and_brings_it_along(script: Script) -> None:
    create(script, "configmaps", config("settings", colour="blue"))
    run = script.run("backup", {"keep": 1})
    copy = f"{script.space}-copy"
    path = f"task-runs/{run['id']}/restore"
    assert script.caller.code("POST", path, {"namespace": copy, "typo": 1}) == 1001
    restored = script.caller.data("POST", path, {"namespace": copy})
    assert ("Namespace", copy) in {(row["kind"], row["name"]) for row in restored["documents"]}
    assert read(script, "configmaps", "settings", copy) is not None


def test_old_backups_go_and_secrets_stay_sealed(script: Script) -> None:
    secret = {"metadata": {"name": "keys"}, "stringData": {"password": "hunter2"}}
    create(script, "secrets", secret)
    task = script.make("backup", {"keep": 1, "secrets": True})
    first = script.finish(script.start(task))
    second = script.finish(script.start(task))
    assert script.caller.code("GET", f"task-runs/{first['id']}/archives") == 1004
    archive = script.caller.data("GET", f"task-runs/{second['id']}/archives")["items"][0]
    assert archive["has_secrets"]
    stored = NamespaceArchive.objects.filter(pk=archive["id"]).extra(select={"raw": "content"})
    assert "hunter2" not in stored.values_list("raw", flat=True)[0]
    delete(script, "secrets", "keys")
    path = f"task-runs/{second['id']}/restore"
    assert "hunter2" not in str(script.caller.data("POST", path, {"dry_run": True}))
    script.caller.data("POST", path, {})
    assert read(script, "secrets", "keys") is not None


def test_a_restore_has_the_rights_of_who_asks(script: Script, person: Person) -> None:
    create(script, "configmaps", config("settings", colour="blue"))
    run = script.run("backup", {})
    path = f"task-runs/{run['id']}/restore"
    operator = person("operator", cluster=script.cluster, namespace=script.space)
    delete(script, "configmaps", "settings")
    assert operator.code("POST", path, {"namespace": "default"}) == 1005
    assert read(script, "configmaps", "settings", "default") is None
    operator.data("POST", path, {})
    assert read(script, "configmaps", "settings") is not None
    assert (
        person("viewer", cluster=script.cluster, namespace=script.space).code("POST", path, {})
        == 1005
    )


def test_an_archive_leaves_its_namespace_with_the_right_to_read_there(
    script: Script, person: Person
) -> None:
    create(script, "configmaps", config("settings", colour="blue"))
    owner = person("operator", name="olga", cluster=script.cluster, namespace=script.space)
    mine = Script(owner, script.cluster, script.space)
    run = mine.finish(mine.start(mine.make("backup", {})))
    user = get_user_model().objects.get(username="olga")
    user.grants.all().delete()
    grants.give(
        user=user,
        role=grants.role_of("operator"),
        cluster=str(script.cluster.pk),
        namespace="default",
    )
    # The run is still hers to see, the namespace that it was made of is not hers to read.
    assert owner.code("GET", f"task-runs/{run['id']}") == 0
    for dry_run in (True, False):
        body = {"namespace": "default", "dry_run": dry_run}
        assert owner.code("POST", f"task-runs/{run['id']}/restore", body) == 1005
    assert read(script, "configmaps", "settings", "default") is None


def test_two_backups_are_compared(script: Script, person: Person) -> None:
    create(script, "deployments", DEPLOYMENT)
    create(script, "configmaps", config("settings", colour="blue"))
    create(script, "configmaps", config("old"))
    secret = {"metadata": {"name": "keys"}, "stringData": {"password": "hunter2"}}
    create(script, "secrets", secret)
    task = script.make("backup", {"secrets": True})
    first = script.finish(script.start(task))
    client = registry.client(script.cluster)
    for plural, name, patch in (
        ("configmaps", "settings", {"data": {"colour": "red"}}),
        ("secrets", "keys", {"stringData": {"password": "hunter3"}}),
    ):
        client.patch(KINDS[plural], name, patch, patch="merge", namespace=script.space)
    delete(script, "configmaps", "old")
    create(script, "configmaps", config("new"))
    second = script.finish(script.start(task))

    path = f"task-runs/{second['id']}/compare"
    answer = script.caller.data("GET", path, **{"with": first["id"], "namespace": script.space})
    rows = {(row["kind"], row["name"]): row for row in answer["documents"]}
    assert {key: row["action"] for key, row in rows.items()} == {
        ("Namespace", script.space): "unchanged",
        ("Deployment", "web"): "unchanged",
        ("ConfigMap", "settings"): "configure",
        ("ConfigMap", "old"): "delete",
        ("ConfigMap", "new"): "create",
        ("Secret", "keys"): "configure",
    }
    diff = rows["ConfigMap", "settings"]["diff"]
    assert "-  colour: blue\n+  colour: red\n" in diff
    assert "*** (before)" in rows["Secret", "keys"]["diff"]
    assert "hunter" not in str(answer)
    assert (answer["left_out"], answer["hidden"]) == ([], 0)

    # What one of the two could not have does not count as deleted.
    bare = script.run("backup", {"kinds": ["configmaps"]})
    other = script.caller.data("GET", path, **{"with": bare["id"]})
    assert {row["kind"] for row in other["documents"]} == {"Namespace", "ConfigMap"}
    assert "secrets" in {row["kind"] for row in other["left_out"]}

    assert script.caller("GET", path)["data"]["field"] == "with"
    inspection = script.run("inspect", {})
    assert script.caller.code("GET", path, **{"with": inspection["id"]}) == 1004
    wrong = {"with": first["id"], "namespace": "elsewhere"}
    assert script.caller.code("GET", path, **wrong) == 1004
    stranger = person("operator", cluster=script.cluster, namespace="default")
    assert stranger.code("GET", path, **{"with": first["id"]}) == 1004
    operator = person("operator", cluster=script.cluster, namespace=script.space)
    theirs = operator.data("GET", path, **{"with": first["id"]})
    assert ("ConfigMap", "old") in {(row["kind"], row["name"]) for row in theirs["documents"]}
    assert theirs["hidden"] + len(theirs["documents"]) == len(answer["documents"])


def test_a_cluster_that_decides_per_caller_decides_what_is_compared(
    script: Script, person: Person
) -> None:
    create(script, "configmaps", config("settings", colour="blue"))
    task = script.make("backup", {})
    first = script.finish(script.start(task))
    second = script.finish(script.start(task))
    operator = person("operator", cluster=script.cluster)
    script.caller.data("PUT", f"clusters/{script.cluster.pk}", {"impersonate": True})
    path = f"task-runs/{second['id']}/compare"
    # KubeGale would let them read it, and the cluster knows nothing of them.
    theirs = operator.data("GET", path, **{"with": first["id"]})
    assert theirs["documents"] == []
    assert theirs["hidden"] >= 2
    body = {"namespace": "default", "dry_run": True}
    assert operator.code("POST", f"task-runs/{second['id']}/restore", body) == 1005


# --- apply_manifests ------------------------------------------------------------------------------
def test_manifests_are_applied_as_the_dry_run_says(script: Script) -> None:
    create(script, "configmaps", config("old", colour="red"))
    content = [config("new", a="b"), config("old", colour="blue")]
    task = script.make("apply_manifests", {"content": content, "force_conflicts": True})
    planned = script.rehearse(task)
    assert planned["steps"][0]["message"] == "create ConfigMap new; configure ConfigMap old"
    assert read(script, "configmaps", "new") is None
    run = script.finish(script.start(task))
    assert run["state"] == "succeeded", run
    assert run["steps"][0]["message"] == "1 created, 1 configured"
    old = read(script, "configmaps", "old")
    assert old is not None
    assert old["data"] == {"colour": "blue"}


def test_what_failed_half_way_is_rolled_back(script: Script) -> None:
    create(script, "configmaps", config("old", colour="red"))
    broken = {**DEPLOYMENT, "spec": {**DEPLOYMENT["spec"], "replicas": -1}}
    content = [config("new", a="b"), config("old", colour="blue"), broken]
    params = {"content": content, "force_conflicts": True}
    run = script.run("apply_manifests", params, on_failure="rollback")
    assert run["state"] == "failed"
    assert "rolled back: 1 deleted, 1 put back" in run["steps"][0]["message"]
    assert read(script, "configmaps", "new") is None
    old = read(script, "configmaps", "old")
    assert old is not None
    assert old["data"] == {"colour": "red"}


def test_a_text_with_secrets_is_not_shown(script: Script) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "keys"},
        "stringData": {"password": "hunter2"},
    }
    task = script.make("apply_manifests", {"content": [secret]})
    assert "hunter2" not in str(task)
    assert "hunter2" not in str(script.rehearse(task))
    # What comes back as it was shown stays as it was.
    script.caller.data("PUT", f"tasks/{task['id']}", {"params": task["params"]})
    run = script.finish(script.start(task))
    assert run["state"] == "succeeded", run
    assert "hunter2" not in str(run)
    assert read(script, "secrets", "keys") is not None
    body = script.body("apply_manifests", {"content": "a: [1"})
    assert script.caller("POST", "tasks", body)["data"]["field"] == "params.content"


# --- apply_template -------------------------------------------------------------------------------
BODY = """
apiVersion: v1
kind: ConfigMap
metadata:
  name: of-template
data:
  colour: {{ colour }}
"""


def test_a_template_is_deployed_and_later_upgraded(script: Script) -> None:
    schema = {"type": "object", "properties": {"colour": {"type": "string", "writeOnly": True}}}
    template = script.caller.data(
        "POST",
        "templates",
        {"name": f"t-{script.space}", "version": "1.0.0", "body": BODY, "schema": schema},
    )
    params = {"template_id": template["id"], "name": "paint", "values": {"colour": "blueish"}}
    task = script.make("apply_template", params)
    assert "blueish" not in str(task)
    planned = script.rehearse(task)
    assert "create ConfigMap of-template" in planned["steps"][0]["message"]
    for colour, actions in (("blueish", "1 created"), ("reddish", "1 configured")):
        changed = {"params": {**params, "values": {"colour": colour}}}
        script.caller.data("PUT", f"tasks/{task['id']}", changed)
        run = script.start(task)
        take_turn(run["operation_id"])
        finish(TemplateDeployment.objects.get(name="paint").operation_id or 0)
        run = script.finish(run)
        assert run["state"] == "succeeded", run
        assert actions in run["steps"][0]["message"]
        assert colour not in str(run)
        painted = read(script, "configmaps", "of-template")
        assert painted is not None
        assert painted["data"] == {"colour": colour}
    assert script.caller.data("GET", "template-deployments")["total"] == 1
    unknown = script.body("apply_template", {**params, "template_id": 10**9})
    assert script.caller("POST", "tasks", unknown)["data"]["field"] == "params.template_id"
