"""Templates over KubeGale's routes: making, versions, who may what, files, from running objects."""

import json
import uuid
from typing import Any

import pytest
import yaml
from django.db import DatabaseError, transaction

from access.models import AuditEntry
from clusters.models import Cluster
from manifest_templates.models import Template, TemplateVersion
from tenants.models import Tenant
from tests.access.conftest import Person, new_space
from tests.caller import Caller
from tests.turning import finish

pytestmark = pytest.mark.django_db
BODY = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ name }}\ndata:\n  count: '{{ count }}'\n"
SCHEMA = {
    "type": "object",
    "required": ["name"],
    "properties": {"name": {"type": "string"}, "count": {"type": "integer", "default": 3}},
}


@pytest.fixture
def name() -> str:
    return f"tpl-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def tenant(cluster: Cluster, admin: Caller) -> Tenant:
    space = new_space(admin, cluster)
    return Tenant.objects.create(cluster=cluster, namespace=space, uid=uuid.uuid4().hex)


def version(number: str = "1.0.0", **more: Any) -> dict[str, Any]:
    return {"version": number, "body": BODY, "schema": SCHEMA, **more}


def make(caller: Caller, name: str, **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = caller.data("POST", "templates", {"name": name, **version(), **more})
    return made


def field_of(caller: Caller, method: str, path: str, body: Any) -> str:
    answer = caller(method, path, body)
    assert answer["code"] == 1001, answer
    return str(answer["data"]["field"])


def test_a_template_is_made_changed_listed_and_deleted(admin: Caller, name: str) -> None:
    made = make(admin, name, description="A shop", category="web", tags=["a", "b", "a"], icon="box")
    assert made["versions"][0]["version"] == made["version"] == "1.0.0"
    assert (made["scope"], made["tenant"], made["tags"]) == ("all", None, ["a", "b"])
    path = f"templates/{made['id']}"
    changed = admin.data("PUT", path, {"description": "Another", "tags": ["c"], "scope": "all"})
    assert (changed["name"], changed["description"]) == (name, "Another")
    for query in (
        {"category": "web", "tag": "c"},
        {"search": name[4:]},
        {"search": "nother", "scope": "all"},
    ):
        page = admin.data("GET", "templates", pageSize=100, **query)
        assert made["id"] in [each["id"] for each in page["items"]], query
    for query in ({"category": "db"}, {"tag": "a"}, {"scope": "tenant"}, {"search": "none"}):
        page = admin.data("GET", "templates", **query)
        assert made["id"] not in [each["id"] for each in page["items"]], query
    assert admin.data("GET", "templates", pageSize=1)["pageSize"] == 1
    assert admin.data("DELETE", path) == {}
    assert admin.code("GET", path) == 1004
    assert admin.code("DELETE", path) == 1004
    trail = AuditEntry.objects.filter(kind="templates", name=name).values_list("verb", flat=True)
    assert sorted(trail) == ["create", "delete", "update"]


def test_what_is_wrong_is_named_by_its_field(admin: Caller, name: str) -> None:
    good = {"name": name, **version()}
    for change, field in (
        ({"name": ""}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": 5}, "name"),
        ({"nam": "x"}, "nam"),
        ({"tags": "web"}, "tags"),
        ({"tags": [5]}, "tags[0]"),
        ({"scope": "everybody"}, "scope"),
        ({"scope": "tenant"}, "tenant"),
        ({"scope": "tenant", "tenant": "nowhere-at-all"}, "tenant"),
        ({"scope": "all", "tenant": "x"}, "tenant"),
        ({"version": "one"}, "version"),
        ({"version": 1}, "version"),
        ({"body": "a: {{ x"}, "body"),
        ({"body": ""}, "body"),
        ({"body": None}, "body"),
        ({"body": "a: {{ x.__class__ }}"}, "body"),
        ({"schema": {"type": "no"}}, "schema"),
        ({"schema": {"properties": {"x": {"default": "\x00"}}}}, "schema"),
        ({"notes": 5}, "notes"),
        ({"version": {"version": "1.0.0", "body": BODY, "x": 1}, "body": None}, "version.x"),
    ):
        assert field_of(admin, "POST", "templates", {**good, **change}) == field, change
    assert not Template.objects.filter(name__startswith=name).exists()
    made = make(admin, name)
    assert admin.code("POST", "templates", {"name": name.upper()}) == 1007
    assert admin.code("POST", f"templates/{made['id']}/versions", version("1.0.0")) == 1007
    for body in ({"tenant": "x"}, {"scope": "tenant"}, {"body": BODY}, {"version": "2.0.0"}):
        assert admin.code("PUT", f"templates/{made['id']}", body) == 1001, body
    assert admin.code("GET", "templates/x") == admin.code("GET", "templates/99999999") == 1004


def test_versions_never_change_and_the_highest_is_the_default(admin: Caller, name: str) -> None:
    made = admin.data("POST", "templates", {"name": name, "version": {**version("1.10.0")}})
    path = f"templates/{made['id']}"
    assert admin.code("POST", f"{path}/render", {"version": "9.9.9"}) == 1004
    for number in ("1.9.0", "2.0.0-rc.1", "1.2.0"):
        admin.data("POST", f"{path}/versions", version(number, notes=f"notes of {number}"))
    numbers = ["2.0.0-rc.1", "1.10.0", "1.9.0", "1.2.0"]
    shown = admin.data("GET", path)
    assert [each["version"] for each in shown["versions"]] == numbers
    assert shown["version"] == "2.0.0-rc.1"
    page = admin.data("GET", f"{path}/versions", pageSize=2)
    assert [each["version"] for each in page["items"]] == numbers[:2]
    assert page["total"] == 4
    one = admin.data("GET", f"{path}/versions/1.9.0")
    assert (one["body"], one["schema"], one["notes"]) == (BODY, SCHEMA, "notes of 1.9.0")
    assert admin.code("GET", f"{path}/versions/3.0.0") == 1004
    for method in ("PUT", "PATCH", "DELETE"):
        assert admin.raw(method, f"{path}/versions/1.9.0", {"body": "x"}).status_code == 405
    row = TemplateVersion.objects.get(template_id=made["id"], version="1.9.0")
    with pytest.raises(TypeError):
        row.save()
    with pytest.raises(DatabaseError), transaction.atomic():
        TemplateVersion.objects.filter(pk=row.pk).update(body="other")


def test_rendering_over_the_route(admin: Caller, name: str) -> None:
    path = f"templates/{make(admin, name)['id']}/render"
    full = admin.data("POST", path, {"values": {"name": "x", "extra": 1}})
    assert yaml.safe_load(full["manifests"]) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "x"},
        "data": {"count": "3"},
    }
    assert (full["missing"], full["unused"]) == ([], ["extra"])
    assert admin.data("POST", path, {})["missing"] == ["name"]
    assert field_of(admin, "POST", path, {"values": {"name": "x", "count": "y"}}) == "count"
    assert field_of(admin, "POST", path, {"values": ["name"]}) == "values"
    assert field_of(admin, "POST", path, {"values": {}, "version": 3}) == "version"
    assert field_of(admin, "POST", path, {"value": {}}) == "value"
    # Also on a path that names no template, what is asked of it is not disclosed.
    assert admin.code("POST", "templates/99999999/render", {}) == 1004


def test_a_template_stays_until_its_deployments_are_undeployed(
    admin: Caller, cluster: Cluster, space: str, name: str
) -> None:
    made = make(admin, name)
    body: dict[str, Any] = {
        "name": name,
        "targets": [{"cluster_id": cluster.pk, "namespace": space}],
    }
    body["values"] = {"name": name}
    deployed = admin.data("POST", f"templates/{made['id']}/deploy", body)
    finish(deployed["operation_id"])
    assert admin.code("DELETE", f"templates/{made['id']}") == 1009
    path = f"template-deployments/{deployed['deployment_id']}"
    undeployed = admin.data("POST", f"{path}/undeploy", {})
    assert admin.code("DELETE", f"templates/{made['id']}") == 1009
    finish(undeployed["operation_id"])
    assert admin.data("DELETE", f"templates/{made['id']}") == {}
    assert admin.code("GET", path) == 1004


def test_who_may_see_and_change_what(
    admin: Caller, person: Person, cluster: Cluster, tenant: Tenant, name: str
) -> None:
    other = Tenant.objects.create(
        cluster=cluster, namespace=new_space(admin, cluster), uid=uuid.uuid4().hex
    )
    shared = make(admin, name)["id"]
    viewer = person("viewer", cluster=cluster, namespace=tenant.namespace)
    operator = person("operator", cluster=cluster, namespace=tenant.namespace)
    stranger = person("operator", cluster=cluster, namespace=other.namespace)
    for caller in (viewer, operator, stranger):
        assert caller.data("GET", f"templates/{shared}")["name"] == name
        assert caller.data("POST", f"templates/{shared}/render", {})["missing"] == ["name"]
        assert caller.code("POST", "templates", {"name": f"{name}-x", **version()}) == 1005
        assert caller.code("PUT", f"templates/{shared}", {"description": "x"}) == 1005
        assert caller.code("DELETE", f"templates/{shared}") == 1005
        assert caller.code("POST", f"templates/{shared}/versions", version("2.0.0")) == 1005
        # The right comes before the body.
        assert caller.code("POST", f"templates/{shared}/versions", {"x": 1}) == 1005
    assert Caller().code("GET", "templates") == 2001
    scoped = {"scope": "tenant", "tenant": tenant.namespace}
    assert viewer.code("POST", "templates", {"name": name, **version(), **scoped}) == 1005
    assert (
        field_of(stranger, "POST", "templates", {"name": name, **version(), **scoped}) == "tenant"
    )
    own = make(operator, name, **scoped)
    assert (own["scope"], own["tenant"], own["cluster_id"]) == (
        "tenant",
        tenant.namespace,
        cluster.pk,
    )
    path = f"templates/{own['id']}"
    assert viewer.data("GET", path)["id"] == own["id"]
    assert viewer.code("PUT", path, {"description": "x"}) == 1005
    assert operator.data("PUT", path, {"description": "x"})["description"] == "x"
    assert operator.data("POST", f"{path}/versions", version("2.0.0"))["version"] == "2.0.0"
    for method, place, body, code in (
        ("GET", path, None, 1004),
        ("GET", f"{path}/versions", None, 1004),
        ("GET", f"{path}/versions/1.0.0", None, 1004),
        ("GET", f"{path}/export", None, 1004),
        ("POST", f"{path}/render", {}, 1004),
        ("PUT", path, {"description": "x"}, 1005),
        ("DELETE", path, None, 1005),
        ("POST", f"{path}/versions", version("3.0.0"), 1005),
        ("DELETE", "templates/99999999", None, 1005),
    ):
        assert stranger.code(method, place, body) == code, (method, place)
    listed = stranger.data("GET", "templates", search=name)["items"]
    assert [each["id"] for each in listed] == [shared]
    assert len(operator.data("GET", "templates", search=name)["items"]) == 2
    # The tenant goes: its template is the administrators'.
    tenant.delete()
    assert operator.code("GET", path) == 1004
    assert admin.data("GET", path)["tenant"] is None
    assert admin.data("DELETE", path) == {}


def test_a_template_goes_as_a_file_to_another_place(admin: Caller, name: str) -> None:
    made = make(admin, name, description="ü", tags=["x"])
    admin.data("POST", f"templates/{made['id']}/versions", version("1.1.0", notes="news"))
    answer = admin.raw("GET", f"templates/{made['id']}/export")
    assert "attachment" in answer["Content-Disposition"]
    text = answer.content.decode()
    admin.data("DELETE", f"templates/{made['id']}")
    # The file as it is, and its text as a member.
    again = admin.data("POST", "templates/import", text)
    assert [each["version"] for each in again["versions"]] == ["1.1.0", "1.0.0"]
    assert (again["name"], again["description"], again["tags"]) == (name, "ü", ["x"])
    copied = admin.data("POST", "templates/import", {"content": text, "name": f"{name}-2"})
    assert copied["name"] == f"{name}-2"
    assert admin.data("POST", "templates/import", {"content": text})["id"] == again["id"]
    file = json.loads(text)
    file["versions"].append(version("2.0.0"))
    content = yaml.safe_dump(file)
    grown = admin.data("POST", "templates/import", {"content": content})
    assert grown["version"] == "2.0.0"
    file["versions"][0]["body"] = "a: 1"
    assert admin.code("POST", "templates/import", file) == 1007
    for change, field in (
        ({"format": "x"}, "format"),
        ({"versions": [{"version": "1"}]}, "versions[0].version"),
        ({"versions": [version(more=1)]}, "versions[0].more"),
        ({"versions": "x"}, "versions"),
        ({"more": 1}, "more"),
    ):
        content = json.dumps({**file, **change})
        assert field_of(admin, "POST", "templates/import", {"content": content}) == field
    assert admin.code("POST", "templates/import", {"content": "a: [" + "x" * 2_000_000}) == 1001


def test_running_objects_become_a_template(
    admin: Caller, person: Person, cluster: Cluster, tenant: Tenant, name: str
) -> None:
    space = tenant.namespace
    objects: list[tuple[str, dict[str, Any]]] = [
        (
            "deployments",
            {
                "metadata": {"name": "web", "labels": {"app": "web"}},
                "spec": {
                    "replicas": 2,
                    "selector": {"matchLabels": {"app": "web"}},
                    "template": {
                        "metadata": {"labels": {"app": "web"}},
                        "spec": {"containers": [{"name": "web", "image": "nginx:1"}]},
                    },
                },
            },
        ),
        (
            "configmaps",
            {"metadata": {"name": "web"}, "data": {"page.html": "{{ x }} {% if %} {# #} {{{"}},
        ),
        ("secrets", {"metadata": {"name": "web"}, "stringData": {"password": "hunter2"}}),
    ]
    for plural, obj in objects:
        admin.data("POST", plural, {"cluster_id": cluster.pk, "namespace": space, "content": obj})
    body = {
        "cluster_id": cluster.pk,
        "objects": [
            {"kind": "Deployment", "namespace": space, "name": "web"},
            {"kind": "configmaps", "namespace": space, "name": "web"},
            {"kind": "Secret", "namespace": space, "name": "web"},
        ],
        "parametrise": [
            "spec.replicas",
            "spec.template.spec.containers[0].image",
            "ConfigMap/web:data.page.html",
        ],
    }
    draft = admin.data("POST", "templates/from-resources", body)
    assert draft["template"] is None
    assert "hunter2" not in json.dumps(draft)
    properties = draft["schema"]["properties"]
    assert properties["replicas"] == {"type": "integer", "default": 2}
    assert properties["image"]["default"] == "nginx:1"
    assert properties["password"] == {"type": "string", "writeOnly": True}
    assert draft["schema"]["required"] == ["password"]
    made = admin.data("POST", "templates/from-resources", {**body, "name": name})
    assert made["template"]["id"] == made["id"]
    values = {"replicas": 5, "password": "new"}
    rendered = admin.data("POST", f"templates/{made['id']}/render", {"values": values})
    assert (rendered["missing"], rendered["unused"]) == ([], [])
    deployment, config, secret = yaml.safe_load_all(rendered["manifests"])
    assert deployment["spec"]["replicas"] == 5
    assert "status" not in deployment
    assert "namespace" not in deployment["metadata"]
    assert config["data"] == {"page.html": "{{ x }} {% if %} {# #} {{{"}
    assert secret["stringData"] == {"password": "new"}
    applied = admin.data(
        "POST",
        "manifests/apply",
        {
            "cluster_id": cluster.pk,
            "namespace": space,
            "content": rendered["manifests"],
            "force_conflicts": True,
        },
    )
    assert [each["action"] for each in applied["documents"]] == ["configured"] * 3, applied
    for change, field in (
        ({"objects": []}, "objects"),
        ({"objects": [{"kind": "Pod", "name": "x"}]}, "objects[0].namespace"),
        ({"objects": [{"kind": "nothing", "name": "x"}]}, "objects[0].kind"),
        ({"parametrise": ["spec.none"]}, "parametrise[0]"),
        ({"parametrise": ["kind"]}, "parametrise[0]"),
        ({"parametrise": ["a..b["]}, "parametrise[0]"),
        ({"parametrise": [5]}, "parametrise[0]"),
        ({"parametrize": []}, "parametrize"),
    ):
        assert field_of(admin, "POST", "templates/from-resources", {**body, **change}) == field
    gone = {**body, "objects": [{"kind": "Pod", "namespace": space, "name": "gone"}]}
    assert admin.code("POST", "templates/from-resources", gone) == 1004
    # A Secret's values are not for viewers, other namespaces' objects for nobody.
    viewer = person("viewer", cluster=cluster, namespace=space)
    assert viewer.code("POST", "templates/from-resources", body) == 1005
    scoped = {"scope": "tenant", "tenant": space}
    operator = person("operator", cluster=cluster, namespace=space)
    own = operator.data("POST", "templates/from-resources", {**body, "name": name, **scoped})
    assert own["template"]["tenant"] == space
    elsewhere = {**body, "objects": [{"kind": "Pod", "namespace": "kube-system", "name": "x"}]}
    assert operator.code("POST", "templates/from-resources", elsewhere) == 1005
