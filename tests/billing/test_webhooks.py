"""Webhooks: told of every step of an order's life, signed, retried with patience, never let inside."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError
from django.db import connection
from pytest_django import Settings

from billing.models import Delivery, Webhook
from billing.tasks import deliver_webhooks
from core import clock
from tests.receiver import Receiver, running_receiver

pytestmark = pytest.mark.django_db
Run = Callable[..., Any]


@pytest.fixture
def receiver(settings: Settings) -> Iterator[Receiver]:
    """A receiver on loopback, where webhooks may go in this test."""
    settings.WEBHOOK_ADDRESS_POLICY = "private"
    with running_receiver() as receiver:
        yield receiver


def make_due() -> None:
    Delivery.objects.filter(state="pending").update(due_at=clock.now() - timedelta(seconds=1))


def test_every_step_of_buying_is_told_and_signed(command: Run, receiver: Receiver) -> None:
    key = command("create_webhook", receiver.url)["key"]
    made = command("create_order", "--units", "2", "--duration", "100", "--paid")
    deliver_webhooks()
    assert [json.loads(body)["type"] for _, body in receiver.came] == [
        "order.created",
        "order.paid",
        "order.filed",
    ]
    headers, body = receiver.came[-1]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    mac = hmac.new(base64.b64decode(key.removeprefix("whsec_")), signed, hashlib.sha256).digest()
    assert headers["webhook-signature"] == "v1," + base64.b64encode(mac).decode()
    assert json.loads(body)["data"]["id"] == made["id"]
    assert all(made["secret"] not in body.decode() for _, body in receiver.came)
    deliver_webhooks()
    assert len(receiver.came) == 3


def test_only_the_events_asked_for_are_told(command: Run, receiver: Receiver) -> None:
    command("create_webhook", receiver.url, "--event", "order.paid")
    command("create_order", "--units", "1", "--duration", "1", "--paid")
    deliver_webhooks()
    assert [json.loads(body)["type"] for _, body in receiver.came] == ["order.paid"]


def test_a_receiver_in_trouble_is_asked_again_later_with_the_same_id_and_given_up_in_the_end(
    command: Run, receiver: Receiver, settings: Settings
) -> None:
    settings.WEBHOOK_BACKOFF_SECONDS = [60, 600]
    command("create_webhook", receiver.url, "--event", "order.created")
    command("create_order", "--units", "1", "--duration", "1")
    receiver.answers = [500, 302]
    deliver_webhooks()
    row = Delivery.objects.get()
    assert (row.state, row.attempts, row.answer) == ("pending", 1, "HTTP 500")
    assert timedelta(seconds=55) < row.due_at - clock.now() < timedelta(seconds=61)
    deliver_webhooks()
    assert len(receiver.came) == 1, "not before it is due"
    make_due()
    deliver_webhooks()
    row.refresh_from_db()
    assert (row.state, row.answer) == ("pending", "HTTP 302"), "redirects are not followed"
    make_due()
    deliver_webhooks()
    row.refresh_from_db()
    assert (row.state, row.attempts) == ("delivered", 3)
    assert len({headers["webhook-id"] for headers, _ in receiver.came}) == 1
    command("create_order", "--units", "1", "--duration", "1")
    receiver.answers = [500] * 3
    for _ in range(4):
        make_due()
        deliver_webhooks()
    assert Delivery.objects.exclude(pk=row.pk).get().state == "failed"
    assert len(receiver.came) == 6


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest",
        "http://127.0.0.1/hook",
        "http://[::1]/hook",
        "http://10.0.0.1/hook",
        "ftp://example.com/",
        "http://user:word@example.com/",
        "nonsense",
    ],
)
def test_addresses_inside_are_refused(command: Run, url: str) -> None:
    with pytest.raises(CommandError):
        command("create_webhook", url)
    assert not Webhook.objects.exists()


def test_a_name_that_leads_inside_is_refused_when_it_is_called(
    command: Run, receiver: Receiver, settings: Settings
) -> None:
    command("create_webhook", receiver.url.replace("127.0.0.1", "localhost"))
    command("create_order", "--units", "1", "--duration", "1")
    settings.WEBHOOK_ADDRESS_POLICY = "public"
    deliver_webhooks()
    row = Delivery.objects.get()
    assert (row.state, receiver.came) == ("pending", [])
    assert "not allowed" in row.answer


def test_the_signing_key_is_a_cipher_at_rest(command: Run, receiver: Receiver) -> None:
    key = command("create_webhook", receiver.url)["key"]
    with connection.cursor() as cursor:
        cursor.execute("SELECT key FROM billing_webhook")
        assert key not in cursor.fetchone()[0]
