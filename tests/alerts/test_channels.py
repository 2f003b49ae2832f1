"""Channels: who may have which, what they are sent, how often, and what never leaves."""

import base64
import email
import email.policy
import hashlib
import hmac
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.core import mail
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from alerts.models import Channel, Delivery, NotificationGroup, Rule
from alerts.notifications import deliveries, dispatch
from clusters.models import Cluster
from tests.alerts.conftest import pod, turn, write
from tests.alerts.test_evaluation import make
from tests.caller import Caller
from tests.mail_server import running_mail_server
from tests.receiver import Receiver, running_receiver

WEBHOOKS = "alerts/channels"


@pytest.fixture
def receiver(settings: Settings) -> Iterator[Receiver]:
    """A receiver on loopback, where notifications may go at once in this test."""
    settings.WEBHOOK_ADDRESS_POLICY = "private"
    settings.ALERT_GROUP_WAIT_SECONDS = 0.0
    settings.ALERT_GROUP_INTERVAL_SECONDS = 0.0
    with running_receiver() as receiver:
        yield receiver


def channel(admin: Caller, kind: str = "webhook", **config: Any) -> dict[str, Any]:
    """A channel that is saved."""
    body = {"name": "night", "kind": kind, "config": config}
    saved: dict[str, Any] = admin.data("POST", "alerts/channels", body)
    return saved


def tell() -> None:
    """What beat and workers do: write deliveries and send them."""
    dispatch.dispatch_due()
    for pk in deliveries.due_channels():
        deliveries.deliver_due(pk)


def make_due() -> None:
    """Let the waits of all deliveries and groups be over."""
    before = timezone.now() - timedelta(seconds=1)
    Delivery.objects.filter(state="pending").update(due_at=before)
    NotificationGroup.objects.exclude(due_at=None).update(due_at=before)


def loop(*names: str) -> None:
    """Pods that crash, as the collector stores them, and a turn of the rules."""
    write(*(pod(name, waiting="CrashLoopBackOff") for name in names))
    turn()


def test_a_group_is_told_once_signed_and_again_when_it_changes_or_ends(
    admin: Caller, fleet: Cluster, receiver: Receiver
) -> None:
    made = channel(admin, url=receiver.url)
    rule = make(admin, channels=[made["id"]])
    loop(*(f"web-{index}" for index in range(40)))
    tell()
    tell()
    assert len(receiver.came) == 1, "forty alerts are one notification"
    headers, body = receiver.came[0]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    key = base64.b64decode(made["secret"].removeprefix("whsec_"))
    mac = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{mac}"
    payload = json.loads(body)
    assert (payload["version"], payload["status"], payload["receiver"]) == ("4", "firing", "night")
    assert (len(payload["alerts"]), payload["truncatedAlerts"]) == (40, 0)
    assert payload["groupLabels"] == {"alertname": "looping"}
    assert payload["commonLabels"]["severity"] == "critical"
    first = payload["alerts"][0]
    assert (first["status"], first["endsAt"]) == ("firing", "0001-01-01T00:00:00Z")
    assert "/alerts/" in first["generatorURL"]
    loop("late")
    tell()
    assert len(json.loads(receiver.came[1][1])["alerts"]) == 41
    write(*(pod(f"web-{index}") for index in range(40)), pod("late"))
    turn()
    tell()
    make_due()
    tell()
    assert len(receiver.came) == 3
    assert json.loads(receiver.came[2][1])["status"] == "resolved"
    listed = admin.data("GET", "alerts/deliveries", rule_id=rule["id"])
    assert [item["state"] for item in listed["items"]] == ["delivered"] * 3
    assert listed["items"][0]["log"][0]["status"] == 200


def test_what_fires_on_is_repeated_and_group_by_makes_groups(
    admin: Caller, fleet: Cluster, receiver: Receiver
) -> None:
    made = channel(admin, url=receiver.url)
    make(admin, channels=[made["id"]], group_by=["namespace"], repeat="1h")
    write(
        pod("a", waiting="CrashLoopBackOff", namespace="blue"),
        pod("b", waiting="CrashLoopBackOff", namespace="green"),
    )
    turn()
    tell()
    groups = [json.loads(body)["groupLabels"]["namespace"] for _, body in receiver.came]
    assert sorted(groups) == ["blue", "green"]
    make_due()
    tell()
    assert len(receiver.came) == 2, "nothing changed, and an hour is not over"
    NotificationGroup.objects.update(notified_at=timezone.now() - timedelta(hours=2))
    make_due()
    tell()
    assert len(receiver.came) == 4


def test_silence_acknowledgement_and_maintenance_keep_quiet(
    admin: Caller, fleet: Cluster, receiver: Receiver
) -> None:
    made = channel(admin, url=receiver.url)
    make(admin, channels=[made["id"]])
    silence = admin.data(
        "POST",
        "alerts/silences",
        {
            "matchers": [{"name": "name", "value": "web.*", "regex": True, "equal": True}],
            "ends_at": (timezone.now() + timedelta(hours=1)).isoformat(),
            "comment": "known",
        },
    )
    loop("web-1")
    tell()
    assert receiver.came == []
    admin.data("DELETE", f"alerts/silences/{silence['id']}")
    Cluster.objects.update(maintenance=True)
    make_due()
    tell()
    assert receiver.came == []
    Cluster.objects.update(maintenance=False)
    alert = admin.data("GET", "alerts")["items"][0]
    admin.data("POST", f"alerts/{alert['id']}/ack", {"comment": "mine"})
    make_due()
    tell()
    assert receiver.came == []
    loop("web-2")
    tell()
    told = json.loads(receiver.came[0][1])["alerts"]
    assert [item["labels"]["name"] for item in told] == ["web-2"]


def test_a_receiver_in_trouble_gets_the_same_id_again_and_is_given_up_in_the_end(
    admin: Caller, fleet: Cluster, receiver: Receiver, settings: Settings
) -> None:
    settings.ALERT_BACKOFF_SECONDS = [60, 600]
    made = channel(admin, url=receiver.url)
    rule = make(admin, channels=[made["id"]])
    receiver.answers = [500, 302]
    loop("web")
    tell()
    shown = admin.data("GET", "alerts/deliveries", state="pending")["items"][0]
    assert (shown["status"], shown["error"], shown["attempts"]) == (500, "HTTP 500", 1)
    assert shown["next_try"] is not None
    tell()
    assert len(receiver.came) == 1, "not before its time"
    admin.data("DELETE", f"alerts/rules/{rule['id']}")
    dispatch.dispatch_due()
    for _ in range(3):
        make_due()
        tell()
    ids = [headers["webhook-id"] for headers, _ in receiver.came]
    assert len(set(ids[:3])) == 1
    states = [json.loads(body)["status"] for _, body in receiver.came]
    assert states == ["firing"] * 3 + ["resolved"], "the end comes after the beginning"
    receiver.answers = [500] * 3
    make(admin, channels=[made["id"]])
    turn()
    for _ in range(4):
        make_due()
        tell()
    assert Delivery.objects.filter(state="failed").count() == 1


def test_a_killed_worker_loses_nothing(admin: Caller, fleet: Cluster, receiver: Receiver) -> None:
    made = channel(admin, url=receiver.url)
    make(admin, channels=[made["id"]])
    loop("web")
    dispatch.dispatch_due()
    row = Delivery.objects.get()
    # It took the row and died before it sent.
    Delivery.objects.update(attempts=1, due_at=timezone.now() + deliveries.LEASE)
    tell()
    assert receiver.came == []
    make_due()
    tell()
    assert [headers["webhook-id"] for headers, _ in receiver.came] == [row.idempotency_key]


def test_a_channel_has_a_rate(admin: Caller, fleet: Cluster, receiver: Receiver) -> None:
    made = channel(admin, "dingtalk", url=receiver.url)
    make(admin, channels=[made["id"]], group_by=["name"])
    loop(*(f"web-{index}" for index in range(30)))
    tell()
    assert len(receiver.came) == 10
    row = Channel.objects.get()
    row.paced_until = timezone.now() - timedelta(minutes=1)
    row.save()
    tell()
    assert len(receiver.came) == 20


EVIL = "[x](http://evil.example) <!channel> <@all> @all <at id=all></at> `*_"


@pytest.mark.parametrize("kind", ["slack", "dingtalk", "feishu", "wecom"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_texts_hold_no_links_and_mentions_of_others(
    admin: Caller, fleet: Cluster, receiver: Receiver, kind: str, language: str
) -> None:
    made = channel(admin, kind, url=receiver.url, language=language)
    make(admin, channels=[made["id"]], annotations={"summary": EVIL})
    loop("web")
    tell()
    text = json.dumps(json.loads(receiver.came[0][1]), ensure_ascii=False)
    assert "web" in text
    assert "/alerts?rule=" in text
    assert ("告警" in text) == (language == "zh")
    for part in ("](http://evil", "http://evil", "<!channel", "<@all", "@all", "<at ", "`"):
        assert part not in text


def test_robots_are_signed_and_their_refusals_are_failures(
    admin: Caller, fleet: Cluster, receiver: Receiver
) -> None:
    ding = channel(admin, "dingtalk", url=f"{receiver.url}?access_token=t", secret="SECx")
    lark = channel(admin, "feishu", url=receiver.url, secret="SECy")
    assert admin.data("POST", f"alerts/channels/{ding['id']}/test", {})["delivered"]
    query = parse_qs(urlsplit(receiver.paths[0]).query)
    stamp = query["timestamp"][0]
    mac = hmac.new(b"SECx", f"{stamp}\nSECx".encode(), hashlib.sha256).digest()
    assert query["sign"] == [base64.b64encode(mac).decode()]
    assert query["access_token"] == ["t"]
    receiver.body = b'{"code": 19021, "msg": "sign match fail"}'
    answer = admin.data("POST", f"alerts/channels/{lark['id']}/test", {})
    assert (answer["delivered"], answer["status"]) == (False, 200)
    assert "19021" in answer["error"]
    body = json.loads(receiver.came[1][1])
    mac = hmac.new(f"{body['timestamp']}\nSECy".encode(), b"", hashlib.sha256).digest()
    assert body["sign"] == base64.b64encode(mac).decode()


def test_mail(admin: Caller, fleet: Cluster, receiver: Receiver, settings: Settings) -> None:
    settings.EMAIL_HOST = "127.0.0.1"
    made = channel(admin, "mail", to=["ops@example.com"])
    make(admin, channels=[made["id"]])
    loop("web")
    tell()
    message = mail.outbox[0]
    assert (message.to, message.subject) == (["ops@example.com"], "[FIRING:1] looping")
    assert "shop/web" in message.body
    assert "/alerts?rule=" in message.body
    assert Delivery.objects.get().idempotency_key in message.extra_headers["Message-ID"]


def test_mail_arrives_at_a_mail_server_and_waits_for_one(
    admin: Caller, fleet: Cluster, receiver: Receiver, settings: Settings
) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST = "127.0.0.1"
    with running_mail_server() as server:
        settings.EMAIL_PORT = server.port
        made = channel(admin, "mail", to=["ops@example.com"], language="zh")
        make(admin, name="节点", channels=[made["id"]], annotations={"summary": "a\r\nBcc: x@y.z"})
        server.refuses = True
        loop("web")
        tell()
        row = Delivery.objects.get()
        assert (row.state, server.mails) == ("pending", [])
        assert "ops@example.com" not in row.answer
        server.refuses = False
        make_due()
        tell()
    (parsed,) = [email.message_from_bytes(raw, policy=email.policy.default) for raw in server.mails]
    assert (parsed["To"], parsed["Bcc"]) == ("ops@example.com", None)
    assert parsed["Subject"] == "[告警:1] 节点"
    assert "shop/web" in parsed.get_content()
    assert Delivery.objects.get().state == "delivered"


def test_metrics_say_what_became_of_notifications(
    admin: Caller, fleet: Cluster, receiver: Receiver
) -> None:
    make(admin, channels=[channel(admin, url=receiver.url)["id"]])
    loop("web")
    tell()
    lines = admin.raw("GET", "/metrics").content.decode().splitlines()
    assert 'kubegale_alert_notifications{kind="webhook",state="delivered"} 1.0' in lines
    assert 'kubegale_alerts{severity="critical",state="firing"} 1.0' in lines
    assert "kubegale_alert_changes_waiting 0.0" in lines
    assert any(re.match(r"kubegale_alert_evaluations_total [1-9]", line) for line in lines)


def test_secrets_are_ciphers_at_rest_and_are_not_shown_again(
    admin: Caller, fleet: Cluster, receiver: Receiver
) -> None:
    url = f"{receiver.url}?token=t0psecret"
    made = channel(admin, url=url, secret="a very secret word")
    assert "secret" not in made, "it was chosen, not made"
    path = f"alerts/channels/{made['id']}"
    shown = admin.data("GET", path)
    assert "a very secret word" not in json.dumps(shown)
    assert "t0psecret" not in json.dumps(shown)
    with connection.cursor() as cursor:
        cursor.execute("SELECT config FROM alerts_channel")
        assert "secret" not in cursor.fetchone()[0]
    changed = admin.data("PUT", path, {**shown, "name": "day"})
    assert changed["name"] == "day"
    assert admin.data("POST", f"{path}/test", {})["delivered"]
    assert receiver.paths == ["/hook?token=t0psecret"]
    headers, body = receiver.came[0]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    mac = hmac.new(b"a very secret word", signed, hashlib.sha256).digest()
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(mac).decode()}"


@pytest.mark.parametrize(
    ("kind", "config", "field"),
    [
        ("webhook", {"url": "http://169.254.169.254/latest"}, "config.url"),
        ("webhook", {"url": "http://127.0.0.1/hook"}, "config.url"),
        ("slack", {"url": "http://localhost:9/"}, "config.url"),
        ("feishu", {"url": "http://[::ffff:10.0.0.1]/"}, "config.url"),
        ("wecom", {"url": "ftp://example.com/"}, "config.url"),
        ("webhook", {}, "config.url"),
        ("webhook", {"url": "https://example.com/", "secret": "whsec_short"}, "config.secret"),
        ("slack", {"url": "https://example.com/", "secret": "x"}, "config.secret"),
        ("slack", {"url": "https://example.com/", "sender": "x"}, "config.sender"),
        ("mail", {"to": ["a@example.com\nBcc: b@example.com"]}, "config.to"),
        ("mail", {"to": []}, "config.to"),
        ("mail", {"to": ["a@example.com"], "language": "xx"}, "config.language"),
        ("pager", {}, "kind"),
    ],
)
def test_bad_settings_are_refused(
    admin: Caller, kind: str, config: dict[str, Any], field: str
) -> None:
    body = {"name": "n", "kind": kind, "config": config}
    answer = admin("POST", "alerts/channels", body)
    assert (answer["code"], answer["data"].get("field")) == (1001, field)
    assert not Channel.objects.exists()


def test_a_name_that_leads_inside_is_refused_when_it_is_called(
    admin: Caller, receiver: Receiver, settings: Settings
) -> None:
    made = channel(admin, url=receiver.url.replace("127.0.0.1", "localhost"))
    settings.WEBHOOK_ADDRESS_POLICY = "public"
    answer = admin.data("POST", f"alerts/channels/{made['id']}/test", {})
    assert not answer["delivered"]
    assert "not allowed" in answer["error"]
    assert receiver.came == []


def test_a_rule_that_is_deleted_leaves_other_rules_groups_alone(
    admin: Caller, fleet: Cluster, receiver: Receiver
) -> None:
    made = channel(admin, url=receiver.url)
    rows = [make(admin, name=name, channels=[made["id"]]) for name in ("one", "two")]
    loop("web")
    tell()
    for row in rows:
        admin.data("DELETE", f"alerts/rules/{row['id']}")
    tell()
    assert not Rule.objects.exists()
    states = [json.loads(body)["status"] for _, body in receiver.came]
    assert states == ["firing", "firing", "resolved", "resolved"]
