"""API tokens that were cut down, and rights that are lost: what was written reaches no further."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model

from access import grants
from access.models import Grant
from access.policy import Role
from access.tokens import create_api_token
from alerts import silences, triggers
from alerts.models import Alert, Channel, Rule, Silence, TaskTrigger
from clusters.models import Cluster
from core.errors import Invalid
from tests.alerts.conftest import beat, pod, turn, write
from tests.alerts.test_evaluation import LOOPING, RULE
from tests.caller import Caller
from tests.storage_api.test_multicluster import fill

pytestmark = pytest.mark.django_db
HOOK = {"name": "c", "kind": "webhook", "config": {"url": "https://hooks.example.com/x"}}
SILENCE = {
    "matchers": [{"name": "alertname", "value": ".*", "regex": True}],
    "ends_at": "2099-01-01T00:00:00Z",
}


@pytest.fixture
def west(fleet: Cluster) -> Cluster:
    """A second cluster that is collected."""
    cluster = fill("west", [])
    beat(cluster)
    return cluster


@pytest.fixture
def owner(db: None) -> Any:
    """An administrator of everything."""
    user = get_user_model().objects.create_user("owner")
    grants.give(user=user, role=Role.ADMIN)
    return user


def firing() -> list[Alert]:
    """The alerts that fire."""
    return list(Alert.objects.filter(state="firing"))


def script(user: Any, **limits: list[str]) -> Caller:
    """A script with a token of the user, cut down."""
    return Caller(create_api_token(user, "script", **limits)[1])


def test_a_token_of_one_cluster_touches_nothing_wider(
    fleet: Cluster, west: Cluster, owner: Any
) -> None:
    full, cut = script(owner), script(owner, clusters=["west"])
    channel = full.data("POST", "alerts/channels", HOOK)["id"]
    rule = full.data("POST", "alerts/rules", {**RULE, "channels": [channel]})["id"]
    starts = {"starts_at": "2098-01-01T00:00:00Z"}
    silence = full.data("POST", "alerts/silences", {**SILENCE, **starts})["id"]
    write(pod("web", waiting="CrashLoopBackOff"))
    turn()
    (alert,) = Alert.objects.all()
    assert cut.data("GET", "alerts/rules")["total"] == 0
    assert cut.data("GET", "alerts/channels")["total"] == 0
    assert cut.data("GET", "alerts/silences")["total"] == 0
    assert cut.data("GET", "alerts")["total"] == 0
    for method, path, body in (
        ("GET", f"alerts/rules/{rule}", None),
        ("PUT", f"alerts/rules/{rule}", {"name": "mine"}),
        ("POST", f"alerts/rules/{rule}/disable", None),
        ("DELETE", f"alerts/rules/{rule}", None),
        ("GET", f"alerts/channels/{channel}", None),
        ("PUT", f"alerts/channels/{channel}", {"config": {"url": "https://evil.example.com/"}}),
        ("POST", f"alerts/channels/{channel}/test", None),
        ("DELETE", f"alerts/channels/{channel}", None),
        ("GET", f"alerts/silences/{silence}", None),
        ("DELETE", f"alerts/silences/{silence}", None),
        ("GET", f"alerts/{alert.pk}", None),
        ("POST", f"alerts/{alert.pk}/ack", {"comment": "mine"}),
    ):
        assert cut.code(method, path, body) == 1004, path
    assert cut.code("POST", "alerts/channels", HOOK) == 1005
    assert cut.code("POST", "alerts/silences", SILENCE) == 1005
    assert cut.code("POST", "alerts/rules", RULE) == 1001
    assert cut.code("POST", "alerts/rules", {**RULE, "scope": {"clusters": [fleet.pk]}}) == 1005
    assert cut.code("POST", "alerts/rules/test", RULE) == 1001
    text = "groups: [{name: g, rules: [{alert: A, expr: up == 0}]}]"
    assert cut.code("POST", "alerts/rules/import", {"content": text}) == 1001
    assert (Rule.objects.count(), Channel.objects.count(), Silence.objects.count()) == (1, 1, 1)
    inside = {**RULE, "scope": {"clusters": [west.pk]}}
    assert cut.code("POST", "alerts/rules", {**inside, "channels": [channel]}) == 1001
    assert cut.code("POST", "alerts/rules", inside) == 0


def test_a_rule_keeps_the_limits_of_the_token_that_wrote_it(
    fleet: Cluster, west: Cluster, owner: Any
) -> None:
    """Whoever widens it later by what is the row alone gains nothing."""
    cut = script(owner, clusters=["west"], scopes=["read", "write"])
    rule = cut.data("POST", "alerts/rules", {**RULE, "scope": {"clusters": [west.pk]}})["id"]
    Rule.objects.filter(pk=rule).update(scope={})
    write(pod("web", waiting="CrashLoopBackOff"))
    write(pod("web", waiting="CrashLoopBackOff"), cluster="west")
    turn()
    assert [alert.cluster_id for alert in Alert.objects.all()] == [west.pk]
    # Its scopes do not read roles, whatever its owner may.
    roles = {"kind": "ClusterRole", "where": [{"path": "metadata.name", "op": "exists"}]}
    role = {"kind": "ClusterRole", "metadata": {"name": "root", "uid": "u"}}
    write(role, cluster="west")
    body = {**RULE, "condition": roles, "scope": {"clusters": [west.pk]}}
    assert cut.data("POST", "alerts/rules/test", body)["matches"] == []
    full = script(owner)
    assert len(full.data("POST", "alerts/rules/test", body)["matches"]) == 1
    # Written again by the person, it is the person's.
    full.data("PUT", f"alerts/rules/{rule}", {"scope": {}})
    turn()
    assert {alert.cluster_id for alert in firing()} == {fleet.pk, west.pk}


def test_alerts_end_where_the_owner_may_not_see_them_any_more(fleet: Cluster, owner: Any) -> None:
    """And those begin that were not seen before, without any change of an object."""
    member = get_user_model().objects.create_user("member")
    for namespace in ("shop", "bank"):
        Grant.objects.create(user=member, role=Role.OPERATOR, cluster=fleet, namespace=namespace)
        write(pod("web", waiting="CrashLoopBackOff", namespace=namespace))
    Rule.objects.create(name="mine", source="state", condition=LOOPING, owner=member)
    turn()
    assert {alert.namespace for alert in firing()} == {"shop", "bank"}
    Grant.objects.get(user=member, namespace="bank").delete()
    turn()
    assert {alert.namespace for alert in firing()} == {"shop"}
    ended = Alert.objects.get(namespace="bank")
    assert (ended.state, ended.resolved_because) == ("resolved", "the rule's owner may not see it")
    grants.give(user=member, role=Role.VIEWER, cluster="east")
    turn()
    assert {alert.namespace for alert in firing()} == {"shop", "bank"}
    # A silence falls silent with its maker, and a rule with its owner.
    alert = Alert.objects.filter(state="firing")[0]
    now = alert.started_at
    Silence.objects.create(
        matchers=[{"name": "alertname", "value": "mine", "regex": False, "equal": True}],
        starts_at=now,
        ends_at="2099-01-01T00:00:00Z",
        created_by=member,
    )
    assert silences.silences_of([alert.pk], now) != {}
    member.is_active = False
    member.save()
    assert silences.silences_of([alert.pk], now) == {}
    turn()
    assert not firing()


def test_an_alert_that_fires_notes_the_tasks_of_its_rule_once(
    admin: Caller, fleet: Cluster
) -> None:
    refused = admin("POST", "alerts/rules", {**RULE, "tasks": [7]})
    assert (refused["code"], refused["data"]["field"]) == (1001, "tasks")
    asked = []

    def validate(user: Any, limits: Any, ids: Any) -> None:
        asked.append((user.username, dict(limits), list(ids)))
        if 9 in ids:
            raise Invalid("there is no task 9", field="tasks")

    registered = list(triggers._validators)
    triggers.register_validator(validate)
    try:
        assert admin.code("POST", "alerts/rules", {**RULE, "tasks": [9]}) == 1001
        assert admin.code("POST", "alerts/rules", {**RULE, "tasks": ["7"]}) == 1001
        rule = admin.data("POST", "alerts/rules", {**RULE, "for": "1h", "tasks": [8, 7, 7]})
    finally:
        triggers._validators[:] = registered
    assert rule["tasks"] == [7, 8]
    assert asked[-1][1:] == ({}, [7, 8])
    write(pod("web", waiting="CrashLoopBackOff"))
    turn()
    assert TaskTrigger.objects.count() == 0
    Alert.objects.update(due_at="2026-01-01T00:00:00Z")
    turn()
    turn()
    rows = TaskTrigger.objects.values_list("task_id", "alert__name", "rule_id")
    assert list(rows) == [(7, "web", rule["id"]), (8, "web", rule["id"])]
