"""What clusters answer in the ordinary course of things is no fault of ours: periodic tasks say a line about it, never a traceback."""

import contextlib
import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest
import yaml
from django.conf import LazySettings

from clusters.models import Cluster
from kubegale.celery import app
from simcluster.testing import RunningCluster
from tenants.models import Tenant
from tests.bad_servers import answering, broken_off, refusing, serving, silent


def status(code: int, reason: str) -> bytes:
    """A Status of an API server that refuses."""
    text = f'"status":"Failure","message":"{reason} here","reason":"{reason}","code":{code}'
    return b'{"kind":"Status","apiVersion":"v1",' + text.encode() + b"}"


ANSWERS = {
    "401": answering("401 Unauthorized", status(401, "Unauthorized")),
    "403": answering("403 Forbidden", status(403, "Forbidden")),
    "404": answering("404 Not Found", b"404 page not found\n"),
    "410": answering("410 Gone", status(410, "Expired")),
    "429": answering("429 Too Many Requests", status(429, "TooManyRequests"), "Retry-After: 1"),
    "500": answering("500 Internal Server Error", status(500, "InternalError")),
    "503": answering("503 Service Unavailable", b"<html>no backend</html>"),
    "302": answering("302 Found", b"", "Location: /login"),
    "page": answering("200 OK", b"<html>sign in</html>", "Content-Type: text/html"),
    "list": answering("200 OK", b"[]", "Content-Type: application/json"),
    "null": answering("200 OK", b"null", "Content-Type: application/json"),
    "silent": silent,
    "broken-off": broken_off,
}


def kubeconfig(url: str) -> str:
    """How to reach an address with a token."""
    context = {"cluster": "c", "user": "u"}
    return yaml.safe_dump(
        {
            "current-context": "c",
            "contexts": [{"name": "c", "context": context}],
            "clusters": [{"name": "c", "cluster": {"server": url}}],
            "users": [{"name": "u", "user": {"token": "a-token"}}],
        }
    )


def add(name: str, text: str) -> Cluster:
    """A cluster that was well when it was last looked at, with a tenant."""
    cluster = Cluster.objects.create(name=name, kubeconfig=text, status="active")
    Tenant.objects.create(cluster=cluster, namespace="team", uid=f"uid-of-{name}")
    return cluster


@pytest.fixture
def unwell(
    transactional_db: None, apiserver: RunningCluster, settings: LazySettings
) -> Iterator[list[Cluster]]:
    """A cluster whose credentials may do nothing, a dead one, and some for each wrong answer."""
    settings.CLUSTER_READ_TIMEOUT = 0.3
    settings.CLUSTER_CONNECT_TIMEOUT = 1.0
    settings.CLUSTER_ALLOW_INSECURE_TLS = True
    with contextlib.ExitStack() as servers:
        clusters = [
            add("limited", yaml.safe_dump(apiserver.add_user("may-do-nothing"))),
            add("dead", kubeconfig(servers.enter_context(refusing()))),
        ]
        for name, behaviour in ANSWERS.items():
            clusters.append(add(name, kubeconfig(servers.enter_context(serving(behaviour)))))
        url = servers.enter_context(serving(answering("400 Bad Request", b"not TLS")))
        clusters.append(add("no-tls", kubeconfig(url.replace("http:", "https:"))))
        # The name that the certificate is for, and who signed it, are not what was asked for.
        clusters.append(add("untrusted", kubeconfig(apiserver.url)))
        yield clusters


@pytest.fixture
def eagerly() -> Iterator[None]:
    """What a task sends is run at once, and what it raises is raised here."""
    before = (app.conf.task_always_eager, app.conf.task_eager_propagates)
    app.conf.update(task_always_eager=True, task_eager_propagates=True)
    yield
    app.conf.update(task_always_eager=before[0], task_eager_propagates=before[1])


def beat_tasks(settings: LazySettings) -> list[str]:
    """Every task of the beat; the one that finds clusters out comes last, since the others leave alone what is known to be away."""
    names = {str(entry["task"]) for entry in settings.CELERY_BEAT_SCHEDULE.values()}
    return sorted(names, key=lambda name: (name == "clusters.check_clusters", name))


def test_no_periodic_task_logs_a_traceback_for_what_clusters_answer(
    unwell: list[Cluster],
    eagerly: None,
    settings: LazySettings,
    caplog: pytest.LogCaptureFixture,
) -> None:
    app.loader.import_default_modules()
    app.log.setup()
    with caplog.at_level(logging.INFO):
        # Celery's set-up of the log has just taken it away.
        logging.getLogger().addHandler(caplog.handler)
        for name in beat_tasks(settings):
            app.tasks[name].apply(throw=True)
    assert not [record.getMessage() for record in caplog.records if record.exc_info]
    for cluster in unwell:
        assert cluster.name in caplog.text, f"nothing was said about {cluster.name}"
    states = dict(Cluster.objects.values_list("name", "status"))
    assert states["dead"] == "unreachable"
    assert "active" not in {states[name] for name in ("401", "429", "page", "no-tls", "untrusted")}


def test_the_clock_knows_the_schedule_and_loads_no_application() -> None:
    """It is a process of its own, and every application would be a hundred megabytes."""
    program = (
        "from django.apps import apps; from kubegale.beat import app;"
        "app.loader.init_worker(); app.finalize();"
        "print(apps.ready, *sorted(row['task'] for row in app.conf.beat_schedule.values()))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    ready, *names = answer.stdout.split()
    assert ready == "False"
    app.loader.import_default_modules()
    assert names
    assert set(names) <= set(app.tasks)
