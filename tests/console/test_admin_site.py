"""Django's admin site: a page for every model, read only where the system alone writes."""

from datetime import UTC, datetime
from typing import cast

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import connection
from django.db.models import Field, Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils.translation import override
from playwright.sync_api import expect

from clusters.models import Cluster
from core.api.admin import ModelAdmin
from operations import lifecycle
from tests.console.admin_rows import SECRET, make_row
from tests.console.conftest import Walker
from workloads.models import Recording, RecordingChunk, Sample

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


def test_lists_and_pages_of_every_model_open_with_rows_and_few_statements(visitor: Client) -> None:
    visitor.get("/admin/")
    crowded: list[tuple[str, list[int]]] = []
    for model in admin.site._registry:
        options = model._meta
        address = f"/admin/{options.app_label}/{options.model_name}/"
        statements: list[int] = []
        for rows in (2, 6):
            row = [make_row(model) for _ in range(rows)][-1]
            # The frame remembers the clusters for seconds.
            cache.clear()
            with CaptureQueriesContext(connection) as queries:
                page = visitor.get(address)
            assert page.status_code == 200, address
            assert SECRET not in page.content.decode(), address
            statements.append(len(queries))
        # More rows ask for no more statements.
        if statements[1] > min(statements[0] + 1, 40):
            crowded.append((address, statements))
        with CaptureQueriesContext(connection) as queries:
            page = visitor.get(f"{address}{quote(row.pk)}/change/")
        assert page.status_code == 200, address
        assert SECRET not in page.content.decode(), address
        assert len(queries) <= 40, (address, len(queries))
    assert crowded == []


def test_every_list_is_searched_and_says_moments_in_the_viewers_zone(visitor: Client) -> None:
    visitor.get("/admin/")
    for model, pages in admin.site._registry.items():
        if not isinstance(pages, ModelAdmin):
            continue
        assert pages.search_fields, f"the list of {model._meta.label} has no search"
        address = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
        assert visitor.get(f"{address}?q=web").status_code == 200, address
    moment = datetime(2026, 1, 2, 20, 30, tzinfo=UTC)
    sample = cast(Sample, make_row(Sample))
    Sample.objects.filter(pk=sample.pk).update(at=moment)
    visitor.cookies["zone"] = "Asia/Shanghai"
    page = visitor.get("/admin/workloads/sample/").content.decode()
    assert "2026-01-03 04:30:00" in page


def test_models_have_an_english_plural_and_the_pages_an_icon(visitor: Client) -> None:
    for model in models():
        plural = str(model._meta.verbose_name_plural)
        assert not plural.endswith(("ss", "xs", "ys")), f"{model._meta.label}: {plural}"
    page = visitor.get("/admin/").content.decode()
    assert '<link rel="icon" href="/static/console/icon.svg"' in " ".join(page.split())
    # The console's frame: its search, its menu, the way back.
    assert 'action="/search"' in page
    assert '<a href="/">←' in page


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


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_its_pages_work_under_the_policy_and_for_everybody(
    walker: Walker, person: User, scheme: str
) -> None:
    """The walk fails on whatever the policy had to stop."""
    walk = walker(person, color_scheme=scheme)
    paths = ("", "auth/user/", "access/auditentry/", "access/grant/add/", "auth/user/add/")
    for path in (*paths, "django_celery_beat/periodictask/add/"):
        page = walk.open(f"/admin/{path}")
        expect(page.locator("h1")).to_have_count(1)
        assert walk.axe() == [], path
        assert not walk.is_wider_than_the_window(), path


SPOKEN = {*OURS, "alerts", "automation"}
# Names of products and of programs are the same in Chinese.
NAMES = {"Webhook", "Slack", "mesos", "k8s", "doc", "go"}


def test_choices_are_said_in_the_viewers_language(visitor: Client, cluster: Cluster) -> None:
    target = lifecycle.OperationTarget(cluster, "deployments", "team-a", "web")
    lifecycle.create("rollout", target, requested_by="ada", parameters={})
    address = "/admin/operations/operation/"
    english = visitor.get(address).content.decode()
    assert "Interrupted" in english
    visitor.cookies["language"] = "zh-hans"
    chinese = visitor.get(address).content.decode()
    assert "已中断" in chinese
    assert "Interrupted" not in chinese
    assert '<td class="field-state">等待中</td>' in chinese
    with override("zh-hans"):
        labels = {
            str(label)
            for model in admin.site._registry
            for field in model._meta.get_fields()
            if isinstance(field, Field) and model._meta.app_label in SPOKEN
            for _, label in field.flatchoices
        }
        titles = {str(model._meta.verbose_name_plural) for model in admin.site._registry}
    assert {label for label in labels if label.isascii()} == NAMES
    assert {title for title in titles if title.isascii()} == {"Webhook"}
