"""Django's admin site: a page for every model, read only where the system alone writes."""

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import User
from django.db.models import Model
from django.test import Client
from playwright.sync_api import expect

from clusters.models import Cluster
from operations import lifecycle
from tests.console.conftest import Walker
from workloads.models import Recording, RecordingChunk

pytestmark = pytest.mark.django_db
OURS = (
    "clusters",
    "operations",
    "access",
    "workloads",
    "storage_api",
    "tenants",
    "billing",
    "manifest_templates",
)


def models() -> list[type[Model]]:
    """Every model of ours."""
    return [model for app in OURS for model in apps.get_app_config(app).get_models()]


def test_every_model_has_its_page_or_stands_on_that_of_another(visitor: Client) -> None:
    # The pages are registered with the first address that is asked for.
    visitor.get("/admin/")
    inside = {inline.model for page in admin.site._registry.values() for inline in page.inlines}
    for model in models():
        if model not in admin.site._registry:
            assert model in inside, f"{model._meta.label} is nowhere in the admin site"
            continue
        answer = visitor.get(f"/admin/{model._meta.app_label}/{model._meta.model_name}/")
        assert answer.status_code == 200, model._meta.label
        page = admin.site._registry[model]
        assert page.list_display != ("__str__",), f"the list of {model._meta.label} has no columns"


def test_models_have_an_english_plural_and_the_pages_an_icon(visitor: Client) -> None:
    for model in models():
        plural = str(model._meta.verbose_name_plural)
        assert not plural.endswith(("ss", "xs", "ys")), f"{model._meta.label}: {plural}"
    page = visitor.get("/admin/").content.decode()
    assert '<link rel="icon" href="/static/console/icon.svg"' in " ".join(page.split())


def test_an_operation_is_looked_at_with_its_steps_and_stopped(
    visitor: Client, cluster: Cluster
) -> None:
    row = lifecycle.create(
        "rollout",
        lifecycle.OperationTarget(cluster, "deployments", "shop", "web"),
        requested_by="ada",
        parameters={"k": "v"},
    )
    lifecycle.plan(row, [lifecycle.Step("1", "shop/web <b>")])
    page = visitor.get(f"/admin/operations/operation/{row.pk}/change/").content.decode()
    assert "shop/web &lt;b&gt;" in page
    visitor.post(
        "/admin/operations/operation/", {"action": "stop", "_selected_action": [str(row.pk)]}
    )
    row.refresh_from_db()
    assert row.state == "cancelled"


def test_what_was_typed_in_a_terminal_is_not_in_the_admin_site(
    visitor: Client, cluster: Cluster
) -> None:
    recording = Recording.objects.create(
        session="s", username="ada", cluster=cluster, namespace="shop", pod="web"
    )
    RecordingChunk.objects.create(recording=recording, number=0, events='[0.1,"o","top secret"]')
    page = visitor.get(f"/admin/workloads/recording/{recording.pk}/change/")
    assert page.status_code == 200
    assert "top secret" not in page.content.decode()


def test_its_pages_work_under_a_policy_without_inline_scripts(walker: Walker, person: User) -> None:
    """The walk fails on whatever the policy had to stop."""
    walk = walker(person)
    page = walk.open("/admin/")
    expect(page.locator("html:not([x-cloak])")).to_have_count(1)
    for path in ("auth/user/", "access/grant/add/", "django_celery_beat/periodictask/add/"):
        page = walk.open(f"/admin/{path}")
        expect(page.locator("html:not([x-cloak])")).to_have_count(1)
