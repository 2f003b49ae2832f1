"""Several workers at the rules at once, and one that dies: nothing is lost, nothing is double."""

import threading
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connection, transaction

from access.tokens import create_api_token
from alerts import evaluation, lifecycle
from alerts.models import Alert, Channel, Evaluation, NotificationGroup, Rule
from tests.alerts.conftest import beat, pod, turn, write
from tests.alerts.test_evaluation import RULE
from tests.caller import Caller
from tests.storage_api.test_multicluster import fill


def test_two_workers_and_a_killed_one(emptied_store: None) -> None:
    beat(fill("east", []))
    user = get_user_model().objects.create_superuser("root", "r@example.com", None)
    channel = Channel.objects.create(name="c", kind="webhook", config="{}", owner=user)
    admin = Caller(create_api_token(user, "tests")[1])
    admin.data("POST", "alerts/rules", {**RULE, "channels": [channel.pk]})
    turn()
    place = Evaluation.objects.get().position
    write(*(pod(f"p{number}", waiting="CrashLoopBackOff") for number in range(300)))

    # A worker that dies in its turn leaves the place and the alerts as they were.
    class Killed(BaseException):
        pass

    try:
        with transaction.atomic():
            turn()
            assert Alert.objects.count() == 300
            raise Killed
    except Killed:
        pass
    assert Alert.objects.count() == 0
    assert Evaluation.objects.get().position == place
    held: list[Any] = []

    def work() -> None:
        try:
            held.extend(evaluation.run_turn() for _ in range(4))
        finally:
            connection.close()

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    turn()
    assert len(held) == 12
    firing = Alert.objects.filter(state="firing")
    assert firing.count() == 300
    assert firing.values("fingerprint").distinct().count() == 300
    # A burst is one group of one channel that is due.
    (group,) = NotificationGroup.objects.all()
    assert group.due_at is not None
    # The key over alerts that are not resolved refuses a second one, whoever raises it.
    rule = Rule.objects.get()
    with transaction.atomic():
        alert = firing.first()
        assert alert is not None
        lifecycle.apply_matches(rule, [], evaluation.database_now(), considered=[alert.subject])
    assert Alert.objects.filter(state="firing").count() == 299


def test_a_log_that_does_not_reach_back(emptied_store: None) -> None:
    beat(fill("east", []))
    user = get_user_model().objects.create_superuser("root", "r@example.com", None)
    admin = Caller(create_api_token(user, "tests")[1])
    admin.data("POST", "alerts/rules", RULE)
    write(pod("first"))
    turn()
    write(pod("web", waiting="CrashLoopBackOff"))
    write(pod("other"))
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM storage_change WHERE resource_name IN ('first', 'web')")
    turn()
    assert list(Alert.objects.values_list("name", flat=True)) == ["web"]
