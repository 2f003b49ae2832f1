"""What the processes do while nothing happens."""

from functools import partial
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from alerts.models import Alert, Evaluation
from alerts.tasks import evaluate, send_notifications
from automation.tasks import tick
from kubegale.celery import app
from launcher.testing import running_servers
from tests.alerts.conftest import beat, pod, write
from tests.alerts.test_evaluation import RULE
from tests.caller import Caller
from tests.storage_api.collecting import eventually
from tests.storage_api.test_multicluster import fill
from tests.workers import Program, environment, running

# What beat sends most often.
PERIODIC = ("alerts.dispatch", "automation.tick", "alerts.evaluate")
SESSIONS = "SELECT pid, backend_start FROM pg_stat_activity WHERE datname = current_database()"


def sessions() -> set[tuple[int, Any]]:
    """Every session of the test's database, and since when it is there."""
    with connection.cursor() as cursor:
        cursor.execute(SESSIONS)
        return set(cursor.fetchall())


def has_ended(worker: Program, number: int) -> bool:
    """Whether so many tasks have ended well."""
    return worker.text().count(" succeeded in ") >= number


@pytest.mark.django_db(transaction=True)
def test_a_worker_keeps_its_session_from_task_to_task() -> None:
    with running_servers(database=False) as servers:
        assert servers.redis_url
        environ = environment(servers.redis_url, LOG_LEVEL="INFO", DATABASE_CONN_MAX_AGE="3600")
        before = sessions()
        options = ("--concurrency", "1", "--without-gossip", "--without-mingle")
        with (
            running("worker", *options, "--loglevel", "INFO", environ=environ) as worker,
            app.connection_for_write(url=servers.redis_url) as broker,
        ):
            ended = 0
            sessions_of_turns = []
            for _ in range(3):
                for name in PERIODIC:
                    app.send_task(name, connection=broker)
                ended += len(PERIODIC)
                eventually(partial(has_ended, worker, ended), seconds=120)
                sessions_of_turns.append(sessions() - before)
            kept = set.intersection(*sessions_of_turns)
            assert kept, sessions_of_turns
        # They were the worker's: with it they are gone.
        eventually(lambda: kept - sessions(), seconds=60)


def test_periodic_tasks_with_nothing_to_do_ask_the_database_once(emptied_store: None) -> None:
    fill("east", [])
    for task in (evaluate, send_notifications, tick):
        # The first turn makes the row of the evaluation.
        task()
        with CaptureQueriesContext(connection) as queries:
            task()
        assert len(queries) == 1, [query["sql"] for query in queries.captured_queries]


def test_a_rested_evaluation_misses_no_change(emptied_store: None, admin: Caller) -> None:
    beat(fill("east", []))
    write(pod("early", waiting="CrashLoopBackOff"))
    evaluate()
    evaluate()
    rested_at = Evaluation.objects.get().position
    admin.data("POST", "alerts/rules", {**RULE, "for": "0s"})
    write(pod("late", waiting="CrashLoopBackOff"))
    evaluate()
    names = {alert.labels["name"] for alert in Alert.objects.all()}
    assert names == {"early", "late"}
    assert Evaluation.objects.get().position > rested_at
