"""Alerts in the console: what fires, rules and their test, silences, channels, and who sees what."""

import re
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from playwright.sync_api import expect

from access import grants
from alerts.models import Alert, Channel, Rule, Silence
from clusters.models import Cluster
from console.editing import condition_forms
from console.views import silences
from tests.alerts.conftest import emptied_store, live, pod, turn, write
from tests.caller import Caller
from tests.console.browser import Walk
from tests.console.test_templates import check_page

# Fixtures of the tests of alerts, used here as well.
__all__ = ["emptied_store", "live"]

LOOPING = {
    "kind": "Pod",
    "where": [
        {
            "path": "status.containerStatuses[*].state.waiting.reason",
            "op": "eq",
            "value": "CrashLoopBackOff",
        }
    ],
}
RULE = {
    "name": "checkout restarts",
    "severity": "critical",
    "source": "state",
    "condition": LOOPING,
    "for": "0s",
    "annotations": {"summary": "{{ $labels.name }} <b>restarts</b>", "runbook": "Read its log"},
}


def start_alert(admin: Caller, cluster: Cluster, **changes: Any) -> Alert:
    """An alert that fires, about the pod shop/web."""
    admin.data("POST", "alerts/rules", {**RULE, **changes})
    write(pod("web", waiting="CrashLoopBackOff"), cluster=cluster.name)
    turn()
    return Alert.objects.get(state="firing")


def visit(client: Client, address: str, **query: Any) -> str:
    """The text of a page that opens."""
    response = client.get(address, query)
    assert response.status_code == 200, (
        address,
        re.findall("<strong>.*?<", response.content.decode()),
    )
    return response.content.decode()


def visitor_of(user: User) -> Client:
    """A client with somebody's session."""
    client = Client()
    client.force_login(user)
    return client


def member(role: str, cluster: Cluster, namespace: str) -> Client:
    """Somebody with a role in one namespace."""
    user = get_user_model().objects.create_user(f"{role}-{namespace}")
    grants.give(user=user, role=grants.role_of(role), cluster=str(cluster.pk), namespace=namespace)
    return visitor_of(user)


@pytest.mark.django_db
def test_an_alert_is_listed_opened_acknowledged_and_silenced(
    visitor: Client, admin: Caller, live: Cluster
) -> None:
    alert = start_alert(admin, live)
    page = visit(visitor, "/alerts")
    assert "web &lt;b&gt;restarts&lt;/b&gt;" in page
    assert f'href="/clusters/{live.pk}/pods/shop/web"' in page
    assert 'aria-label="Alerts: 1 firing"' in page
    for filters, is_listed in (
        ({"severity": "critical", "namespace": "shop", "group": "namespace"}, True),
        ({"label": "kind=Pod, name=web"}, True),
        ({"label": "name=other"}, False),
        ({"state": "pending"}, False),
    ):
        assert ("restarts&lt;/b&gt;" in visit(visitor, "/alerts", **filters)) is is_listed, filters
    detail = visit(visitor, f"/alerts/{alert.pk}")
    for text in ("Read its log", "web-1", "/nodes/-/n1", "/pods/shop/web/logs", "Ready"):
        assert text in detail, text
    answer = visitor.post(
        f"/alerts/{alert.pk}/ack", {"comment": "I look", "back": f"/alerts/{alert.pk}"}
    )
    assert answer["Location"] == f"/alerts/{alert.pk}"
    assert "I look" in visit(visitor, f"/alerts/{alert.pk}")
    # Somebody else's address is no place to go back to.
    answer = visitor.post(f"/alerts/{alert.pk}/ack", {"back": "//example.com/alerts/"})
    assert answer["Location"] == "/alerts"
    form = visit(visitor, "/alerts/silences/new", alert=alert.pk)
    assert "alertname=&quot;checkout restarts&quot;" in form
    matchers = 'namespace=~"sh.*"\nname!="db"'
    shown = visitor.post("/alerts/silences/preview", {"matchers": matchers}).content.decode()
    assert "1 alert" in shown
    shown = visitor.post("/alerts/silences/preview", {"matchers": "name=db"}).content.decode()
    assert "0 alerts" in shown
    shown = visitor.post("/alerts/silences/preview", {"matchers": "nonsense"}).content.decode()
    assert "is no matcher" in shown
    visitor.post("/alerts/silences/new", {"matchers": matchers, "hours": "8", "comment": "known"})
    silence = Silence.objects.get()
    assert silence.matchers[0] == {
        "name": "namespace",
        "value": "sh.*",
        "regex": True,
        "equal": True,
    }
    assert round((silence.ends_at - silence.starts_at).total_seconds() / 60) == 8 * 60
    assert "silenced" in visit(visitor, "/alerts")
    assert "known" in visit(visitor, "/alerts/silences", state="active")
    visitor.post(f"/alerts/silences/{silence.pk}/end")
    assert "known" not in visit(visitor, "/alerts/silences", state="active")
    write(gone=[("Pod", "shop", "web")], cluster=live.name)
    turn()
    assert "restarts&lt;/b&gt;" not in visit(visitor, "/alerts")
    assert "restarts&lt;/b&gt;" in visit(visitor, "/alerts/history")
    # On the axis of time it began, and ended.
    timeline = visit(visitor, f"/clusters/{live.pk}/-/timeline", namespace="shop")
    assert "alert fired" in timeline
    assert "alert resolved" in timeline
    assert "restarts&lt;/b&gt;" in timeline
    address = f"/clusters/{live.pk}/-/timeline"
    assert "alert fired" not in visit(visitor, address, namespace="other")
    assert "alert fired" not in visit(visitor, address, lane="operation", hours="24")
    assert "alert fired" in visit(visitor, address, lane="alert", hours="nonsense")


@pytest.mark.django_db
def test_who_may_not_change_alerts_sees_no_buttons_and_no_alert_of_others(
    admin: Caller, live: Cluster
) -> None:
    alert = start_alert(admin, live)
    viewer = member("viewer", live, "shop")
    listed = visit(viewer, "/alerts")
    assert "restarts&lt;/b&gt;" in listed
    for address in ("/alerts", f"/alerts/{alert.pk}", "/alerts/silences", "/alerts/channels"):
        page = visit(viewer, address)
        for words in ("Acknowledge<", "Silence<", "New silence", "New channel"):
            assert words not in page, (address, words)
    rules = visit(viewer, "/alerts/rules")
    assert "Switch on<" not in rules
    assert "New rule" not in rules
    operator = member("operator", live, "bank")
    assert "restarts&lt;/b&gt;" not in visit(operator, "/alerts")
    assert 'aria-label="Alerts: 0 firing"' in visit(operator, "/alerts")
    assert operator.get(f"/alerts/{alert.pk}").status_code == 404
    assert "New rule" in visit(operator, "/alerts/rules")
    nobody = visitor_of(get_user_model().objects.create_user("nobody"))
    assert 'class="bell"' not in nobody.get("/").content.decode()


def badge(page: str) -> str:
    """The badge of an alert on a page or in a table, "" without one."""
    match = re.search(r'<a class="alert-badge.*?</a>', page, re.S)
    return match[0] if match else ""


def create_pod(
    admin: Caller,
    cluster: Cluster,
    namespace: str,
    name: str = "web",
) -> None:
    """A pod in the cluster itself, which keeps it for the tests that follow."""
    content = {
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"containers": [{"name": "c", "image": "a:1"}]},
    }
    body = {"cluster_id": cluster.pk, "content": content}
    assert admin.code("POST", "pods", body) in (0, 1007)


@pytest.mark.django_db
def test_an_alert_stands_where_its_object_does(
    visitor: Client, admin: Caller, live: Cluster
) -> None:
    for namespace in ("shop", "bank"):
        create_pod(admin, live, namespace)
    alert = start_alert(admin, live)
    base = f"/clusters/{live.pk}"
    places = (
        (f"{base}/pods", "alert-badge bad"),
        ("/all/pods", "alert-badge bad"),
        (f"{base}/namespaces", "alert-badge bad"),
        (f"{base}/pods/shop/web", "restarts"),
        (f"{base}/pods/shop/web/yaml", "restarts"),
        (f"{base}/namespaces/-/shop", "restarts"),
        (base, "restarts"),
        (f"{base}/-/alerts", "restarts"),
    )
    for address, words in places:
        shown = badge(visit(visitor, address))
        assert f'href="/alerts/{alert.pk}"' in shown, address
        assert words in shown, address
    for address in (f"{base}/pods/bank/web", f"{base}/namespaces/-/bank", f"{base}/nodes"):
        assert not badge(visit(visitor, address)), address
    # Of the two rows of that name one has it, and its mark tells the page that follows.
    table = visit(visitor, f"{base}/pods", q="web")
    assert table.count("alert-badge") == 1
    assert f'data-alerts="{alert.pk}c"' in table
    banker = member("viewer", live, "bank")
    for address in (f"{base}/pods", "/all/pods", f"{base}/namespaces", base):
        assert not badge(visit(banker, address)), address
    form = {"matchers": "name=web", "hours": "8", "comment": "known"}
    visitor.post("/alerts/silences/new", form)
    for address, _words in places:
        assert "silenced" in badge(visit(visitor, address)), address
    assert f'data-alerts="{alert.pk}s"' in visit(visitor, f"{base}/pods", q="web")


@pytest.mark.django_db
def test_badges_of_a_table_are_one_question(
    visitor: Client,
    admin: Caller,
    live: Cluster,
    django_assert_max_num_queries: Any,
) -> None:
    create_pod(admin, live, "shop")
    start_alert(admin, live)
    address = f"/clusters/{live.pk}/pods"
    with CaptureQueriesContext(connection) as few:
        visit(visitor, address)
    most = len(few)
    for number in range(4):
        name = f"loops-{number}"
        create_pod(admin, live, "shop", name)
        write(pod(name, waiting="CrashLoopBackOff"), cluster=live.name)
    turn()
    with django_assert_max_num_queries(most):
        assert visit(visitor, address).count("alert-badge") == 5


@pytest.mark.django_db
def test_a_rule_is_tried_saved_switched_and_deleted(
    visitor: Client, admin: Caller, live: Cluster
) -> None:
    write(pod("web", waiting="CrashLoopBackOff"), cluster=live.name)
    form = {
        "name": "loops",
        "severity": "critical",
        "source": "state",
        "written": "fields",
        "kind": "Pod",
        "path": [LOOPING["where"][0]["path"], "metadata.labels.app", ""],
        "op": ["eq", "in", "eq"],
        "value": ["CrashLoopBackOff", "web, shop", ""],
        "after": "2m",
        "repeat": "4h",
        "clusters": [str(live.pk)],
        "namespaces": "shop",
        "labels": "team: 7",
        "annotations": "summary: loops",
        "group_by": "namespace",
        "no_data": "keep",
        "enabled": "1",
    }
    shown = visitor.post("/alerts/rules/test", form).content.decode()
    assert "1 match now" in shown
    assert 'hx-swap-oob="true"' in shown
    refused = visitor.post("/alerts/rules/new", {**form, "after": "soon"})
    assert refused.status_code == 400
    assert "For must be a duration" in refused.content.decode()
    assert 'value="metadata.labels.app"' in refused.content.decode()
    answer = visitor.post("/alerts/rules/new", form)
    rule = Rule.objects.get()
    assert answer["Location"] == f"/alerts/rules/{rule.pk}"
    assert rule.condition["where"] == [
        LOOPING["where"][0],
        {"path": "metadata.labels.app", "op": "in", "value": ["web", "shop"]},
    ]
    assert (rule.for_seconds, rule.labels, rule.group_by) == (120, {"team": "7"}, ["namespace"])
    assert rule.scope == {"clusters": [live.pk], "namespaces": ["shop"]}
    edited = visit(visitor, f"/alerts/rules/{rule.pk}/change")
    assert 'value="[&quot;web&quot;, &quot;shop&quot;]"' in edited
    yaml = {**form, "written": "yaml", "condition_yaml": "kind: Pod\nwhere:\n- path: a\n  value: 1"}
    visitor.post(f"/alerts/rules/{rule.pk}/change", yaml)
    rule.refresh_from_db()
    assert rule.condition == {"kind": "Pod", "where": [{"path": "a", "value": 1}]}
    broken = visitor.post("/alerts/rules/test", {**yaml, "condition_yaml": "a: ["}).content.decode()
    assert "not valid YAML" in broken
    visitor.post(f"/alerts/rules/{rule.pk}/disable")
    assert "switched off" in visit(visitor, f"/alerts/rules/{rule.pk}")
    visitor.post("/alerts/rules/presets", {"preset": "crash-looping"})
    assert Rule.objects.filter(preset="crash-looping", enabled=True).exists()
    assert 'value="85"' not in visit(visitor, "/alerts/rules/new", preset="quota-nearly-used")
    visitor.post(f"/alerts/rules/{rule.pk}/delete")
    assert not Rule.objects.filter(pk=rule.pk).exists()
    group = {
        "name": "g",
        "rules": [
            {"alert": "Down", "expr": "up == 0", "for": "5m"},
            {"record": "a:b", "expr": "sum(up)"},
        ],
    }
    imported = visitor.post("/alerts/rules/import", {"content": str({"groups": [group]})})
    assert "1 rule was imported" in imported.content.decode()
    assert "What could not be taken over" in imported.content.decode()
    exported = visitor.get("/alerts/rules/export")
    assert "attachment" in exported["Content-Disposition"]
    assert "up == 0" in exported.content.decode()


@pytest.mark.django_db
def test_a_channel_is_made_tried_and_never_shows_its_secret(
    visitor: Client, admin: Caller, live: Cluster
) -> None:
    form = {"name": "ops", "kind": "webhook", "language": "en", "enabled": "1"}
    refused = visitor.post("/alerts/channels/new", {**form, "url": "http://169.254.169.254/"})
    assert refused.status_code == 400
    made = visitor.post("/alerts/channels/new", {**form, "url": "https://example.invalid/x"})
    secret = re.search(r'id="secret">([^<]+)<', made.content.decode())
    assert secret
    channel = Channel.objects.get()
    for address in ("/alerts/channels", f"/alerts/channels/{channel.pk}/change"):
        assert secret[1] not in visit(visitor, address)
    visitor.post(
        f"/alerts/channels/{channel.pk}/change",
        {**form, "name": "night", "url": "https://example.invalid/x", "secret": ""},
    )
    channel.refresh_from_db()
    assert channel.name == "night"
    assert secret[1] in channel.config
    # The receiver's name exists nowhere.
    shown = visitor.post(f"/alerts/channels/{channel.pk}/test").content.decode()
    assert "failed" in shown
    assert "night" in visit(visitor, "/alerts/deliveries", channel_id=channel.pk)
    visitor.post(f"/alerts/channels/{channel.pk}/delete")
    assert not Channel.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_somebody_follows_an_alert_and_writes_a_rule(
    walk: Walk, admin: Caller, live: Cluster, emptied_store: None
) -> None:
    create_pod(admin, live, "shop")
    alert = start_alert(admin, live)
    page = walk.open("/alerts")
    expect(page.get_by_role("link", name="Alerts: 1 firing")).to_be_visible()
    check_page(walk, "alerts")
    page.get_by_role("button", name="Acknowledge: web").click()
    expect(page.locator("#alerts").get_by_text("acknowledged by")).to_be_visible()
    page.get_by_role("link", name="Silence: web").click()
    expect(page.locator("#preview li")).to_have_count(1)
    page.get_by_label("Matchers").fill('name="other"')
    expect(page.locator("#preview")).to_contain_text("0 alerts")
    check_page(walk, "silence")
    walk.open(f"/alerts/{alert.pk}")
    check_page(walk, "alert")
    walk.open(f"/clusters/{live.pk}/pods?q=web&namespace=shop")
    expect(page.locator("tbody .alert-badge.bad")).to_have_count(1)
    check_page(walk, "alert-badge")
    matcher = {"name": "name", "value": "web", "regex": False, "equal": True}
    Silence.objects.create(
        matchers=[matcher],
        starts_at=timezone.now(),
        ends_at=timezone.now() + timezone.timedelta(hours=1),
        created_by=User.objects.filter(is_superuser=True)[0],
    )
    # The row is as it was: what is said beside it follows nevertheless.
    expect(page.locator("tbody .alert-badge.silenced")).to_have_count(1)
    walk.open(f"/clusters/{live.pk}/pods/shop/web")
    expect(page.locator("#object-alerts .alert-badge.silenced")).to_be_visible()
    check_page(walk, "alert-of-object")
    walk.open("/alerts/rules")
    check_page(walk, "rules")
    walk.open("/alerts/rules/new")
    matches = page.locator("#rule-test")
    expect(matches).to_contain_text("0 matches now")
    page.get_by_label("Path 1").fill("metadata.name")
    page.get_by_label("Value 1").fill("web")
    expect(matches).to_contain_text("1 match now")
    page.get_by_label("YAML", exact=True).check()
    writing = page.get_by_label("Condition as YAML or JSON")
    expect(writing).to_have_value(re.compile("path: metadata.name"))
    expect(page.get_by_label("Path 1")).to_be_hidden()
    writing.fill("kind: Pod\nwhere:\n- path: metadata.name\n  value: other")
    expect(matches).to_contain_text("0 matches now")
    page.get_by_label("Fields", exact=True).check()
    expect(page.get_by_label("Value 1")).to_have_value("other")
    page.get_by_label("Source").select_option("metric")
    expect(page.get_by_label("Path 1")).to_be_hidden()
    expect(page.locator('select[name="metric"]')).to_be_visible()
    check_page(walk, "rule")
    page.get_by_label("Source").select_option("state")
    page.get_by_label("Name", exact=True).fill("others")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="others")).to_be_visible()
    check_page(walk, "rule-detail")
    walk.open("/alerts/channels/new")
    page.get_by_label("Kind").select_option("mail")
    expect(page.get_by_label("Address")).to_be_hidden()
    page.get_by_label("Recipients").fill("ops@example.com")
    page.get_by_label("Name", exact=True).fill("mails")
    check_page(walk, "channel")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("button", name="Test mails")).to_be_visible()
    check_page(walk, "channels")


@pytest.mark.parametrize(
    "text",
    ["CrashLoopBackOff", "True", "3", '"3"', "true", '["a", 1]', "NaN", "[", ""],
)
def test_values_of_conditions_are_read_as_they_are_shown(text: str) -> None:
    value = condition_forms.parse_value(text)
    assert condition_forms.parse_value(condition_forms.value_text(value)) == value
    assert isinstance(value, str) is (text not in ("3", "true", '["a", 1]'))


def test_matchers_are_read_as_they_are_shown() -> None:
    text = 'a="x \\"y\\""\nb=~"c.*"\nd!=""\ne!~f'
    matchers = silences.parse_matchers(text)
    assert [matcher["value"] for matcher in matchers] == ['x "y"', "c.*", "", "f"]
    again = "\n".join(silences.matcher_text(matcher) for matcher in matchers)
    assert silences.parse_matchers(again) == matchers
