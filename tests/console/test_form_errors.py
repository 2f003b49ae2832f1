"""Wrong values in the console's forms: what is said, where, in whose words, and what stays."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import expect

from clusters.models import Cluster
from console.rendering.page_forms import Control, read_forms
from tests.console.conftest import Make, Walker
from tests.vkube import eventually

# A path of the API, or a name in its code: nothing that a page calls a field.
MACHINE_WORD = re.compile(
    r"\b(spec|metadata|hard|config|targets|params|schedule|quotas|condition)[.\[]\w"
    r"|\b[a-z]+_[a-z_]+\b|\b[a-z]+[A-Z]\w*\b"
)
CHINESE = re.compile(r"[\u4e00-\u9fff]")


class Mistake(NamedTuple):
    """What is sent instead of a good value, and the label of the field that is wrong."""

    values: Mapping[str, Any]
    label: str


class Filled(NamedTuple):
    """A form: its address, good values, and what people enter instead."""

    address: str
    values: Mapping[str, Any]
    mistakes: tuple[Mistake, ...]


PLANS = Filled(
    "/tenants/plans",
    {"name": "plan-a", "description": "for teams"},
    (
        Mistake({"hard.limitCpu": "a lot"}, "CPU limit"),
        Mistake({}, "Limits"),
        Mistake({"name": "A b", "hard.pods": "1"}, "Name"),
    ),
)
TENANTS = Filled(
    "/tenants/new",
    {"name": "shop", "contact": "ada@example.com", "role": "viewer"},
    (
        Mistake({"hard.requestsMemory": "-"}, "Memory request"),
        Mistake({"name": "Shop"}, "Name"),
        Mistake({"member": "nobody"}, "First member"),
        Mistake({"plan": "none-such"}, "Quota plan"),
        Mistake({"pod_security": "tight"}, "Pod security"),
    ),
)
TOKENS = Filled(
    "/tokens",
    {"name": "ci", "days": "3"},
    (
        Mistake({"name": ""}, "What it is for"),
        Mistake({"days": "soon"}, "Expires in days"),
        Mistake({"days": "-3"}, "Expires in days"),
        Mistake({"scopes": ["all"]}, "Scopes"),
    ),
)
PASSWORD = Filled(
    "/password",
    {"password": "a", "new_password": "b", "again": "b"},
    (
        Mistake({"again": "c"}, "Repeat the new password"),
        Mistake({}, "Current password"),
    ),
)
PERSON = {"what": "person", "username": "eve", "password": "long-enough-4711", "role": "viewer"}
PEOPLE = Filled(
    "/people",
    PERSON,
    (
        Mistake({"username": "a b!"}, "Username"),
        Mistake({"password": "1"}, "Password"),
        Mistake({"email": "x"}, "Email"),
        Mistake({"role": "king"}, "Role"),
        Mistake({"namespace": "x"}, "Cluster"),
    ),
)
GRANTS = Filled(
    "/people",
    {"what": "grant", "subject": "nobody", "role": "viewer"},
    (Mistake({}, "To"), Mistake({"is_group": "1"}, "To")),
)
GROUPS = Filled("/groups", {}, (Mistake({"name": "system:x"}, "Name"),))
PERSON_PAGE = Filled("/people/ada", {}, (Mistake({"email": "x"}, "Email"),))
RULES = Filled(
    "/alerts/rules/new",
    {
        "name": "rule",
        "severity": "info",
        "source": "state",
        "written": "fields",
        "after": "5m",
        "kind": "Pod",
        "path": "a",
        "op": "eq",
        "value": "1",
    },
    (
        Mistake({"name": ""}, "Name"),
        Mistake({"after": "soon"}, "For"),
        Mistake({"kind": "Nothing"}, "Kind"),
        Mistake({"path": ""}, "Comparisons"),
        Mistake({"path": "["}, "Path 1"),
        Mistake({"count_op": "gt", "count_value": "x"}, "Number"),
        Mistake({"changed_path": "a", "changed_by": "x"}, "By"),
        Mistake({"changed_path": "a", "changed_by": "1", "changed_within": "x"}, "Within"),
        Mistake({"source": "metric", "metric": "x"}, "Metric"),
        Mistake(
            {"source": "metric", "metric": "cluster/up", "metric_op": "gt", "metric_value": "x"},
            "Value",
        ),
        Mistake({"source": "promql"}, "Query"),
        Mistake({"written": "yaml", "condition_yaml": "["}, "Condition as YAML"),
        Mistake({"written": "yaml", "condition_yaml": "words"}, "Condition as YAML"),
        Mistake({"namespaces": "A b"}, "Namespaces"),
        Mistake({"repeat": "x"}, "Repeated every"),
        Mistake({"group_by": "a b"}, "Grouped by"),
        Mistake({"labels": "["}, "Labels"),
        Mistake({"annotations": "x"}, "Annotations"),
        Mistake({"no_data": "x"}, "Without data"),
    ),
)
CHANNELS = Filled(
    "/alerts/channels/new",
    {"name": "pager", "kind": "webhook", "language": "en", "url": "https://example.com/"},
    (
        Mistake({"name": ""}, "Name"),
        Mistake({"url": "x"}, "Address"),
        Mistake({"kind": "mail", "to": "x"}, "Recipients"),
    ),
)
SILENCES = Filled(
    "/alerts/silences/new",
    {"matchers": 'a="b"', "hours": "2"},
    (
        Mistake({"matchers": "x"}, "Matchers"),
        Mistake({"matchers": 'a=~"["'}, "Matchers"),
        Mistake({"starts_at": "x"}, "Begins"),
        Mistake({"ends_at": "2001-01-01T00:00:00Z"}, "Ends"),
    ),
)
TEMPLATES = Filled(
    "/templates/new",
    {"name": "a", "version": "1.0.0", "body": "a: b", "schema": "{}"},
    (
        Mistake({"name": ""}, "Name"),
        Mistake({"version": "x"}, "Version"),
        Mistake({"body": ""}, "Body"),
        Mistake({"schema": "["}, "Schema"),
    ),
)
ORDERS = Filled(
    "/orders/new",
    {"plan": "x", "units": "1", "duration": "24"},
    (Mistake({}, "Plan"), Mistake({"duration": "x"}, "Duration in hours")),
)
REGISTER = Filled(
    "/clusters/register",
    {"name": "other", "act": "try"},
    (
        Mistake({"name": "", "kubeconfig": "a: b"}, "Name"),
        Mistake({"kubeconfig": "words"}, "Kubeconfig"),
        Mistake({"kubeconfig": ""}, "Kubeconfig"),
    ),
)
TASKS = Filled(
    "/automation/new",
    {"type": "cleanup", "name": "tidy", "act": "save", "when": "none"},
    (
        Mistake({"name": ""}, "Name"),
        Mistake({"when": "cron", "cron": "x", "timezone": "UTC"}, "Cron expression"),
        Mistake({"when": "cron", "cron": "* * * * *", "timezone": "Moon"}, "Time zone"),
        Mistake({"timeout": "x"}, "Timeout"),
        Mistake({"retries": "x"}, "Retries"),
        Mistake({"deadline": "x"}, "Deadline"),
    ),
)
FORMS = {
    "tenants": (PLANS, TENANTS),
    "people": (TOKENS, PASSWORD, PEOPLE, GRANTS, GROUPS, PERSON_PAGE),
    "alerts": (RULES, CHANNELS, SILENCES),
    "others": (TEMPLATES, ORDERS, REGISTER, TASKS),
}


def invalid_controls(page: str) -> list[Control]:
    """The controls that are marked as wrong."""
    return [
        control
        for form in read_forms(page).forms
        for control in form.controls
        if control.element.attributes.get("aria-invalid") == "true"
    ]


def problem_text(page: str) -> str:
    """What the page says above the form."""
    (problem,) = read_forms(page).problems
    text = page[problem.start_tag.end : problem.end]
    # What stands in quotes are values.
    return re.sub(r"&#x27;.*?&#x27;|&quot;.*?&quot;", "", text)


def check_refused(page: str, values: Mapping[str, Any], label: str) -> Control:
    """Check that a page names the field, marks it and keeps what was typed; the field."""
    text = problem_text(page)
    controls = invalid_controls(page)
    assert controls, (values, text)
    first = controls[0]
    attributes = first.element.attributes
    assert not MACHINE_WORD.search(text), (values, text)
    assert "autofocus" in attributes
    assert page.count(" autofocus") == 1
    assert f'id="{attributes["aria-describedby"].split()[-1]}"' in page
    if label:
        titles = (first.title, first.legend)
        assert any(title.startswith(label) for title in titles), (values, text, titles)
        assert any(title in text for title in titles), (values, text)
    typed = values.get(first.name)
    if isinstance(typed, str) and first.type == "text" and "data-moment" not in attributes:
        assert attributes.get("value", "") == typed
    return first


@pytest.mark.parametrize("area", FORMS)
def test_what_is_wrong_is_said_at_its_field_in_the_words_of_the_page(
    visitor: Client, cluster: Cluster, area: str
) -> None:
    for filled in FORMS[area]:
        for mistake in filled.mistakes:
            values = {"cluster_id": cluster.pk, **filled.values, **mistake.values}
            if filled is not TENANTS:
                del values["cluster_id"]
            answer = visitor.post(filled.address, values)
            assert answer.status_code in (400, 404, 422), values
            field = check_refused(answer.content.decode(), values, mistake.label)
            answer = visitor.post(filled.address, values, HTTP_ACCEPT_LANGUAGE="zh-hans")
            page = answer.content.decode()
            assert check_refused(page, values, "").name == field.name
            assert CHINESE.search(problem_text(page)), values


def test_forms_of_a_tenant_a_cluster_and_a_container_say_it_too(
    visitor: Client, cluster: Cluster, make: Make
) -> None:
    tenant = {"cluster_id": cluster.pk, "name": f"{make.space}-x", "hard.pods": "3"}
    made = visitor.post("/tenants/new", tenant)
    assert made.status_code == 302, problem_text(made.content.decode())
    wrong = {"quota": "quota", "hard.limitCpu": "much"}
    page = visitor.post(f"{made['Location']}/change", wrong).content.decode()
    assert check_refused(page, wrong, "CPU limit").name == "hard.limitCpu"
    assert re.search(r'<details class="more" open>', page)
    wrong = {"username": "nobody", "role": "viewer"}
    page = visitor.post(f"{made['Location']}/members", wrong).content.decode()
    assert check_refused(page, wrong, "Username").name == "username"
    wrong = {"name": "", "description": "kept", "prometheus": "x", "namespaces": ""}
    page = visitor.post(f"/clusters/{cluster.pk}/-/change", wrong).content.decode()
    assert check_refused(page, wrong, "Name").name == "name"
    assert 'value="kept"' in page
    make("configmaps", {"metadata": {"name": "settings"}, "data": {"a": "b"}})
    at = f"/clusters/{cluster.pk}/configmaps/{make.space}/settings"
    wrong = {"key": "", "value": "typed", "version": "1"}
    page = visitor.post(f"{at}/keys/edit", wrong).content.decode()
    assert check_refused(page, wrong, "Key").name == "key"
    assert "typed" in page


def test_the_field_has_the_focus_also_where_the_page_stays(
    walker: Walker, person: User, cluster: Cluster
) -> None:
    walk = walker(person)
    page = walk.open("/tenants/plans")
    page.get_by_label("Name", exact=True).last.fill("plan-a")
    limit = page.get_by_label("Memory limit")
    limit.fill("a lot")
    page.get_by_role("button", name="Create a plan").press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("Memory limit must be a quantity")
    expect(limit).to_be_focused()
    expect(limit).to_have_value("a lot")
    expect(limit).to_have_accessible_description(re.compile("Memory limit must be a quantity"))
    assert walk.axe() == []
    walk.picture("plan")
    page.emulate_media(color_scheme="dark")
    eventually(lambda: not walk.axe())
    page = walk.open("/clusters/register")
    page.locator("#register input[name=name]").fill("other")
    kubeconfig = page.locator("textarea[name=kubeconfig]")
    kubeconfig.fill("words")
    page.get_by_role("button", name="Try the connection").press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("Kubeconfig: lines of the form")
    expect(kubeconfig).to_be_focused()
    expect(kubeconfig).to_have_value("words")
    page = walk.open("/automation/new?type=scale")
    expect(page.get_by_label("Where an autoscaler sets the replicas")).to_contain_text(
        "change its minimum"
    )
    page.locator("input[name=name]").last.fill("nightly")
    timeout = page.locator("input[name=timeout]").last
    timeout.fill("soon")
    page.get_by_role("button", name="Save", exact=True).press("Enter")
    expect(page.locator("form .field-error")).to_contain_text("must be")
    assert not MACHINE_WORD.search(page.get_by_role("alert").inner_text())
    walk.picture("task")
