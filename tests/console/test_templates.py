"""Templates in the console: from the gallery to a deployment and its end, and out of live objects."""

import json
import re
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from playwright.sync_api import Page, expect

from access import grants
from access.policy import Role
from clusters import registry
from clusters.models import Cluster
from console.editing.value_forms import field_name
from console.rendering import hints
from simcluster.testing import RunningCluster, running_cluster
from tests.caller import Caller
from tests.console.browser import DESK, PHONE, Walk
from tests.storage_api.collecting import collecting
from tests.turning import finish

SPACE = "default"
SECRET = "correct-horse-battery"
SCHEMA = {
    "type": "object",
    "required": ["name", "password"],
    "properties": {
        "name": {
            "type": "string",
            "title": "Name of the objects",
            "pattern": "^[a-z-]+$",
        },
        "replicas": {
            "type": "integer",
            "default": 1,
            "minimum": 0,
            "maximum": 5,
        },
        "mode": {"enum": ["fast", "slow"], "default": "slow"},
        "debug": {"type": "boolean", "default": False},
        "image": {
            "type": "object",
            "properties": {
                "tag": {
                    "type": "string",
                    "default": "1",
                    "description": "<i>which</i>",
                }
            },
        },
        "password": {
            "type": "string",
            "writeOnly": True,
            "minLength": 8,
        },
    },
}
BODY = """apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ name }}
spec:
  replicas: {{ replicas }}
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
    spec:
      containers:
        - name: main
          image: web:{{ image.tag }}
---
apiVersion: v1
kind: Secret
metadata:
  name: {{ name }}
stringData:
  password: {{ password }}
"""
CONFIG_MAP = """---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ name }}
data:
  mode: {{ mode }}
"""


def make_template(admin: Caller, name: str = "Shop") -> int:
    """A template with the version 1.0.0; its id."""
    template = {
        "name": name,
        "description": "A <b>shop</b>",
        "category": "web",
        "tags": ["http"],
        "version": "1.0.0",
        "body": BODY + CONFIG_MAP,
        "schema": SCHEMA,
    }
    return int(admin.data("POST", "templates", template)["id"])


@pytest.fixture
def space(admin: Caller, cluster: Cluster) -> str:
    """A fresh namespace."""
    name = f"tpl-{uuid.uuid4().hex[:8]}"
    content = {"metadata": {"name": name}}
    admin.data(
        "POST",
        "namespaces",
        {"cluster_id": cluster.pk, "content": content},
    )
    return name


# --- in a browser ---------------------------------------------------------------------------------
@pytest.fixture
def followed(
    transactional_db: None,
) -> Iterator[tuple[RunningCluster, Cluster]]:
    """A cluster of this test alone, registered; the store's tables are not Django's to flush."""
    with running_cluster(
        controllers=False,
        kubelet=False,
    ) as server:
        _empty_store()
        yield (
            server,
            registry.register(
                name="shops",
                kubeconfig_text=server.kubeconfig_yaml,
            ),
        )
        _empty_store()


def _empty_store() -> None:
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE storage_resource, storage_change, storage_gap")


def check_page(walk: Walk, name: str) -> None:
    """The page as people with a reader and with a phone have it."""
    assert not walk.axe()
    walk.page.set_viewport_size(
        {
            "width": PHONE[0],
            "height": PHONE[1],
        }
    )
    assert not walk.is_wider_than_the_window(), name
    walk.picture(name)
    walk.page.set_viewport_size(
        {
            "width": DESK[0],
            "height": DESK[1],
        }
    )


def finish_action(page: Page, admin: Caller, state: str) -> None:
    """Finish what goes on with the deployment that is shown; its page says so by itself."""
    page.wait_for_url(re.compile(r"/templates/deployments/\d+$"))
    pk = page.url.rpartition("/")[2]
    finish(
        admin.data(
            "GET",
            f"template-deployments/{pk}",
        )["operation_id"]
    )
    expect(page.locator("#deployment .head .status")).to_have_text(state)


@pytest.mark.django_db(transaction=True)
def test_somebody_deploys_a_template_and_follows_it_to_its_end(
    walker: Any, person: User, admin: Caller, followed: tuple[RunningCluster, Cluster]
) -> None:
    server, cluster = followed
    pk = make_template(admin)
    walk: Walk = walker(person)
    with collecting():
        page = walk.open("/templates")
        check_page(walk, "gallery")
        page.get_by_role("link", name="Shop", exact=True).click()
        expect(page.get_by_text("A <b>shop</b>")).to_be_visible()
        check_page(walk, "template")
        page.locator("header.head").get_by_role(
            "link",
            name="Deploy",
        ).click()
        rendered = page.locator("#rendered")
        expect(rendered).to_contain_text("Still missing:")
        page.get_by_label("Name of the objects").fill("Web")
        expect(page.locator('[data-place="name"] .field-error')).to_contain_text("name")
        page.get_by_label("Name of the objects").fill("web")
        page.get_by_label("replicas").fill("2")
        expect(rendered).to_contain_text("replicas: 2")
        page.get_by_label("Name of the deployment").fill("shop")
        page.get_by_label("Namespace").fill(SPACE)
        page.get_by_label("password").fill("short")
        page.get_by_role("button", name="Preview").click()
        expect(page.locator("#outcome [role=alert]")).to_contain_text("password")
        expect(page.get_by_label("password")).to_be_focused()
        page.get_by_label("password").fill(SECRET)
        page.get_by_role("button", name="Preview").click()
        expect(page.locator("#outcome li")).to_have_count(3)
        expect(page.locator("#outcome")).to_contain_text("would be created")
        expect(rendered).to_contain_text("password: '****")
        assert SECRET not in page.content()
        check_page(walk, "preview")
        assert server.get("deployments.apps", "web", SPACE) is None
        page.locator("#value-form").get_by_role(
            "button",
            name="Deploy",
        ).click()
        finish_action(page, admin, "deployed")
        expect(page.get_by_text("Everything is as the template made it.")).to_be_visible()
        assert (
            server.get(
                "deployments.apps",
                "web",
                SPACE,
            )
            or {}
        )["spec"]["replicas"] == 2
        assert SECRET not in page.content()
        patch = {"spec": {"replicas": 4}}
        where = {"cluster_id": cluster.pk, "namespace": SPACE}
        merge = "application/merge-patch+json"
        admin.data(
            "PATCH",
            "deployments/web",
            patch,
            content_type=merge,
            **where,
        )
        # The page itself notices, by what the store heard.
        expect(page.locator("#deployment td.is")).to_have_text("4")
        check_page(walk, "drift")
        newer = {
            "version": "1.1.0",
            "body": BODY,
            "schema": SCHEMA,
        }
        admin.data("POST", f"templates/{pk}/versions", newer)
        page.get_by_role("link", name="Upgrade").click()
        expect(page.get_by_label("Version")).to_have_value("1.1.0")
        expect(page.get_by_label("replicas")).to_have_value("2")
        page.get_by_label("replicas").fill("3")
        page.get_by_role("button", name="Preview").click()
        expect(page.locator("#outcome")).to_contain_text("would be deleted")
        check_page(walk, "upgrade")
        page.locator("#value-form").get_by_role(
            "button",
            name="Upgrade",
        ).click()
        finish_action(page, admin, "deployed")
        assert (
            server.get(
                "deployments.apps",
                "web",
                SPACE,
            )
            or {}
        )["spec"]["replicas"] == 3
        assert server.get("configmaps", "web", SPACE) is None
        page.get_by_role("link", name="Roll back to 1.0.0").click()
        expect(page.get_by_text("would be created").first).to_be_visible()
        check_page(walk, "rollback")
        page.get_by_role("button", name="Roll back").click()
        finish_action(page, admin, "deployed")
        assert server.get("configmaps", "web", SPACE) is not None
        page.get_by_role("link", name="Undeploy").click()
        check_page(walk, "undeploy")
        page.get_by_role("button", name="Undeploy").click()
        finish_action(page, admin, "undeployed")
        assert server.get("deployments.apps", "web", SPACE) is None
        walk.open("/templates/deployments")
        expect(
            page.get_by_role(
                "link",
                name="shop",
                exact=True,
            )
        ).to_be_visible()
        check_page(walk, "deployments")


@pytest.mark.django_db(transaction=True)
def test_somebody_makes_a_template_of_what_runs(
    walk: Walk, cluster: Cluster, admin: Caller, space: str
) -> None:
    container = {
        "name": "main",
        "image": "web:1",
        "env": [{"name": "MODE", "value": "fast"}],
        "resources": {"limits": {"memory": "64Mi"}},
    }
    content = {
        "metadata": {"name": "web", "namespace": space},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [container]},
            },
        },
    }
    where = {"cluster_id": cluster.pk, "namespace": space}
    admin.data(
        "POST",
        "deployments",
        {**where, "content": content},
    )
    page = walk.open(f"/clusters/{cluster.pk}/deployments/{space}/web")
    page.get_by_role(
        "link",
        name="Make a template of this",
    ).click()
    expect(page.get_by_label("spec.replicas")).to_be_checked()
    expect(page.get_by_label("spec.template.spec.containers[0].env[0].value")).to_be_checked()
    page.get_by_label("spec.template.spec.containers[0].resources.limits.memory").uncheck()
    page.get_by_label("Name", exact=True).fill("Web of today")
    check_page(walk, "source")
    page.get_by_role("button", name="Create template").click()
    expect(
        page.get_by_role(
            "heading",
            name="Web of today",
        )
    ).to_be_visible()
    pk = page.url.rpartition("/")[2]
    version = admin.data("GET", f"templates/{pk}/versions/1.0.0")
    defaults = [part["default"] for part in version["schema"]["properties"].values()]
    # The API server has the limit as the request, too; that one stayed a parameter.
    assert sorted(
        map(
            str,
            defaults,
        )
    ) == ["2", "64Mi", "fast", "web:1"]
    assert "memory: 64Mi" in version["body"]
    # The same for the rows that are selected in a table.
    page = walk.open(f"/clusters/{cluster.pk}/deployments?namespace={space}")
    page.locator('#table tbody input[name="row"]').check()
    page.get_by_role("button", name="Make a template").click()
    expect(
        page.get_by_role(
            "heading",
            name="Make a template of this",
        )
    ).to_be_visible()
    expect(page.get_by_label("spec.replicas")).to_be_checked()
    # And one that is written here.
    page = walk.open("/templates/new")
    page.get_by_label("Name", exact=True).fill("By hand")
    page.get_by_role("textbox", name="Body").first.click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ name }}\n")
    check_page(walk, "new")
    page.get_by_role("button", name="Create template").click()
    expect(page.get_by_label("Manifests")).to_have_text(re.compile(r"name: \{\{ name \}\}\s*$"))


# --- without one ----------------------------------------------------------------------------------
def page_of(client: Client, address: str, status: int = 200) -> str:
    """The text of a page."""
    answer = client.get(address)
    assert answer.status_code == status, answer.content
    return answer.content.decode()


@pytest.mark.django_db
def test_templates_are_found_versioned_carried_over_and_deleted(
    visitor: Client, admin: Caller
) -> None:
    pk = make_template(admin)
    make_template(admin, "Other")
    assert "A &lt;b&gt;shop&lt;/b&gt;" in page_of(
        visitor,
        "/templates?keyword=Shop",
    )
    narrowed = page_of(visitor, "/templates?keyword=Other")
    assert f"/templates/{pk}/deploy" not in narrowed
    assert "Nothing fits the filter." in page_of(
        visitor,
        "/templates?category=db",
    )
    form = page_of(visitor, f"/templates/{pk}/versions/new")
    assert 'value="1.1.0"' in form
    answer = visitor.post(
        f"/templates/{pk}/versions/new",
        {
            "version": "1.1.0",
            "body": "a: {{ b }}",
            "schema": "{",
            "notes": "",
        },
    )
    assert answer.status_code == 400
    assert "The schema is not JSON" in answer.content.decode()
    entered = {
        "version": "1.1.0",
        "body": BODY,
        "schema": json.dumps(SCHEMA),
        "notes": "Newer",
    }
    answer = visitor.post(f"/templates/{pk}/versions/new", entered)
    assert answer.headers["Location"] == f"/templates/{pk}?version=1.1.0"
    shown = page_of(visitor, f"/templates/{pk}")
    assert "Newer" in shown
    assert "kind: ConfigMap" not in shown
    assert "kind: ConfigMap" in page_of(
        visitor,
        f"/templates/{pk}?version=1.0.0",
    )
    file = visitor.get(f"/templates/{pk}/export")
    assert "attachment" in file.headers["Content-Disposition"]
    assert (
        visitor.post(
            f"/templates/{pk}/delete",
            {"typed": "shop"},
        ).status_code
        == 400
    )
    answer = visitor.post(
        f"/templates/{pk}/delete",
        {"typed": "Shop"},
    )
    assert answer.headers["Location"] == "/templates"
    upload = SimpleUploadedFile("shop.json", file.content)
    answer = visitor.post("/templates/import", {"file": upload})
    address = answer.headers["Location"]
    assert "1.0.0" in page_of(visitor, address)
    changed = {
        "name": "Market",
        "description": "x\r\ny",
        "category": "",
        "tags": "a, b",
    }
    assert (
        visitor.post(
            f"{address}/change",
            changed,
        ).status_code
        == 302
    )
    row = admin.data("GET", address.removeprefix("/"))
    assert (row["name"], row["description"], row["tags"]) == ("Market", "x\ny", ["a", "b"])


@pytest.mark.django_db
def test_a_refused_deployment_keeps_what_was_entered_without_the_secret(
    visitor: Client, admin: Caller, cluster: Cluster, space: str
) -> None:
    pk = make_template(admin)
    entered = {
        "act": "deploy",
        "version": "1.0.0",
        "name": "Not A Label",
        "cluster": cluster.pk,
        "namespace": space,
        field_name(("name",)): "web",
        field_name(("password",)): SECRET,
    }
    answer = visitor.post(f"/templates/{pk}/deploy", entered)
    page = answer.content.decode()
    assert answer.status_code == 400
    assert 'data-field="name"' in page
    assert 'value="Not A Label"' in page
    assert 'value="web"' in page
    assert SECRET not in page
    rendered = visitor.post(
        f"/templates/{pk}/render",
        entered,
    ).content.decode()
    assert "name: web" in rendered
    assert SECRET not in rendered
    answer = visitor.post(
        f"/templates/{pk}/render",
        urlencode({field_name(("replicas",)): "many"}),
        content_type="application/x-www-form-urlencoded",
    )
    assert 'data-field="replicas"' in answer.content.decode()


@pytest.mark.django_db
def test_who_may_not_change_a_place_deploys_nothing_there(
    admin: Caller, cluster: Cluster, space: str, django_user_model: type[User]
) -> None:
    pk = make_template(admin)
    user = django_user_model.objects.create_user("looker")
    grants.give(
        user=user,
        role=Role.VIEWER,
        cluster=str(cluster.pk),
        namespace=space,
    )
    client = Client()
    assert client.get("/templates").headers["Location"].startswith("/signin")
    client.force_login(user)
    assert "Shop" in page_of(client, "/templates")
    entered = {
        "act": "deploy",
        "name": "shop",
        "cluster": cluster.pk,
        "namespace": space,
        field_name(("name",)): "web",
        field_name(("password",)): SECRET,
    }
    assert (
        client.post(
            f"/templates/{pk}/deploy",
            entered,
        ).status_code
        == 403
    )
    new = {
        "name": "Mine",
        "version": "1.0.0",
        "body": "a: 1",
        "schema": "{}",
        "scope": "all",
    }
    assert client.post("/templates/new", new).status_code == 403
    assert (
        client.post(
            f"/templates/{pk}/delete",
            {"typed": "Shop"},
        ).status_code
        == 403
    )
    assert admin.data("GET", "template-deployments")["total"] == 0
    page_of(client, "/templates/deployments/1", 404)


def test_what_kubegale_refuses_by_itself_is_no_refusal_of_the_cluster() -> None:
    taken = hints.for_code(1007, {"field": "name", "reason": "AlreadyExists"})
    assert "cluster" not in taken
    assert "names" in taken
    assert "cluster" in hints.for_code(1007, {"reason": "Invalid", "status": 422})
