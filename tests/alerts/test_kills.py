"""Processes that are killed in the middle, and several at the same rows: nothing lost or doubled."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.utils import timezone
from pytest_django import Settings

from access.tokens import create_api_token
from alerts.models import Alert, Delivery, Evaluation, NotificationGroup
from tests.alerts.conftest import beat, pod, turn, write
from tests.alerts.test_evaluation import RULE
from tests.caller import Caller
from tests.receiver import running_receiver
from tests.storage_api.collecting import eventually
from tests.storage_api.test_multicluster import fill
from tests.workers import ROOT, environment

# What beat asks of workers, as fast as it goes.
WORK = """
import time, django
django.setup()
from alerts import evaluation
from alerts.notifications import deliveries, dispatch
while True:
    evaluation.evaluate()
    dispatch.dispatch_due()
    for pk in deliveries.due_channels():
        deliveries.deliver_due(pk)
    time.sleep(0.02)
"""


@contextmanager
def worker() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that evaluates, dispatches and delivers on the tests' database."""
    settings = environment(
        os.environ["REDIS_URL"],
        DJANGO_SETTINGS_MODULE="kubegale.settings",
        WEBHOOK_ADDRESS_POLICY="private",
        LOG_LEVEL="ERROR",
    )
    child = subprocess.Popen([sys.executable, "-c", WORK], cwd=ROOT, env=settings)
    try:
        yield child
    finally:
        child.kill()
        child.wait(30)


def sessions_at(table: str) -> tuple[int, int]:
    """(how many other sessions wait for a lock of the table, how many have or want one)."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FILTER (WHERE NOT granted), count(*) FROM pg_locks "
            "WHERE relation = %s::regclass AND pid <> pg_backend_pid()",
            [table],
        )
        waiting, all_of_them = cursor.fetchone()
    return int(waiting), int(all_of_them)


def kill_at(table: str) -> None:
    """Kill a worker by SIGKILL while its transaction is about to write to the table."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE")
        with worker() as child:
            assert eventually(lambda: sessions_at(table)[0], seconds=120)
            child.send_signal(signal.SIGKILL)
            child.wait(30)
    assert eventually(lambda: sessions_at(table)[1] == 0, seconds=30)


def test_killed_in_the_middle_and_racing(emptied_store: None, settings: Settings) -> None:
    settings.WEBHOOK_ADDRESS_POLICY = "private"
    beat(fill("east", []), seconds=-600)
    user = get_user_model().objects.create_superuser("root", "r@example.com", None)
    admin = Caller(create_api_token(user, "tests")[1])
    with running_receiver() as receiver:
        config = {"url": receiver.url}
        hook = admin.data(
            "POST", "alerts/channels", {"name": "c", "kind": "webhook", "config": config}
        )
        body = {**RULE, "channels": [hook["id"]], "group_by": ["namespace"]}
        admin.data("POST", "alerts/rules", body)
        turn()
        place = Evaluation.objects.get().position
        spaces = [f"shop-{number}" for number in range(5)]
        write(
            *(
                pod(f"p{number}", namespace=space, waiting="CrashLoopBackOff")
                for space in spaces
                for number in range(40)
            )
        )
        kill_at("alerts_notificationgroup")
        assert (Alert.objects.count(), Evaluation.objects.get().position) == (0, place)
        turn()
        assert NotificationGroup.objects.exclude(due_at=None).count() == 5
        kill_at("alerts_delivery")
        assert Delivery.objects.count() == 0
        # A receiver that holds its answer back until the process that sends is dead.
        with receiver.holding(), worker() as child:
            assert eventually(lambda: receiver.came, seconds=120)
            child.send_signal(signal.SIGKILL)
            child.wait(30)
        half_sent = [headers["webhook-id"] for headers, _ in receiver.came]
        with worker(), worker(), worker():
            # The lease of what the dead process sent is over.
            before = timezone.now() - timedelta(seconds=1)
            Delivery.objects.filter(state="pending").update(due_at=before)
            write(pod("late", namespace="shop-0", waiting="CrashLoopBackOff"))

            def all_notified() -> bool:
                notified = NotificationGroup.objects.values_list("notified_alerts", flat=True)
                waiting = Delivery.objects.exclude(state="delivered")
                return sum(map(len, notified)) == 201 and not waiting.exists()

            assert eventually(all_notified, seconds=120)
    assert Alert.objects.filter(state="firing").count() == 201
    assert Alert.objects.values("fingerprint").distinct().count() == 201
    keys = set(Delivery.objects.values_list("idempotency_key", flat=True))
    came = Counter(headers["webhook-id"] for headers, _ in receiver.came)
    assert set(came) == keys
    # Only what a dead process had sent came twice, and by the same id.
    assert {key for key, times in came.items() if times > 1} <= set(half_sent)
    for group in NotificationGroup.objects.all():
        deliveries = Delivery.objects.filter(group=group)
        numbers = sorted(int(row.idempotency_key.rpartition("-")[2]) for row in deliveries)
        assert numbers == list(range(1, group.sequence + 1))
        assert group.sequence == (2 if group.labels["namespace"] == "shop-0" else 1)
    assert _told(receiver.came, "late") == 1


def _told(came: Any, name: str) -> int:
    """In how many distinct notifications an alert stood."""
    bodies = {headers["webhook-id"]: json.loads(body) for headers, body in came}
    return sum(
        any(alert["labels"]["name"] == name for alert in body["alerts"]) for body in bodies.values()
    )
