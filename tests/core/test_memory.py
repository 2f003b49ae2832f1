"""Memory of processes: of the web it follows what is being answered, not what was."""

import http.client
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection

from tests.storeserver import PREFIX, running_store

# What a Celery worker and a collector load before their work, and which modules that makes.
BACKGROUND = """
import sys
import django
django.setup()
from celery.fixups.django import DjangoWorkerFixup
from kubegale.celery import app
app.loader.import_default_modules()
DjangoWorkerFixup(app).validate_models()
from django.core.management import load_command_class
command = load_command_class("storage_api", "collect")
if command.requires_system_checks:
    command.check()
print(*sys.modules)
"""

DOCUMENT = f"{PREFIX}/k8s/dynamic/namespace_resources/clusters/c/namespaces/n/Pod/large"
SIZE = 4 * 1024 * 1024
ANSWERS = 40
MOST_MEGABYTES = 200


def _resident_megabytes(master: int) -> int:
    """Of the only worker of a gunicorn."""
    worker = Path(f"/proc/{master}/task/{master}/children").read_text().split()[0]
    status = Path(f"/proc/{worker}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) // 1024


@pytest.mark.django_db(transaction=True)
def test_large_answers_over_one_connection_leave_nothing_behind() -> None:
    """View, request and answer are no ring that only the garbage collector would free."""
    text = b'{"data": {"text": "' + b"x" * SIZE + b'"}}'
    with running_store(str(connection.settings_dict["NAME"])) as store:
        client = http.client.HTTPConnection(store.host, store.port, timeout=60)
        client.request("PUT", DOCUMENT, text, {"Content-Type": "application/json"})
        assert client.getresponse().read()
        peak = 0
        for number in range(ANSWERS):
            client.request("GET", DOCUMENT)
            assert len(client.getresponse().read()) > SIZE
            if number % 5 == 0:
                peak = max(peak, _resident_megabytes(store.pid))
        client.close()
    assert peak < MOST_MEGABYTES


def test_background_processes_load_no_addresses_and_no_pages() -> None:
    answer = subprocess.run(
        [sys.executable, "-c", BACKGROUND],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "kubegale.settings"},
        cwd=settings.BASE_DIR,
        check=True,
        capture_output=True,
        text=True,
    )
    modules = set(answer.stdout.split())
    assert {"workloads.tasks", "storage_api.collector.process"} <= modules
    assert not modules & {"kubegale.urls", "clusters.admin", "console.navigation"}
