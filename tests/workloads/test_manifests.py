"""Texts of many manifests: validated, compared, applied, exported, copied."""

import base64
import json
from typing import Any

import pytest
import yaml
from django.test import Client

from access.models import AuditEntry
from clusters.models import Cluster
from operations.models import Operation
from simcluster.testing import RunningCluster
from tests.access.conftest import Person, person
from tests.caller import Caller
from tests.documented_requests import Page
from tests.turning import finish, step_states
from tests.workloads.conftest import template
from workloads.manifests import comparison

__all__ = ["person"]

CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {level: info}\n"
SECRET_VALUE = "correct-horse-battery"
SECRET = (
    f"apiVersion: v1\nkind: Secret\nmetadata: {{name: door}}\nstringData: {{key: {SECRET_VALUE}}}\n"
)
WEB = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "labels": {"team": "shop"}},
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "web"}},
        "template": template(),
    },
}
CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: {plural}.{group}}}
spec:
  group: {group}
  scope: Namespaced
  names: {{plural: {plural}, singular: gauge, kind: Gauge, listKind: GaugeList}}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}
"""


class Manifests:
    """Calls the routes for one cluster and namespace."""

    def __init__(self, caller: Caller, cluster: Cluster, namespace: str) -> None:
        self.caller = caller
        self.target = {"cluster_id": cluster.pk, "namespace": namespace}

    def post(self, verb: str, content: object, **members: Any) -> Any:
        """The envelope of validate, diff or apply."""
        return self.caller(
            "POST", f"manifests/{verb}", {**self.target, "content": content, **members}
        )

    def documents(self, verb: str, content: object, **members: Any) -> list[dict[str, Any]]:
        """The documents of an answer that must be a success."""
        answer = self.post(verb, content, **members)
        assert answer["code"] == 0, answer
        rows: list[dict[str, Any]] = answer["data"]["documents"]
        return rows

    def actions(self, content: object, **members: Any) -> list[str]:
        """What apply did to each document."""
        return [row["action"] for row in self.documents("apply", content, **members)]


@pytest.fixture
def manifests(admin: Caller, cluster: Cluster, space: str) -> Manifests:
    return Manifests(admin, cluster, space)


def joined(*documents: object) -> str:
    return "---\n".join(
        document if isinstance(document, str) else yaml.safe_dump(document)
        for document in documents
    )


# --- validate -------------------------------------------------------------------------------------
def test_validation_names_line_column_and_path_of_each_error(manifests: Manifests) -> None:
    text = joined(
        CONFIG,
        "null\n",
        {**WEB, "spec": {**WEB["spec"], "replicas": "two"}},
        "apiVersion: v1\nkind: Wonder\nmetadata: {name: x}\n",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {}\n",
    )
    answer = manifests.post("validate", text)["data"]
    assert answer["valid"] is False
    rows = answer["documents"]
    assert [row["index"] for row in rows] == [0, 1, 2, 3]
    assert [row["kind"] for row in rows] == ["ConfigMap", "Deployment", "Wonder", "ConfigMap"]
    assert rows[0]["errors"] == []
    wrong = rows[1]["errors"][0]
    assert wrong["path"] == "spec.replicas"
    line = text.splitlines()[wrong["line"] - 1]
    assert line[wrong["column"] - 1 :].startswith("replicas")
    assert 'no matches for kind "Wonder" in version "v1"' in rows[2]["errors"][0]["message"]
    assert rows[3]["errors"][0]["path"] == "metadata.name"
    assert manifests.caller("GET", "configmaps/settings", **manifests.target)["code"] == 1004


def test_a_syntax_error_is_an_answer_of_validate_and_refuses_apply(manifests: Manifests) -> None:
    text = joined(CONFIG, "a: [1\n")
    answer = manifests.post("validate", text)
    assert (answer["code"], answer["data"]["valid"]) == (0, False)
    assert answer["data"]["documents"][1]["errors"][0]["line"] >= 5
    refusal = manifests.post("apply", text)
    assert (refusal["code"], refusal["data"]["field"]) == (1001, "content")
    assert manifests.caller("GET", "configmaps/settings", **manifests.target)["code"] == 1004


# --- apply ----------------------------------------------------------------------------------------
def test_apply_creates_configures_and_leaves_alone(
    manifests: Manifests, admin: Caller, cluster: Cluster, space: str
) -> None:
    text = joined(WEB, CONFIG)
    assert manifests.actions(text, dry_run=True) == ["created", "created"]
    assert admin("GET", "configmaps/settings", **manifests.target)["code"] == 1004
    rows = manifests.documents("apply", text)
    assert [(row["index"], row["kind"], row["namespace"], row["code"]) for row in rows] == [
        (0, "Deployment", space, 0),
        (1, "ConfigMap", space, 0),
    ]
    # What it stands on first, whatever the order of the text.
    lines = AuditEntry.objects.filter(namespace=space, verb="apply", details__action="created")
    assert {line.name for line in lines} == {"web", "settings"}
    assert manifests.actions(text) == ["unchanged", "unchanged"]
    assert manifests.actions(text, dry_run=True) == ["unchanged", "unchanged"]
    changed = joined(WEB, CONFIG.replace("info", "debug"))
    assert manifests.actions(changed, dry_run=True) == ["unchanged", "configured"]
    assert manifests.actions(changed) == ["unchanged", "configured"]
    live = admin.data("GET", "configmaps/settings", **manifests.target)
    assert live["data"] == {"level": "debug"}
    assert live["metadata"]["managedFields"][0]["manager"] == "kubegale"


def test_a_definition_is_served_before_its_objects_are_sent(
    manifests: Manifests, space: str
) -> None:
    group = f"{space}.example.com"
    gauge = f"apiVersion: {group}/v1\nkind: Gauge\nmetadata: {{name: first}}\nspec: {{size: 1}}\n"
    text = joined(gauge, CRD.format(plural="gauges", group=group))
    assert manifests.actions(text, dry_run=True) == ["created", "created"]
    rows = manifests.documents("apply", text)
    assert [row["action"] for row in rows] == ["created", "created"], rows
    answer = manifests.caller("GET", f"resources/{group}/v1/gauges/first", **manifests.target)
    assert answer["data"]["spec"] == {"size": 1}


def test_a_failure_stops_what_follows_unless_told_to_continue(
    manifests: Manifests, cluster: Cluster, space: str
) -> None:
    broken = {**WEB, "spec": {**WEB["spec"], "selector": {"matchLabels": {"app": "other"}}}}
    job = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "nightly"},
        "spec": {
            "schedule": "0 3 * * *",
            "jobTemplate": {"spec": {"template": template(restartPolicy="Never")}},
        },
    }
    text = joined(job, broken, CONFIG)
    rows = manifests.documents("apply", text)
    assert [row["action"] for row in rows] == ["skipped", "failed", "created"]
    assert rows[1]["code"] == 1008
    rows = manifests.documents("apply", text, on_failure="continue")
    assert [row["action"] for row in rows] == ["created", "failed", "unchanged"]
    homeless = manifests.caller.data(
        "POST", "manifests/apply", {"cluster_id": cluster.pk, "content": joined(CONFIG)}
    )
    assert homeless["documents"][0]["action"] == "failed"
    assert homeless["documents"][0]["code"] == 1001


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"prune_selector": ""}, "prune_selector"),
        ({"prune_selector": " , "}, "prune_selector"),
        ({"prune_selector": "a in ("}, "prune_selector"),
        ({"prune_selector": "a in (", "dry_run": True}, "prune_selector"),
        ({"cluster_id": "one"}, "cluster_id"),
        ({"targets": [{"cluster_id": 1, "patch": []}]}, "targets[0].patch"),
        ({"on_failure": "ignore"}, "on_failure"),
        ({"targets": []}, "targets"),
        ({"targets": [{"cluster_id": 1, "cluster": 2}]}, "targets[0].cluster"),
        ({"wait": "perhaps"}, "wait"),
        ({"field_manager": "x" * 129}, "field_manager"),
        ({"prune": True}, "prune"),
        ({"content": "# nothing\n"}, "content"),
        ({"content": 5}, "content"),
    ],
)
def test_bad_input_is_named_and_changes_nothing(
    manifests: Manifests, members: dict[str, Any], field: str
) -> None:
    body = {**manifests.target, "content": CONFIG, **members}
    if "targets" in members:
        del body["cluster_id"]
    answer = manifests.caller("POST", "manifests/apply", body)
    assert (answer["code"], answer["data"]["field"]) == (1001, field), answer
    assert manifests.caller("GET", "configmaps/settings", **manifests.target)["code"] == 1004


def test_a_foreign_namespace_in_the_text_refuses_all_of_it(manifests: Manifests) -> None:
    text = joined(CONFIG, CONFIG.replace("name: settings", "name: b, namespace: elsewhere"))
    answer = manifests.post("apply", text)
    assert (answer["code"], answer["data"]["field"]) == (1001, "namespace")
    assert manifests.caller("GET", "configmaps/settings", **manifests.target)["code"] == 1004


def test_pruning_deletes_what_the_text_no_longer_has_and_nobody_owns(
    manifests: Manifests, admin: Caller, apiserver: RunningCluster
) -> None:
    label = "metadata: {name: %s, labels: {app: shop}}"
    old = CONFIG.replace("metadata: {name: settings}", label % "old")
    new = CONFIG.replace("metadata: {name: settings}", label % "new")
    owned = json.dumps(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": "owned",
                "labels": {"app": "shop"},
                "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u-1"}],
            },
        }
    )
    assert manifests.actions(joined(old, new)) == ["created", "created"]
    admin.data("POST", "configmaps", {**manifests.target, "content": owned})
    manifests.actions(CONFIG)
    rows = manifests.documents("apply", new, prune_selector="app=shop", dry_run=True)
    assert [(row["name"], row["action"]) for row in rows] == [
        ("new", "unchanged"),
        ("old", "pruned"),
    ]
    assert admin("GET", "configmaps/old", **manifests.target)["code"] == 0
    rows = manifests.documents("apply", new, prune_selector="app=shop")
    assert [row["action"] for row in rows] == ["unchanged", "pruned"]
    listed = admin.data("GET", "configmaps", **manifests.target)["items"]
    names = {item["metadata"]["name"] for item in listed}
    assert names >= {"new", "owned", "settings"}
    assert "old" not in names


def test_pruning_of_protected_objects_needs_a_confirmation(
    admin: Caller, cluster: Cluster, space: str
) -> None:
    manifests = Manifests(admin, cluster, space)
    old = (
        "apiVersion: v1\nkind: ConfigMap\n"
        "metadata: {name: old, labels: {app: shop}, annotations: {kubegale.io/protected: 'true'}}\n"
    )
    assert manifests.actions(old) == ["created"]
    answer = manifests.post("apply", CONFIG, prune_selector="app=shop")
    assert answer["code"] == 1010
    assert admin("GET", "configmaps/settings", **manifests.target)["code"] == 1004
    token = answer["data"]["confirm_token"]
    rows = manifests.documents("apply", CONFIG, prune_selector="app=shop", confirm_token=token)
    assert [row["action"] for row in rows] == ["created", "pruned"]


def test_many_targets_are_one_operation_with_a_step_for_each(
    admin: Caller, cluster: Cluster, space: str
) -> None:
    other = f"{space}-b"
    for name in (other,):
        content = {"metadata": {"name": name}}
        admin.data("POST", "namespaces", {"cluster_id": cluster.pk, "content": content})
    body = {
        "content": joined(SECRET, CONFIG),
        "targets": [
            {"cluster_id": cluster.pk, "namespace": space},
            {
                "cluster_id": cluster.pk,
                "namespace": other,
                "patch": {"metadata": {"labels": {"stage": "two"}}},
            },
        ],
    }
    pk = admin.data("POST", "manifests/apply", body)["operation_id"]
    row = Operation.objects.get(pk=pk)
    stored = json.dumps([row.parameters, [step.data for step in row.steps.all()]])
    assert SECRET_VALUE not in stored
    assert base64.b64encode(SECRET_VALUE.encode()).decode() not in stored
    finished = finish(pk)
    assert finished.state == "succeeded"
    assert set(step_states(finished).values()) == {"succeeded"}
    assert SECRET_VALUE not in json.dumps(finished.result)
    live = admin.data("GET", "configmaps/settings", cluster_id=cluster.pk, namespace=other)
    assert live["metadata"]["labels"] == {"stage": "two"}
    here = admin.data("GET", "configmaps/settings", cluster_id=cluster.pk, namespace=space)
    assert "labels" not in here["metadata"]


def test_an_operation_is_seen_by_whoever_may_read_in_all_its_targets(
    admin: Caller, cluster: Cluster, space: str, person: Person
) -> None:
    other = f"{space}-b"
    content = {"metadata": {"name": other}}
    admin.data("POST", "namespaces", {"cluster_id": cluster.pk, "content": content})
    omar, vera = f"omar-{space}", f"vera-{space}"
    for role, name in (("operator", omar), ("viewer", vera)):
        person(role, cluster=cluster, namespace=other, name=name)
    requester = person("operator", cluster=cluster, namespace=space, name=omar)
    reader = person("viewer", cluster=cluster, namespace=space, name=vera)
    neighbour = person("operator", cluster=cluster, namespace=space)
    targets = [{"cluster_id": cluster.pk, "namespace": name} for name in (space, other)]
    body = {"content": CONFIG, "targets": targets}
    pk = requester.data("POST", "manifests/apply", body)["operation_id"]
    for caller in (requester, reader):
        steps = caller.data("GET", f"operations/{pk}")["steps"]
        assert [step["name"] for step in steps] == [
            f"{cluster.name}/{space}",
            f"{cluster.name}/{other}",
        ]
        assert pk in [row["id"] for row in caller.data("GET", "operations")["items"]]
        assert caller.code("POST", f"operations/{pk}/stream") == 0
    for verb, path in (("GET", ""), ("POST", "/cancel"), ("POST", "/stream")):
        assert neighbour.code(verb, f"operations/{pk}{path}") == 1004
    assert pk not in [row["id"] for row in neighbour.data("GET", "operations")["items"]]
    assert reader.code("POST", f"operations/{pk}/cancel") == 1005
    assert requester.data("POST", f"operations/{pk}/cancel")["state"] == "cancelled"


def test_who_waits_for_one_target_reads_the_operation(
    cluster: Cluster, space: str, person: Person
) -> None:
    operator = person("operator", cluster=cluster, namespace=space)
    named = CONFIG.replace("{name", f"{{namespace: {space}, name")
    for members in ({"content": named}, {"content": CONFIG, "namespace": space}):
        body = {"cluster_id": cluster.pk, "wait": True, **members}
        pk = operator.data("POST", "manifests/apply", body)["operation_id"]
        assert operator.data("GET", f"operations/{pk}")["id"] == pk


def test_a_failed_target_skips_the_next_unless_told_to_continue(
    admin: Caller, cluster: Cluster, space: str
) -> None:
    targets = [
        {"cluster_id": cluster.pk, "namespace": f"{space}-missing"},
        {"cluster_id": cluster.pk, "namespace": space},
    ]
    body = {"content": CONFIG, "targets": targets}
    stopped = finish(admin.data("POST", "manifests/apply", body)["operation_id"])
    assert stopped.state == "failed"
    assert list(stopped.steps.values_list("state", flat=True)) == ["failed", "skipped"]
    body["on_failure"] = "continue"
    continued = finish(admin.data("POST", "manifests/apply", body)["operation_id"])
    assert list(continued.steps.values_list("state", flat=True)) == ["failed", "succeeded"]


def test_waiting_ends_when_the_pods_are_ready(manifests: Manifests) -> None:
    answer = manifests.post("apply", joined(WEB), wait=True)
    row = finish(answer["data"]["operation_id"])
    assert row.state == "succeeded", row.error
    live = manifests.caller.data("GET", "deployments/web", **manifests.target)
    assert live["status"]["availableReplicas"] == 1


def test_names_that_no_row_can_hold_are_refused(
    admin: Caller, cluster: Cluster, space: str
) -> None:
    odd = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a\0b"}})
    targets = [{"cluster_id": cluster.pk, "namespace": space}]
    body = {"content": f"{odd}\n", "targets": targets, "wait": True}
    assert admin.code("POST", "manifests/apply", body) == 1001
    alone = {"cluster_id": cluster.pk, "namespace": space, "content": odd}
    documents = admin.data("POST", "manifests/apply", alone)["documents"]
    assert (documents[0]["action"], documents[0]["code"]) == ("failed", 1001)


# --- rights ---------------------------------------------------------------------------------------
def test_rights_are_asked_for_each_document_before_the_first_is_sent(
    person: Person, cluster: Cluster, space: str, admin: Caller
) -> None:
    operator = Manifests(person("operator", cluster=cluster, namespace=space), cluster, space)
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "reader"},
        "rules": [],
    }
    assert operator.post("apply", joined(CONFIG, role))["code"] == 1005
    assert admin("GET", "configmaps/settings", **operator.target)["code"] == 1004
    assert operator.actions(CONFIG) == ["created"]
    viewer = Manifests(person("viewer", cluster=cluster, namespace=space), cluster, space)
    for verb in ("apply", "diff", "validate"):
        assert viewer.post(verb, CONFIG)["code"] == 1005
    stranger = Manifests(person("viewer", cluster=cluster, namespace="x"), cluster, space)
    assert stranger.post("apply", CONFIG)["code"] == 1005
    assert Client().post("/api/v1/kubernetes/manifests/apply").status_code == 401


def test_an_admin_may_write_roles_beside_what_cannot_be_read(manifests: Manifests) -> None:
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": f"{manifests.target['namespace']}-reader"},
        "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}],
    }
    assert manifests.post("validate", joined(role))["data"]["valid"] is True
    nothing = "apiVersion: v1\nkind: Wonder\nmetadata: {name: x}\n"
    text = joined(role, nothing)
    assert manifests.actions(text, on_failure="continue", dry_run="All") == ["created", "failed"]
    assert manifests.actions(text, on_failure="continue") == ["created", "failed"]
    assert manifests.documents("diff", text)[0]["action"] == "unchanged"


def test_a_document_that_fails_is_audited_as_failed(
    person: Person, cluster: Cluster, space: str
) -> None:
    owner = Manifests(person("admin", cluster=cluster, namespace=space), cluster, space)
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "everything"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "cluster-admin",
        },
        "subjects": [],
    }
    assert owner.actions(joined(CONFIG, binding), dry_run=False) == ["created", "failed"]
    lines = AuditEntry.objects.filter(namespace=space, verb="apply")
    results = {line.kind: line.result for line in lines}
    assert results == {"configmaps": "success", "rolebindings": "denied"}


# --- diff -----------------------------------------------------------------------------------------
def test_diff_shows_what_the_api_server_would_store(manifests: Manifests) -> None:
    manifests.actions(joined(WEB, CONFIG))
    changed = {**WEB, "spec": {**WEB["spec"], "template": template("nginx:2")}}
    new = CONFIG.replace("name: settings", "name: more")
    wonder = "apiVersion: v1\nkind: Wonder\nmetadata: {name: x}\n"
    rows = manifests.documents("diff", joined(changed, CONFIG, new, wonder))
    assert [row["action"] for row in rows] == ["configure", "unchanged", "create", "error"]
    path = "spec.template.spec.containers[0].image"
    assert rows[0]["changes"] == [{"path": path, "before": "nginx:1", "after": "nginx:2"}]
    assert "-      - image: nginx:1" in rows[0]["diff"]
    assert rows[1]["diff"] == ""
    assert "+  level: info" in rows[2]["diff"]
    assert "no matches for kind" in rows[3]["error"]
    live = manifests.caller.data("GET", "deployments/web", **manifests.target)
    assert live["spec"]["template"]["spec"]["containers"][0]["image"] == "nginx:1"


def test_values_of_secrets_are_in_no_diff_audit_line_or_error_without_the_right(
    manifests: Manifests, person: Person, cluster: Cluster, space: str
) -> None:
    assert manifests.actions(SECRET) == ["created"]
    writer = Manifests(person("admin", scopes=["read", "write"]), cluster, space)
    other = SECRET.replace(SECRET_VALUE, "another-long-value")
    rows = writer.documents("diff", other)
    assert rows[0]["action"] == "configure"
    shown = json.dumps(rows)
    assert "***" in shown
    for value in (SECRET_VALUE, "another-long-value"):
        assert value not in shown
        assert base64.b64encode(value.encode()).decode() not in shown
    broken = SECRET.replace("stringData: {key: ", "data: {key: ")
    assert SECRET_VALUE not in json.dumps(writer.post("apply", broken))
    assert SECRET_VALUE not in json.dumps(writer.post("validate", broken))
    lines = AuditEntry.objects.filter(namespace=space, kind="secrets")
    assert lines.exists()
    assert SECRET_VALUE not in json.dumps([[line.diff, line.details] for line in lines])


# --- export and copy ------------------------------------------------------------------------------
def test_an_export_is_taken_by_another_namespace_and_is_the_same_again(
    manifests: Manifests, admin: Caller, cluster: Cluster, space: str
) -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"type": "NodePort", "selector": {"app": "web"}, "ports": [{"port": 80}]},
    }
    manifests.actions(joined(service, WEB, CONFIG, SECRET))
    answer = admin.raw("GET", "manifests/export", **manifests.target)
    assert answer["Content-Type"] == "text/yaml; charset=utf-8"
    text = answer.content.decode()
    objects = list(yaml.safe_load_all(text))
    assert [obj["kind"] for obj in objects] == ["Secret", "ConfigMap", "Service", "Deployment"]
    for obj in objects:
        assert "status" not in obj
        assert not {"uid", "resourceVersion", "managedFields", "creationTimestamp"} & set(
            obj["metadata"]
        )
    assert "clusterIP" not in objects[2]["spec"]
    assert "nodePort" not in objects[2]["spec"]["ports"][0]
    other = f"{space}-b"
    content = {"metadata": {"name": other}}
    admin.data("POST", "namespaces", {"cluster_id": cluster.pk, "content": content})
    copy = Manifests(admin, cluster, other)
    assert set(copy.actions(text.replace(f"namespace: {space}", f"namespace: {other}"))) == {
        "created"
    }
    again = admin.raw("GET", "manifests/export", cluster_id=cluster.pk, namespace=other)
    assert again.content.decode().replace(other, space) == text
    limited = admin.raw(
        "GET", "manifests/export", **manifests.target, kinds="deploy", labelSelector="team=shop"
    )
    assert [obj["kind"] for obj in yaml.safe_load_all(limited.content)] == ["Deployment"]


def test_secrets_are_exported_only_with_their_right(manifests: Manifests, person: Person) -> None:
    manifests.actions(joined(CONFIG, SECRET))
    reader = person("admin", scopes=["read"])
    text = reader.raw("GET", "manifests/export", **manifests.target).content.decode()
    assert "ConfigMap" in text
    assert "kind: Secret" not in text
    assert reader.code("GET", "manifests/export", **manifests.target, kinds="secrets") == 1005


def test_named_objects_are_exported_alone(
    manifests: Manifests, admin: Caller, cluster: Cluster, space: str
) -> None:
    other = CONFIG.replace("settings", "others")
    manifests.actions(joined(CONFIG, other, CONFIG.replace("settings", "third")))

    def export(**query: Any) -> Any:
        return admin.raw("GET", "manifests/export", **manifests.target, **query)

    text = export(kinds="cm", names="settings, others,settings").content
    names = [obj["metadata"]["name"] for obj in yaml.safe_load_all(text)]
    assert names == ["others", "settings"]
    assert export(kinds="cm", names="settings,gone").json()["code"] == 1004
    for query in ({}, {"kinds": "cm,deploy"}, {"kinds": "cm", "labelSelector": "a=b"}):
        assert export(names="settings", **query).json()["code"] == 1001
    anywhere = {"cluster_id": cluster.pk, "kinds": "cm", "names": "settings"}
    assert admin.code("GET", "manifests/export", **anywhere) == 1001


def test_a_copy_brings_what_the_object_refers_to(
    manifests: Manifests, admin: Caller, cluster: Cluster, space: str
) -> None:
    spec = template()["spec"]
    spec["containers"][0]["envFrom"] = [
        {"configMapRef": {"name": "settings"}},
        {"secretRef": {"name": "door"}},
    ]
    pod_template = {**template(), "spec": spec}
    web = {**WEB, "spec": {**WEB["spec"], "template": pod_template}}
    manifests.actions(joined(web, CONFIG, SECRET))
    other = f"{space}-b"
    content = {"metadata": {"name": other}}
    admin.data("POST", "namespaces", {"cluster_id": cluster.pk, "content": content})
    body = {
        "from": {**manifests.target, "kind": "Deployment", "name": "web"},
        "targets": [{"cluster_id": cluster.pk, "namespace": other}],
    }
    rows = admin.data("POST", "manifests/copy", body)["documents"]
    assert {(row["kind"], row["namespace"], row["action"]) for row in rows} == {
        ("ConfigMap", other, "created"),
        ("Secret", other, "created"),
        ("Deployment", other, "created"),
    }
    copied = admin.data("GET", "secrets/door", cluster_id=cluster.pk, namespace=other)
    assert base64.b64decode(copied["data"]["key"]).decode() == SECRET_VALUE


# --- compare --------------------------------------------------------------------------------------
def test_one_object_is_compared_over_clusters(
    manifests: Manifests, admin: Caller, cluster: Cluster, space: str
) -> None:
    manifests.actions(CONFIG)
    twin = Cluster.objects.create(
        name=f"twin-{space}", kubeconfig=cluster.kubeconfig, server=cluster.server
    )
    query = {"kind": "cm", "namespace": space, "name": "settings"}
    answer = admin.data("GET", "multicluster/compare", **query, clusters=f"{cluster.pk},{twin.pk}")
    assert answer["base"] == cluster.pk
    assert [(row["cluster_id"], row["found"], row["changes"]) for row in answer["clusters"]] == [
        (cluster.pk, True, []),
        (twin.pk, True, []),
    ]
    missing = admin.data("GET", "multicluster/compare", **{**query, "name": "no"})
    assert missing["base"] is None
    assert admin.code("GET", "multicluster/compare", **query, clusters="987654") == 1002


@pytest.mark.parametrize(
    ("reveals", "changed"), [([True, True], 1), ([False, True], 0), ([True, False], 0)]
)
def test_a_comparison_is_no_oracle_for_values_of_secrets(reveals: list[bool], changed: int) -> None:
    clusters = [Cluster(pk=1, name="one"), Cluster(pk=2, name="two")]
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "door"}}
    answers = {pk: {**secret, "data": {"key": f"dmFsdW{pk}"}} for pk in (1, 2)}
    answer = comparison.compare_answers(clusters, answers, reveals=reveals)
    assert len(answer["clusters"][1]["changes"]) == changed


def test_the_requests_of_the_documentation_run(admin: Caller, cluster: Cluster, space: str) -> None:
    assert Page("manifests.md", cluster, space).run(admin) == 7
