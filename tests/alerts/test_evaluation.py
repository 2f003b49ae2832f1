"""Rules over the store: what raises an alert, when it fires, and what ends it."""

from datetime import timedelta
from typing import Any

import orjson
import pytest
from django.utils import timezone

from alerts import context
from alerts.models import Alert, Rule
from clusters.models import Cluster
from storage_api.services import bulk, events
from storage_api.services.bulk import WriteRecord
from storage_api.services.resources import Key
from tests.alerts.conftest import beat, pod, turn, write
from tests.caller import Caller

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
RULE = {"name": "looping", "severity": "critical", "source": "state", "condition": LOOPING}


def make(admin: Caller, **changes: Any) -> dict[str, Any]:
    """A rule that is saved."""
    rule: dict[str, Any] = admin.data("POST", "alerts/rules", {**RULE, **changes})
    return rule


def alerts(admin: Caller, **query: Any) -> list[dict[str, Any]]:
    """The alerts of a list."""
    items: list[dict[str, Any]] = admin.data("GET", "alerts", **query)["items"]
    return items


def test_a_change_raises_an_alert_and_another_ends_it(admin: Caller, fleet: Cluster) -> None:
    write(pod("old", waiting="CrashLoopBackOff"), pod("web"))
    rule = make(admin, annotations={"summary": "{{ $labels.name }} loops"}, labels={"team": "a"})
    turn()
    # What was there before the rule is looked at once.
    assert [alert["target"]["name"] for alert in alerts(admin)] == ["old"]
    write(pod("web", waiting="CrashLoopBackOff"))
    turn()
    turn()
    alert = alerts(admin, label="name=web")[0]
    assert alert["state"] == "firing"
    assert alert["target"] == {
        "cluster_id": fleet.pk,
        "kind": "Pod",
        "namespace": "shop",
        "name": "web",
    }
    assert alert["annotations"] == {"summary": "web loops"}
    assert alert["labels"] == {
        "alertname": "looping",
        "severity": "critical",
        "team": "a",
        "cluster": "east",
        "namespace": "shop",
        "kind": "Pod",
        "name": "web",
    }
    assert admin.data("GET", f"alerts/rules/{rule['id']}")["firing"] == 2
    write(pod("web"), gone=[("Pod", "shop", "old")])
    turn()
    assert alerts(admin) == []
    ended = admin.data("GET", "alerts/history")["items"]
    assert {entry["target"]["name"]: entry["state"] for entry in ended} == {
        "web": "resolved",
        "old": "resolved",
    }


def test_an_alert_waits_for_its_time(admin: Caller, fleet: Cluster) -> None:
    make(admin, **{"for": "5m"})
    turn()
    write(pod("web", waiting="CrashLoopBackOff"), pod("db", waiting="CrashLoopBackOff"))
    turn()
    assert {alert["state"] for alert in alerts(admin)} == {"pending"}
    write(pod("db"))
    turn()
    # What ends before its time was no alert to anybody.
    assert [alert["target"]["name"] for alert in alerts(admin)] == ["web"]
    assert admin.data("GET", "alerts/history")["total"] == 0
    Alert.objects.update(due_at=timezone.now() - timedelta(seconds=1))
    # Where nobody can look, nothing is known to have lasted.
    beat(fleet, seconds=300)
    turn()
    assert {alert["state"] for alert in alerts(admin)} == {"pending"}
    beat(fleet)
    turn()
    assert {alert["state"] for alert in alerts(admin)} == {"firing"}


def test_counts_are_of_each_namespace(admin: Caller, fleet: Cluster) -> None:
    make(admin, condition={**LOOPING, "count": {"op": "ge", "value": 2}})
    turn()
    write(
        pod("a", waiting="CrashLoopBackOff"),
        pod("b", waiting="CrashLoopBackOff"),
        pod("c", waiting="CrashLoopBackOff", namespace="bank"),
    )
    turn()
    (alert,) = alerts(admin)
    assert (alert["target"]["namespace"], alert["value"]) == ("shop", 2)
    write(gone=[("Pod", "shop", "a")])
    turn()
    assert alerts(admin) == []


def test_growth_is_measured_in_the_log_and_ends_with_time(admin: Caller, fleet: Cluster) -> None:
    write(pod("web", restarts=1))
    changed = {"path": "status.containerStatuses[*].restartCount", "by": 3, "within": "10m"}
    make(admin, condition={"kind": "Pod", "changed": changed})
    turn()
    write(pod("web", restarts=3))
    turn()
    assert alerts(admin) == []
    write(pod("web", restarts=4))
    turn()
    assert [alert["target"]["name"] for alert in alerts(admin)] == ["web"]
    # The window is made as short as the time that passed.
    rule = Rule.objects.get()
    Rule.objects.update(
        condition={"kind": "Pod", "changed": {**changed, "by": 100}}, generation=rule.generation
    )
    Alert.objects.update(recheck_at=timezone.now())
    turn()
    assert alerts(admin) == []


def report(reason: str, number: int, *, kind: str = "Warning") -> None:
    """An Event about a CronJob, as the collector reports it."""
    data = (
        f'{{"kind":"Event","type":"{kind}","reason":"{reason}","metadata":{{"name":"e{number}"}},'
        '"involvedObject":{"kind":"CronJob","namespace":"shop","name":"nightly"}}'
    )
    events.add_event(
        events.EventReport(
            event_id=f"u{number}/1",
            env="k8s",
            kind="CronJob",
            level=kind,
            component="",
            type=reason,
            describe="",
            cluster_id="east",
            event_time=timezone.now(),
            extra_info="{}",
            data=data,
        )
    )


def test_events_raise_alerts_about_what_they_are_about(admin: Caller, fleet: Cluster) -> None:
    admin.data("POST", "alerts/rules", {"preset": "cronjob-missed"})
    count = {"op": "ge", "value": 3, "within": "5m"}
    burst = {"kind": "Event", "where": [{"path": "type", "value": "Warning"}], "count": count}
    make(admin, name="burst", source="event", condition=burst)
    turn()
    report("MissSchedule", 1)
    report("BackOff", 2)
    turn()
    (alert,) = alerts(admin)
    assert alert["target"]["kind"] == "CronJob"
    assert alert["labels"]["reason"] == "MissSchedule"
    report("BackOff", 3)
    turn()
    assert {entry["rule_name"]: entry["value"] for entry in alerts(admin)}["burst"] == 3


def test_the_end_of_a_rule_ends_its_alerts(admin: Caller, fleet: Cluster) -> None:
    write(pod("web", waiting="CrashLoopBackOff"))
    first = make(admin)
    second = make(admin, name="other")
    turn()
    assert len(alerts(admin)) == 2
    off = admin.data("POST", f"alerts/rules/{first['id']}/disable")
    assert (off["enabled"], off["firing"]) == (False, 0)
    admin.data("DELETE", f"alerts/rules/{second['id']}")
    assert alerts(admin) == []
    turn()
    assert alerts(admin) == []
    assert admin.data("POST", f"alerts/rules/{first['id']}/enable")["enabled"]
    turn()
    assert [alert["rule_id"] for alert in alerts(admin)] == [first["id"]]
    # A rule that looks for something else keeps what still holds, and ends the rest.
    elsewhere = {"scope": {"namespaces": ["bank"]}}
    admin.data("PUT", f"alerts/rules/{first['id']}", elsewhere)
    turn()
    assert alerts(admin) == []


@pytest.mark.parametrize("no_data", ["ok", "alert", "keep"])
def test_a_cluster_that_cannot_be_asked(admin: Caller, fleet: Cluster, no_data: str) -> None:
    write(pod("web", waiting="CrashLoopBackOff"))
    make(admin, no_data=no_data)
    turn()
    beat(fleet, seconds=300)
    turn()
    turn()
    reasons = sorted(alert["labels"].get("reason", "") for alert in alerts(admin))
    assert reasons == {"ok": [], "alert": ["", "NoData"], "keep": [""]}[no_data]
    beat(fleet)
    turn()
    turn()
    assert [alert["labels"].get("reason", "") for alert in alerts(admin)] == [""]


def test_metrics_of_clusters_and_quotas(admin: Caller, fleet: Cluster) -> None:
    quota = {
        "kind": "ResourceQuota",
        "metadata": {"name": "q", "namespace": "shop"},
        "status": {
            "hard": {"requests.cpu": "2", "pods": "10"},
            "used": {"requests.cpu": "1900m", "pods": "1"},
        },
    }
    write(quota)
    admin.data("POST", "alerts/rules", {"preset": "quota-over-90", "for": "0s"})
    admin.data("POST", "alerts/rules", {"preset": "cluster-unreachable", "for": "0s"})
    Cluster.objects.update(status="unreachable")
    turn()
    found = {alert["rule_name"]: alert for alert in alerts(admin)}
    assert found["Quota is over 90 %"]["value"] == 95
    assert found["Quota is over 90 %"]["labels"]["resource"] == "requests.cpu"
    assert found["Cluster cannot be reached"]["target"]["kind"] == "Cluster"
    Cluster.objects.update(status="active")
    Rule.objects.update(evaluate_at=None)
    turn()
    assert [alert["rule_name"] for alert in alerts(admin)] == ["Quota is over 90 %"]


def test_documents_of_any_shape_stop_no_rule(admin: Caller, fleet: Cluster) -> None:
    """One that an agent has stored stopped the evaluation of every rule of everybody."""
    full = {"hard": {"pods": "10"}, "used": {"pods": "10"}}
    documents = {
        "ResourceQuota": ["null", "7", '{"status": "x"}', '{"status": {"hard": 7, "used": "x"}}'],
        "Pod": ["[]", '{"metadata": "x", "status": {"containerStatuses": "x"}}'],
    }
    for kind, texts in documents.items():
        for number, text in enumerate(texts):
            bulk.write([WriteRecord(Key("east", kind, "shop", f"odd-{number}"), text.encode())])
    odd = {"metadata": "x", "status": {"phase": "Failed"}}
    for name in ("odd-pod", "n" * 1000):
        bulk.write([WriteRecord(Key("east", "Pod", "shop", name), orjson.dumps(odd))])
    write(
        {
            "kind": "ResourceQuota",
            "metadata": {"name": "q", "namespace": "shop"},
            "status": full,
        },
        pod("web", phase="Failed"),
    )
    admin.data("POST", "alerts/rules", {"preset": "quota-over-90", "for": "0s"})
    failed = {"kind": "Pod", "where": [{"path": "status.phase", "op": "eq", "value": "Failed"}]}
    make(admin, condition=failed)
    turn()
    assert context.gather_missing(10) == 3
    assert {alert["target"]["name"] for alert in alerts(admin)} == {"q", "web", "odd-pod"}
    # What was known of the odd one is as much as can be read.
    assert not Alert.objects.filter(context={})
    assert not Rule.objects.exclude(last_error="")
