"""Rules, alerts and silences over the wire: what is refused, and who sees and does what."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.utils import timezone

from access import grants
from access.models import AuditEntry
from alerts import context
from alerts.models import Alert
from clusters.models import Cluster
from tests.alerts.conftest import pod, turn, write
from tests.alerts.test_evaluation import LOOPING, RULE, alerts, make
from tests.caller import Caller

Member = Callable[[str, str], Caller]


def term(**members: Any) -> dict[str, Any]:
    """A condition of one comparison."""
    return {"kind": "Pod", "where": [members]}


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "unknown member": ({"colour": 1}, "colour"),
    "unknown member of the scope": ({"scope": {"cluster": [1]}}, "scope.cluster"),
    "a scope without clusters": ({"scope": {"clusters": []}}, "scope.clusters"),
    "a scope without namespaces": ({"scope": {"namespaces": []}}, "scope.namespaces"),
    "unknown kind": ({"condition": {**LOOPING, "kind": "Gizmo"}}, "condition.kind"),
    "unknown member of the condition": (
        {"condition": {**LOOPING, "script": "x"}},
        "condition.script",
    ),
    "unknown member of a comparison": (
        {"condition": term(path="a", op="eq", value=1, flags="i")},
        "condition.where[0].flags",
    ),
    "unknown operator": (
        {"condition": term(path="a", op="like", value=1)},
        "condition.where[0].op",
    ),
    "no path": ({"condition": term(op="eq", value=1)}, "condition.where[0].path"),
    "descent": ({"condition": term(path="$..a", op="eq", value=1)}, "condition.where[0].path"),
    "script in a path": (
        {"condition": term(path="a[?(@.b > 1 || true)]", op="eq", value=1)},
        "condition.where[0].path",
    ),
    "broken pattern": (
        {"condition": term(path="a", op="matches", value="(")},
        "condition.where[0].value",
    ),
    "back reference": (
        {"condition": term(path="a", op="matches", value=r"(a+)\1")},
        "condition.where[0].value",
    ),
    "object as a value": (
        {"condition": term(path="a", op="eq", value={})},
        "condition.where[0].value",
    ),
    "values of Secrets": (
        {"condition": {"kind": "Secret", "where": [{"path": "data.password", "value": "x"}]}},
        "condition.where[0].path",
    ),
    "values of Secrets in brackets": (
        {"condition": {"kind": "secrets", "where": [{"path": "['data']['k']", "op": "exists"}]}},
        "condition.where[0].path",
    ),
    "unknown metric": (
        {"source": "metric", "condition": {"metric": "x", "of": "cluster", "value": 1}},
        "condition.metric",
    ),
    "lines in a name": ({"name": "a\r\nBcc: b@example.com"}, "name"),
    "no duration": ({"for": "soon"}, "for"),
    "no severity": ({"severity": "loud"}, "severity"),
    "no channel": ({"channels": [77]}, "channels"),
    "own label": ({"labels": {"alertname": "x"}}, "labels.alertname"),
    "no selector": ({"scope": {"labelSelector": "a in"}}, "scope.labelSelector"),
    "no preset": ({"preset": "nothing"}, "preset"),
}


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_what_a_rule_cannot_be_is_named(admin: Caller, fleet: Cluster, case: str) -> None:
    changes, field = REFUSED[case]
    for path in ("alerts/rules", "alerts/rules/test"):
        answer = admin("POST", path, {**RULE, **changes})
        if case == "no channel" and path.endswith("test"):
            continue
        assert (answer["code"], answer["data"].get("field")) == (1001, field), answer


OPERATORS: dict[str, tuple[dict[str, Any], bool]] = {
    "eq": ({"path": "status.phase", "value": "Pending"}, True),
    "eq of another type": ({"path": "status.phase", "value": 1}, False),
    "ne": ({"path": "status.phase", "op": "ne", "value": "Running"}, True),
    "ne of what is absent": ({"path": "spec.nothing", "op": "ne", "value": 1}, True),
    "in": ({"path": "status.phase", "op": "in", "value": ["Failed", "Pending"]}, True),
    "gt": (
        {"path": "status.containerStatuses[*].restartCount", "op": "gt", "value": 2},
        True,
    ),
    "le": ({"path": "status.containerStatuses[0].restartCount", "op": "le", "value": 2}, False),
    "exists": ({"path": "metadata.annotations", "op": "exists", "value": False}, True),
    "exists by default": ({"path": "spec.nodeName", "op": "exists"}, True),
    "matches": ({"path": "metadata.name", "op": "matches", "value": "^w[a-f]b$"}, True),
    "filter": (
        {"path": '$.status.conditions[?(@.type=="Ready")].status', "value": "False"},
        True,
    ),
    "filter of kubectl": (
        {"path": "{.status.conditions[?(@.type=='Ready')].status}", "value": "True"},
        False,
    ),
    "key in brackets": ({"path": "metadata.labels['app']", "value": "web"}, True),
}


@pytest.mark.parametrize("case", sorted(OPERATORS))
def test_comparisons(admin: Caller, fleet: Cluster, case: str) -> None:
    comparison, holds = OPERATORS[case]
    write(pod("web", waiting="CrashLoopBackOff", restarts=3))
    body = {"source": "state", "condition": {"kind": "Pod", "where": [comparison]}}
    answer = admin.data("POST", "alerts/rules/test", body)
    assert [match["labels"]["name"] for match in answer["matches"]] == ["web"] * holds
    assert answer["took_ms"] > 0
    assert admin.data("GET", "alerts/rules")["total"] == 0


def test_every_preset_is_a_rule(admin: Caller, fleet: Cluster) -> None:
    presets = admin.data("GET", "alerts/presets")["items"]
    assert len(presets) >= 20
    for preset in presets:
        rule = admin.data("POST", "alerts/rules", {"preset": preset["id"]})
        assert rule["condition"] == preset["condition"]
        assert rule["for"] == preset["for"]
    turn()
    listed = admin.data("GET", "alerts/rules", pageSize=100)
    assert {rule["last_error"] for rule in listed["items"]} == {""}
    # What was read may be sent back.
    rule = listed["items"][0]
    assert admin.data("PUT", f"alerts/rules/{rule['id']}", rule)["name"] == rule["name"]


def test_people_of_a_namespace(admin: Caller, live: Cluster, member: Member) -> None:
    write(
        pod("web", waiting="CrashLoopBackOff"),
        pod("db", waiting="CrashLoopBackOff", namespace="bank"),
        cluster="simulated",
    )
    shop = member("operator", "shop")
    viewer = member("viewer", "shop")
    own = make(shop, name="own")
    everything = make(admin, name="everything")
    inside = make(admin, scope={"clusters": [live.pk], "namespaces": ["shop"]}, name="inside")
    bank = {**RULE, "scope": {"clusters": [live.pk], "namespaces": ["bank"]}}
    assert shop.code("POST", "alerts/rules", bank) == 1005
    assert viewer.code("POST", "alerts/rules", RULE) == 1005
    assert shop.code("POST", "alerts/rules/test", bank) == 1005
    turn()
    # A rule sees what its owner may, and people see the alerts of their namespace.
    rows = Alert.objects.filter(rule=own["id"]).values_list("namespace", flat=True)
    assert list(rows) == ["shop"]
    seen = {(alert["rule_name"], alert["target"]["namespace"]) for alert in alerts(viewer)}
    assert seen == {("own", "shop"), ("everything", "shop"), ("inside", "shop")}
    assert len(alerts(admin)) == 4
    assert [rule["name"] for rule in shop.data("GET", "alerts/rules")["items"]] == ["own", "inside"]
    assert shop.code("GET", f"alerts/rules/{everything['id']}") == 1004
    assert shop.code("DELETE", f"alerts/rules/{everything['id']}") == 1004
    # Who may write in all of its places may change it, and answers for what it sees from then on.
    changed = shop.data("PUT", f"alerts/rules/{inside['id']}", {"severity": "info"})
    assert changed["owner"] == "operator-shop"
    assert viewer.code("PUT", f"alerts/rules/{inside['id']}", {"severity": "info"}) == 1005
    foreign = next(alert for alert in alerts(admin) if alert["target"]["namespace"] == "bank")
    assert shop.code("GET", f"alerts/{foreign['id']}") == 1004
    assert shop.code("POST", f"alerts/{foreign['id']}/ack", {}) == 1004
    mine = alerts(viewer)[0]
    assert viewer.code("POST", f"alerts/{mine['id']}/ack", {}) == 1005
    # Who loses their rights is told nothing more.
    owner = get_user_model().objects.get(username="operator-shop")
    for grant in grants.grants_of_user(owner):
        grants.withdraw(grant)
    write(pod("web2", waiting="CrashLoopBackOff"), cluster="simulated")
    turn()
    assert not Alert.objects.filter(rule=own["id"], name="web2").exists()


def test_an_acknowledgement_ends_with_its_alert(admin: Caller, fleet: Cluster) -> None:
    write(pod("web", waiting="CrashLoopBackOff"))
    make(admin)
    turn()
    (alert,) = alerts(admin)
    answer = admin.data("POST", f"alerts/{alert['id']}/ack", {"comment": "looking"})
    assert (answer["acked_by"], answer["ack_comment"]) == ("admin", "looking")
    assert AuditEntry.objects.filter(verb="update", kind="alerts").exists()
    write(pod("web"))
    turn()
    assert admin.code("POST", f"alerts/{alert['id']}/ack", {}) == 1004
    write(pod("web", waiting="CrashLoopBackOff"))
    turn()
    (again,) = alerts(admin)
    assert (again["acked_by"], again["fingerprint"]) == (None, alert["fingerprint"])
    assert again["id"] != alert["id"]


def until(minutes: float) -> str:
    """A time that many minutes from now."""
    return (timezone.now() + timedelta(minutes=minutes)).isoformat()


def test_silences(admin: Caller, live: Cluster, member: Member) -> None:
    write(
        pod("web", waiting="CrashLoopBackOff"),
        pod("db", waiting="CrashLoopBackOff", namespace="bank"),
        cluster="simulated",
    )
    make(admin)
    turn()
    shop = member("operator", "shop")
    by_name = {"name": "alertname", "value": "loop.*", "regex": True}
    body = {"matchers": [by_name], "ends_at": until(5)}
    silence = shop.data("POST", "alerts/silences", body)
    assert silence["state"] == "active"
    quiet = {alert["target"]["name"]: alert["silenced_by"] for alert in alerts(admin)}
    # It reaches no wider than its maker's rights.
    assert quiet == {"web": [silence["id"]], "db": []}
    assert shop.data("DELETE", f"alerts/silences/{silence['id']}")["state"] == "expired"
    assert all(not alert["silenced_by"] for alert in alerts(admin))
    # Expressions match whole values, an absent label is empty.
    for matcher, silenced in (
        ({"name": "name", "value": "w", "regex": True}, set()),
        ({"name": "name", "value": "web|db", "regex": True}, {"web", "db"}),
        ({"name": "name", "value": "web", "equal": False}, {"db"}),
        ({"name": "team", "value": ""}, {"web", "db"}),
    ):
        made = admin.data("POST", "alerts/silences", {"matchers": [matcher], "ends_at": until(5)})
        names = {entry["target"]["name"] for entry in alerts(admin) if entry["silenced_by"]}
        assert names == silenced, matcher
        admin.data("DELETE", f"alerts/silences/{made['id']}")
    for changes, field in (
        ({"ends_at": until(-1)}, "ends_at"),
        ({"starts_at": until(9)}, "ends_at"),
        ({"matchers": []}, "matchers"),
        ({"matchers": [{**by_name, "value": "("}]}, "matchers[0].value"),
        ({"matchers": [{**by_name, "flags": "i"}]}, "matchers[0].flags"),
    ):
        answer = admin("POST", "alerts/silences", {**body, **changes})
        assert (answer["code"], answer["data"].get("field")) == (1001, field), answer


def test_the_context_of_an_alert(admin: Caller, fleet: Cluster) -> None:
    write(pod("web"))
    admin.data("POST", "alerts/rules", {"preset": "crash-looping", "for": "0s"})
    turn()
    write(pod("web", waiting="CrashLoopBackOff", restarts=2))
    turn()
    assert context.gather_missing(10) == 1
    (alert,) = alerts(admin)
    known = admin.data("GET", f"alerts/{alert['id']}")["context"]
    assert known["conditions"] == [{"type": "Ready", "status": "False"}]
    assert known["owner"]["name"] == "web-1"
    assert known["node"] == "n1"
    assert known["runbook"].startswith("Read the log")
    assert "/pods/web/logs?" in known["links"]["logs"]
    paths = {tuple(change["path"]) for change in known["changes"][0]["changes"]}
    assert ("status", "phase") in paths


def test_lists_are_filtered(admin: Caller, fleet: Cluster) -> None:
    write(*(pod(f"p{n}", waiting="CrashLoopBackOff") for n in range(3)))
    make(admin, labels={"team": "a"})
    turn()
    page = admin.data("GET", "alerts", pageSize=2, page=2)
    assert (len(page["items"]), page["total"], page["pageSize"]) == (1, 3, 2)
    assert len(alerts(admin, label="team=a", cluster_id=fleet.pk, namespace="shop")) == 3
    assert alerts(admin, label="team=b") == []
    assert alerts(admin, severity="info") == []
    assert len(alerts(admin, kind="Pod", names="p0, p2,web", namespaces="shop,bank")) == 2
    assert alerts(admin, namespaces="bank") == []
    assert admin.code("GET", "alerts", names="a," * 1001) == 1001
    assert alerts(admin, state="resolved,pending") == []
    assert admin.code("GET", "alerts", state="loud") == 1001
    assert admin.code("GET", "alerts", namespace="a\0") == 1001
    assert admin.code("GET", "alerts", keyword="a\0") == 1001
    assert admin.code("GET", "alerts", label="team") == 1001


def test_maintenance_of_a_cluster(admin: Caller, fleet: Cluster) -> None:
    assert admin.data("GET", f"clusters/{fleet.pk}")["maintenance"] is False
    changed = admin.data("PUT", f"clusters/{fleet.pk}", {"maintenance": True})
    assert changed["maintenance"] is True
    assert admin.code("PUT", f"clusters/{fleet.pk}", {"maintenance": "yes"}) == 1001
