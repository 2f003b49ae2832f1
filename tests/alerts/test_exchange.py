"""Prometheus and Alertmanager: queries as rules, rules as YAML, alerts from elsewhere."""

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from django.utils import timezone

from alerts import evaluation, prometheus
from alerts.annotations import render, unsupported
from alerts.models import Alert, Rule
from clusters.models import Cluster
from tests.alerts.conftest import turn
from tests.alerts.test_evaluation import alerts, make
from tests.caller import Caller


class Answers(BaseHTTPRequestHandler):
    """A Prometheus: its vector is the same for every query, and `bad(` is refused."""

    vector: list[dict[str, Any]] = []

    def log_message(self, *_: Any) -> None:
        """Silence."""

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)["query"][0]
        is_bad = query == "bad("
        body: dict[str, Any] = {
            "status": "success",
            "data": {"resultType": "vector", "result": type(self).vector},
        }
        if is_bad:
            body = {"status": "error", "errorType": "bad_data", "error": "parse error"}
        raw = json.dumps(body).encode()
        self.send_response(400 if is_bad else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


def series(value: str, **labels: str) -> dict[str, Any]:
    """An element of a vector."""
    return {"metric": {"__name__": "up", **labels}, "value": [0, value]}


@pytest.fixture
def asked(fleet: Cluster) -> Iterator[Cluster]:
    """A cluster with a Prometheus that answers what `Answers.vector` holds."""
    Answers.vector = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
    )
    thread.start()
    fleet.prometheus = f"http://127.0.0.1:{server.server_port}"
    fleet.save()
    yield fleet
    server.shutdown()
    server.server_close()
    thread.join()


def ask(cluster: Cluster) -> None:
    """What beat and workers do."""
    assert prometheus.asked_clusters() == [cluster.pk]
    prometheus.evaluate_cluster(cluster.pk)


QUERY = {"source": "promql", "condition": {"query": "up == 0"}}


def test_the_elements_of_a_vector_are_alerts(admin: Caller, asked: Cluster) -> None:
    Answers.vector = [series("0.5", pod="web", namespace="shop"), series("NaN", pod="db")]
    rule = make(admin, **QUERY, annotations={"summary": "{{ $labels.pod }} at {{ $value }}"})
    tested = admin.data("POST", "alerts/rules/test", {"name": "t", **QUERY})
    assert sorted(match["labels"]["pod"] for match in tested["matches"]) == ["db", "web"]
    ask(asked)
    ask(asked)
    alert = alerts(admin, namespace="shop")[0]
    assert (alert["state"], alert["value"]) == ("firing", 0.5)
    assert alert["annotations"]["summary"] == "web at 0.5"
    assert alert["labels"]["cluster"] == asked.name
    assert alert["target"]["name"] == "web"
    assert len(alerts(admin)) == 2
    Answers.vector = []
    ask(asked)
    assert alerts(admin, state="firing") == []
    assert admin.data("GET", f"alerts/rules/{rule['id']}")["last_error"] == ""


@pytest.mark.parametrize("no_data", ["ok", "alert", "keep"])
def test_a_query_that_cannot_be_asked(admin: Caller, asked: Cluster, no_data: str) -> None:
    Answers.vector = [series("1", pod="web")]
    rule = make(admin, **QUERY, no_data=no_data)
    ask(asked)
    Rule.objects.update(condition={"query": "bad("})
    ask(asked)
    firing = [alert["labels"].get("reason", "") for alert in alerts(admin, state="firing")]
    expected = {"ok": [], "alert": ["", "NoData"], "keep": [""]}
    assert sorted(firing) == expected[no_data]
    assert admin.data("GET", f"alerts/rules/{rule['id']}")["last_error"] != ""
    Rule.objects.update(condition={"query": "up == 0"})
    ask(asked)
    firing = [alert["labels"].get("reason", "") for alert in alerts(admin, state="firing")]
    assert firing == [""]


def test_rules_as_prometheus_rules_both_ways(admin: Caller, fleet: Cluster) -> None:
    rules = [
        {
            "alert": "Down",
            "expr": "up == 0",
            "for": "5m",
            "keep_firing_for": "1m",
            "labels": {"severity": "page", "team": "a"},
            "annotations": {"summary": "{{ $labels.pod }} {{ range query }}"},
        },
        {"record": "job:up", "expr": "sum(up)"},
        {"alert": "Slow", "expr": "x > 1", "for": "soon"},
    ]
    group = {"name": "g", "interval": "30s", "rules": rules}
    manifest = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "r"},
        "spec": {"groups": [group]},
    }
    body = {"content": yaml.safe_dump(manifest), "scope": {"clusters": [fleet.pk]}}
    answer = admin.data("POST", "alerts/rules/import", body)
    made = answer["items"]
    assert [rule["name"] for rule in made] == ["Down"]
    assert made[0]["severity"] == "critical"
    assert made[0]["for"] == "5m"
    assert made[0]["labels"] == {"team": "a"}
    assert made[0]["scope"] == {"clusters": [fleet.pk]}
    skipped = {(item["rule"], item["what"]) for item in answer["skipped"]}
    assert skipped == {
        ("", "interval"),
        ("Down", "keep_firing_for"),
        ("Down", "summary: {{ range query }}"),
        ("job:up", "rule"),
        ("Slow", "rule"),
    }
    make(admin, name="state rule")
    text = admin.raw("GET", "alerts/rules/export").content.decode()
    assert "'state rule'" in text
    exported = yaml.safe_load(text)["spec"]["groups"][0]["rules"]
    assert [rule["alert"] for rule in exported] == ["Down"]
    assert exported[0]["labels"] == {"severity": "critical", "team": "a"}
    assert (exported[0]["expr"], exported[0]["for"]) == ("up == 0", "5m")


def payload(status: str, changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """What an Alertmanager sends of one alert."""
    alert = {
        "status": status,
        "labels": {"alertname": "Down", "severity": "critical", "cluster": "east", "pod": "web"},
        "annotations": {"summary": "down"},
        "startsAt": "2026-11-28T09:30:00.123456789Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus/graph",
        "fingerprint": "abc",
    } | (changes or {})
    return {"version": "4", "status": status, "receiver": "kubegale", "alerts": [alert]}


def test_alerts_of_an_alertmanager_stand_in_the_list(admin: Caller, fleet: Cluster) -> None:
    sent = payload("firing")
    assert admin.data("POST", "alerts/alertmanager", sent) == {"firing": 1, "resolved": 0}
    assert admin.data("POST", "alerts/alertmanager", sent) == {"firing": 0, "resolved": 0}
    alert = alerts(admin)[0]
    assert (alert["state"], alert["severity"]) == ("firing", "critical")
    assert alert["target"]["cluster_id"] == fleet.pk
    assert alert["labels"]["alertname"] == "Down"
    assert Alert.objects.get().source == "alertmanager"
    ended = payload("resolved", {"endsAt": timezone.now().isoformat()})
    assert admin.data("POST", "alerts/alertmanager", ended) == {"firing": 0, "resolved": 1}
    assert admin.data("POST", "alerts/alertmanager", ended) == {"firing": 0, "resolved": 0}
    # The first message again, late: it tells of what is over.
    assert admin.data("POST", "alerts/alertmanager", sent) == {"firing": 0, "resolved": 0}
    assert alerts(admin, state="firing") == []


def test_a_received_alert_ends_by_its_own_time(admin: Caller, fleet: Cluster) -> None:
    soon = (timezone.now() + timedelta(minutes=5)).isoformat()
    admin.data("POST", "alerts/alertmanager", payload("firing", {"endsAt": soon}))
    Alert.objects.update(ends_at=timezone.now() - timedelta(seconds=1))
    turn()
    evaluation.evaluate()
    assert alerts(admin, state="firing") == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"status": "odd"}, "alerts[0].status"),
        ({"labels": {}}, "alerts[0].labels"),
        ({"labels": {"a": 1}}, "alerts[0].labels.a"),
        ({"startsAt": "yesterday"}, "alerts[0].startsAt"),
    ],
)
def test_a_bad_payload_is_refused(admin: Caller, changes: dict[str, Any], field: str) -> None:
    answer = admin("POST", "alerts/alertmanager", payload("firing", changes))
    assert (answer["code"], answer["data"]["field"]) == (1001, field)
    assert not Alert.objects.exists()


def test_templates_fill_in_labels_and_values_and_nothing_else() -> None:
    labels = {"pod": "{{ $value }}", "ns": "shop"}
    texts = {
        "{{ $labels.pod }}": "{{ $value }}",
        "{{$value | humanizePercentage}}": "12.35%",
        '{{ printf "%.2f" $value }}': "0.12",
        '{{ index $labels "ns" | toUpper }}': "SHOP",
        "{{ .Labels.none }}": "",
        "{{ humanizeDuration 5 }}": "{{ humanizeDuration 5 }}",
        "{{ $labels.__class__ }}": "",
    }
    assert {text: render(text, labels, 0.123456) for text in texts} == texts
    assert unsupported("{{ $value }} {{ query }}") == ["{{ query }}"]
