"""Deployments of templates: made, previewed, upgraded, rolled back and removed over the wire."""

import base64
import json
import uuid
from typing import Any

import pytest
from django.db import connection

from access.models import AuditEntry
from clusters import registry
from clusters.kinds import KINDS
from clusters.manifests import MASK
from clusters.models import Cluster
from manifest_templates.models import Template, TemplateDeployment, TemplateVersion
from operations.models import Operation
from simcluster.testing import RunningCluster
from tests.access.conftest import Person, person
from tests.caller import Caller
from tests.turning import finish, step_states
from tests.workloads.conftest import quick, space

__all__ = ["person", "quick", "space"]

SECRET = "correct horse battery"
OTHER_SECRET = "tr0ub4dor-and-three"
SCHEMA = {
    "type": "object",
    "required": ["level", "password"],
    "properties": {
        "level": {"type": "string"},
        "replicas": {"type": "integer", "default": 1},
        "password": {"type": "string", "writeOnly": True},
    },
}
FIRST = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data:
  level: {{ level }}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: extra}
data: {a: b}
---
apiVersion: v1
kind: Secret
metadata: {name: door}
stringData:
  key: {{ password }}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: careless}
data:
  line: {{ password }}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: {{ replicas }}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: main
        image: nginx:1
        resources: {limits: {cpu: 0.5}}
"""
SECOND = FIRST.replace("name: extra", "name: more").replace("nginx:1", "nginx:2")
VALUES = {"level": "info", "password": SECRET}


class Deployed:
    """Calls the routes of one template and of its deployment."""

    def __init__(self, caller: Caller, cluster: Cluster, space: str) -> None:
        self.caller = caller
        self.cluster = cluster
        self.space = space
        self.template = Template.objects.create(name=f"shop-{uuid.uuid4().hex[:6]}")
        self.add("1.0.0", FIRST)

    def add(self, version: str, body: str) -> None:
        """A version of the template."""
        TemplateVersion.objects.create(
            template=self.template, version=version, body=body, schema=SCHEMA
        )

    def body(self, **members: Any) -> dict[str, Any]:
        """What deploy takes."""
        target = {"cluster_id": self.cluster.pk, "namespace": self.space}
        return {"name": "shop", "targets": [target], "values": VALUES, **members}

    def deploy(self, **members: Any) -> dict[str, Any]:
        """The envelope."""
        path = f"templates/{self.template.pk}/deploy"
        return self.caller("POST", path, self.body(**members))

    def act(self, action: str, pk: int, **members: Any) -> dict[str, Any]:
        """The envelope of an action that is confirmed."""
        body = {"confirm": True, **members}
        return self.caller("POST", f"template-deployments/{pk}/{action}", body)

    def start(self, **members: Any) -> int:
        """The id of a deployment whose operation has succeeded."""
        return self.done(self.deploy(**members))

    def done(self, answer: dict[str, Any]) -> int:
        """The deployment's id, once the operation of the answer has succeeded."""
        assert answer["code"] == 0, answer
        row = finish(answer["data"]["operation_id"])
        assert row.state == "succeeded", row.error
        return int(answer["data"]["deployment_id"])

    def detail(self, pk: int, caller: Caller | None = None) -> Any:
        """GET /template-deployments/{id}."""
        return (caller or self.caller).data("GET", f"template-deployments/{pk}")

    def live(self, plural: str, name: str) -> dict[str, Any] | None:
        """An object of the namespace as it is now; None when there is none."""
        where = {"cluster_id": self.cluster.pk, "namespace": self.space}
        answer = self.caller("GET", f"{plural}/{name}", **where)
        return answer["data"] if answer["code"] == 0 else None


@pytest.fixture
def shop(admin: Caller, cluster: Cluster, space: str) -> Deployed:
    """A template with one version, to be deployed into the namespace."""
    return Deployed(admin, cluster, space)


def stored_text() -> str:
    """Every row of every table, as text."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        tables = [name for (name,) in cursor.fetchall()]
        parts = []
        for table in tables:
            cursor.execute(f'SELECT t::text FROM "{table}" t')  # noqa: S608  # our own tables
            parts += [str(row) for (row,) in cursor.fetchall()]
    return "\n".join(parts)


def test_deploying_marks_each_object_and_shows_values_without_secrets(shop: Deployed) -> None:
    pk = shop.start(wait=True)
    detail = shop.detail(pk)
    assert (detail["state"], detail["version"], detail["revision"]) == ("deployed", "1.0.0", 1)
    assert detail["values"] == {"level": "info", "password": MASK}
    assert [row["state"] for row in detail["targets"]] == ["succeeded"]
    for plural, name in (("configmaps", "settings"), ("secrets", "door"), ("deployments", "web")):
        live = shop.live(plural, name)
        assert live is not None
        assert live["metadata"]["labels"] == {
            "app.kubernetes.io/managed-by": "kubegale",
            "kubegale.io/deployment": detail["label"],
        }
    web = shop.live("deployments", "web")
    assert web is not None
    assert web["spec"]["template"]["metadata"]["labels"] == {"app": "web"}
    assert web["status"]["availableReplicas"] == 1


def test_no_secret_is_in_a_table_or_an_answer(shop: Deployed) -> None:
    texts = [shop.deploy(dry_run=True)]
    # An API server repeats a label that it refuses.
    shop.add(
        "1.0.1", FIRST.replace("{name: careless}", "{name: careless, labels: {a: {{ password }}}}")
    )
    answer = shop.deploy()
    row = finish(answer["data"]["operation_id"])
    assert row.state == "failed"
    assert f'Invalid value: "{MASK}"' in row.error
    pk = answer["data"]["deployment_id"]
    detail = shop.detail(pk)
    assert detail["state"] == "failed"
    assert "careless" in detail["error"]
    texts += [answer, detail, shop.caller.data("GET", f"operations/{row.pk}")]
    texts.append(shop.act("upgrade", pk, values={**VALUES, "password": 5}))
    new_values = {**VALUES, "password": OTHER_SECRET}
    preview = shop.act("upgrade", pk, version="1.0.0", values=new_values, dry_run=True)
    actions = {each["name"]: each["action"] for each in preview["data"]["documents"]}
    assert actions["door"] == "configured"
    texts.append(preview)
    shown = json.dumps(texts)
    for text in (SECRET, OTHER_SECRET, base64.b64encode(SECRET.encode()).decode()):
        assert text not in shown
        assert text not in stored_text()


def test_a_dry_run_shows_each_document_and_stores_nothing(shop: Deployed) -> None:
    documents = shop.deploy(dry_run=True)["data"]["documents"]
    assert [(row["name"], row["action"]) for row in documents] == [
        ("settings", "created"),
        ("extra", "created"),
        ("door", "created"),
        ("careless", "created"),
        ("web", "created"),
    ]
    assert "+  level: info" in documents[0]["diff"]
    assert not TemplateDeployment.objects.exists()
    assert not Operation.objects.exists()
    assert shop.live("configmaps", "settings") is None


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"values": {"level": "info"}}, "password"),
        ({"values": {**VALUES, "replicas": "many"}}, "replicas"),
        ({"name": "Not A Name"}, "name"),
        ({"name": None}, "name"),
        ({"targets": []}, "targets"),
        ({"targets": None}, "targets"),
        ({"targets": [{"cluster_id": 0, "namespace": "Not A Name"}]}, "targets[0].namespace"),
        ({"version": 1}, "version"),
        ({"surprise": True}, "surprise"),
    ],
    ids=[
        "missing",
        "type",
        "name",
        "no-name",
        "no-target",
        "null-targets",
        "namespace",
        "version",
        "unknown",
    ],
)
def test_bad_input_is_refused_before_anything_is_stored(
    shop: Deployed, members: dict[str, Any], field: str
) -> None:
    answer = shop.deploy(**members)
    assert answer["code"] == 1001, answer
    assert answer["data"]["field"] == field
    assert not TemplateDeployment.objects.exists()


def test_values_that_the_schema_does_not_name_are_refused_where_it_forbids_them(
    shop: Deployed,
) -> None:
    values = {**VALUES, "surprise": 1}
    closed = {**SCHEMA, "additionalProperties": False}
    TemplateVersion.objects.create(
        template=shop.template, version="1.1.0", body=FIRST, schema=closed
    )
    refused = shop.deploy(values=values, version="1.1.0")
    assert (refused["code"], refused["data"]["field"]) == (1001, "surprise")
    pk = shop.start(values=values, version="1.0.0")
    shown = shop.caller.data("GET", f"template-deployments/{pk}")["values"]
    assert shown["surprise"] == 1


def test_a_refused_target_refuses_the_whole_call(
    shop: Deployed, person: Person, cluster: Cluster
) -> None:
    mine = {"cluster_id": cluster.pk, "namespace": shop.space}
    path = f"templates/{shop.template.pk}/deploy"
    unknown = shop.body(targets=[mine, {"cluster_id": 999_999, "namespace": "x"}])
    assert shop.caller.code("POST", path, unknown) == 1002
    member = person("operator", cluster=cluster, namespace=shop.space)
    elsewhere = shop.body(targets=[mine, {"cluster_id": cluster.pk, "namespace": "default"}])
    assert member.code("POST", path, elsewhere) == 1005
    viewer = person("viewer", cluster=cluster, namespace=shop.space)
    assert viewer.code("POST", path, shop.body()) == 1005
    assert viewer.code("POST", path, shop.body(dry_run=True)) == 1005
    assert not TemplateDeployment.objects.exists()
    assert not Operation.objects.exists()
    assert shop.live("configmaps", "settings") is None
    member_answer = member("POST", path, shop.body())
    assert member_answer["code"] == 0, member_answer
    assert finish(member_answer["data"]["operation_id"]).state == "succeeded"


def test_people_see_deployments_where_they_may_read(
    shop: Deployed, person: Person, cluster: Cluster
) -> None:
    other = f"{shop.space}-b"
    content = {"metadata": {"name": other}}
    shop.caller.data("POST", "namespaces", {"cluster_id": cluster.pk, "content": content})
    both = [{"cluster_id": cluster.pk, "namespace": name} for name in (shop.space, other)]
    pk = shop.start(targets=both)
    viewer = person("viewer", cluster=cluster, namespace=other)
    stranger = person("operator", cluster=cluster, namespace="default")
    listed = viewer.data("GET", "template-deployments")
    assert [row["id"] for row in listed["items"]] == [pk]
    assert [row["namespace"] for row in listed["items"][0]["targets"]] == [other]
    assert {row["namespace"] for row in shop.detail(pk, viewer)["targets"]} == {other}
    assert viewer.code("POST", f"template-deployments/{pk}/undeploy", {"confirm": True}) == 1005
    assert stranger.data("GET", "template-deployments")["total"] == 0
    assert stranger.code("GET", f"template-deployments/{pk}") == 1004
    half = person("operator", cluster=cluster, namespace=other)
    assert half.code("POST", f"template-deployments/{pk}/upgrade", {"confirm": True}) == 1005


def test_a_name_is_free_again_once_it_is_undeployed(shop: Deployed) -> None:
    pk = shop.start()
    answer = shop.deploy()
    assert answer["code"] == 1007, answer
    shop.done(shop.act("undeploy", pk))
    assert shop.detail(pk)["state"] == "undeployed"
    for plural, name in (("configmaps", "settings"), ("secrets", "door"), ("deployments", "web")):
        assert shop.live(plural, name) is None
    assert shop.act("undeploy", pk)["code"] == 1007
    again = shop.start()
    states = {"deployed": [again], "undeployed": [pk]}
    for state, ids in states.items():
        listed = shop.caller.data(
            "GET", f"templates/{shop.template.pk}/deployments", state=state, name="shop"
        )
        assert [row["id"] for row in listed["items"]] == ids


def test_an_upgrade_is_previewed_and_prunes_what_is_gone(
    shop: Deployed, apiserver: RunningCluster
) -> None:
    pk = shop.start()
    shop.add("1.1.0", SECOND)
    label = shop.detail(pk)["label"]
    marked = {"kubegale.io/deployment": label}
    for name, metadata in {
        # Nobody's any more; a controller's; another deployment's.
        "freed": {},
        "owned": {
            "labels": marked,
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "ConfigMap", "name": "settings", "uid": "u-1"}
            ],
        },
        "foreign": {"labels": {"kubegale.io/deployment": "other-1"}},
    }.items():
        manifest = {"metadata": {"name": name, **metadata}, "data": {"a": "b"}}
        shop.caller.data(
            "POST",
            "configmaps",
            {"cluster_id": shop.cluster.pk, "namespace": shop.space, "content": manifest},
        )
    preview = shop.act("upgrade", pk, version="1.1.0", dry_run=True)["data"]["documents"]
    actions = {row["name"]: row["action"] for row in preview}
    assert actions == {
        "settings": "unchanged",
        "more": "created",
        "door": "unchanged",
        "careless": "unchanged",
        "web": "configured",
        "extra": "pruned",
    }
    assert "nginx:2" in next(row["diff"] for row in preview if row["name"] == "web")
    assert shop.detail(pk)["revision"] == 1
    shop.caller.data(
        "PATCH",
        "configmaps/extra",
        {"metadata": {"annotations": {"kubegale.io/protected": "true"}}},
        content_type="application/merge-patch+json",
        cluster_id=shop.cluster.pk,
        namespace=shop.space,
    )
    path = f"template-deployments/{pk}/upgrade"
    refused = shop.caller("POST", path, {"version": "1.1.0"})
    assert refused["code"] == 1010
    assert refused["data"]["impact"]["warnings"] == ["configmaps/extra"]
    shop.done(shop.act("upgrade", pk, version="1.1.0"))
    detail = shop.detail(pk)
    assert (detail["version"], detail["revision"]) == ("1.1.0", 2)
    # Secrets that were given before stay.
    assert detail["values"] == {"level": "info", "password": MASK}
    assert shop.live("configmaps", "extra") is None
    for name in ("freed", "owned", "foreign", "more"):
        assert shop.live("configmaps", name) is not None, name


def test_values_are_exchanged_and_secrets_that_are_left_out_stay(shop: Deployed) -> None:
    pk = shop.start()
    shop.done(shop.act("upgrade", pk, values={"level": "debug"}, prune=False))
    settings = shop.live("configmaps", "settings")
    careless = shop.live("configmaps", "careless")
    assert settings is not None
    assert careless is not None
    assert settings["data"] == {"level": "debug"}
    assert careless["data"] == {"line": SECRET}
    shop.done(shop.act("upgrade", pk, values={"level": "debug", "password": OTHER_SECRET}))
    careless = shop.live("configmaps", "careless")
    assert careless is not None
    assert careless["data"] == {"line": OTHER_SECRET}


def test_a_rollback_brings_back_a_version_with_its_values(shop: Deployed) -> None:
    pk = shop.start()
    assert shop.act("rollback", pk)["code"] == 1007
    shop.add("2.0.0", SECOND)
    shop.done(shop.act("upgrade", pk, version="2.0.0", values={"level": "debug"}))
    shop.done(shop.act("rollback", pk))
    detail = shop.detail(pk)
    assert (detail["version"], detail["revision"]) == ("1.0.0", 3)
    assert detail["values"]["level"] == "info"
    assert [row["version"] for row in detail["revisions"]] == ["1.0.0", "2.0.0", "1.0.0"]
    assert shop.live("configmaps", "more") is None
    assert shop.live("configmaps", "extra") is not None
    shop.done(shop.act("rollback", pk, version="2.0.0"))
    assert shop.detail(pk)["values"]["level"] == "debug"
    assert shop.act("rollback", pk, version="9.9.9")["code"] == 1004


def test_each_target_goes_as_far_as_it_can(shop: Deployed, apiserver: RunningCluster) -> None:
    missing = {"cluster_id": shop.cluster.pk, "namespace": f"{shop.space}-missing"}
    good = {"cluster_id": shop.cluster.pk, "namespace": shop.space}
    answer = shop.deploy(targets=[missing, good])
    row = finish(answer["data"]["operation_id"])
    assert row.state == "failed"
    assert list(step_states(row).values()) == ["failed", "succeeded"]
    detail = shop.detail(answer["data"]["deployment_id"])
    assert detail["state"] == "failed"
    assert [target["state"] for target in detail["targets"]] == ["failed", "succeeded"]
    assert "not found" in detail["targets"][0]["message"]
    content = {"metadata": {"name": missing["namespace"]}}
    shop.caller.data("POST", "namespaces", {"cluster_id": shop.cluster.pk, "content": content})
    # The same again, once its cause is gone.
    shop.done(shop.act("upgrade", detail["id"]))
    assert shop.detail(detail["id"])["state"] == "deployed"


def test_one_action_at_a_time_and_a_cancelled_one_has_failed(shop: Deployed) -> None:
    answer = shop.deploy()
    pk = answer["data"]["deployment_id"]
    assert shop.detail(pk)["state"] == "deploying"
    second = shop.act("undeploy", pk)
    assert second["code"] == 1007
    assert second["data"]["operation_id"] == answer["data"]["operation_id"]
    shop.caller.data("POST", f"operations/{answer['data']['operation_id']}/cancel")
    assert shop.detail(pk)["state"] == "failed"
    failed = shop.caller.data("GET", "template-deployments", state="failed")
    assert [row["id"] for row in failed["items"]] == [pk]
    shop.done(shop.act("undeploy", pk))
    assert shop.detail(pk)["state"] == "undeployed"


def test_objects_of_another_deployment_are_left_alone(shop: Deployed) -> None:
    pk = shop.start()
    other = Deployed(shop.caller, shop.cluster, shop.space)
    answer = other.deploy(name="rival")
    row = finish(answer["data"]["operation_id"])
    assert row.state == "failed"
    assert "belongs to another deployment" in row.error
    other.done(other.act("undeploy", answer["data"]["deployment_id"]))
    assert shop.live("configmaps", "settings") is not None
    assert shop.detail(pk)["state"] == "deployed"


def test_a_namespace_that_was_there_before_survives(shop: Deployed) -> None:
    body = f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {shop.space}}}\n"
    shop.add("3.0.0", f"{body}---\n{FIRST}")
    pk = shop.start(version="3.0.0")
    shop.done(shop.act("undeploy", pk))
    where = {"cluster_id": shop.cluster.pk}
    namespace = shop.caller.data("GET", f"namespaces/{shop.space}", **where)
    assert namespace["status"]["phase"] == "Active"
    assert shop.live("configmaps", "settings") is None


def test_targets_of_removed_clusters_are_skipped(shop: Deployed, apiserver: RunningCluster) -> None:
    second = registry.register(name="second", kubeconfig_text=apiserver.kubeconfig_yaml)
    other = f"{shop.space}-b"
    content = {"metadata": {"name": other}}
    shop.caller.data("POST", "namespaces", {"cluster_id": second.pk, "content": content})
    targets = [
        {"cluster_id": shop.cluster.pk, "namespace": shop.space},
        {"cluster_id": second.pk, "namespace": other},
    ]
    pk = shop.start(targets=targets)
    registry.remove(second)
    detail = shop.detail(pk)
    assert [target["removed"] for target in detail["targets"]] == [False, True]
    shop.done(shop.act("undeploy", pk))
    detail = shop.detail(pk)
    assert detail["state"] == "undeployed"
    assert [target["state"] for target in detail["targets"]] == ["succeeded", "skipped"]
    assert detail["targets"][1]["message"] == "the cluster was removed"
    assert shop.live("configmaps", "settings") is None


def test_actions_stand_in_the_audit_trail_by_name(shop: Deployed) -> None:
    pk = shop.start()
    shop.done(shop.act("undeploy", pk))
    rows = AuditEntry.objects.filter(kind="templatedeployments", name="shop")
    for verb in ("deploy", "undeploy"):
        details = rows.get(verb=verb).details
        assert details["deployment_id"] == pk
        assert details["template"] == shop.template.name
    written = AuditEntry.objects.filter(kind=KINDS["configmaps"].plural, name="settings")
    assert written.filter(details__deployment_id=pk).exists()
