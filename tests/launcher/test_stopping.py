"""A rolling upgrade: a web pod that is told to go ends what it has begun."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from typing import Any

import pytest
from django.contrib.auth import get_user_model

from access.tokens import create_api_token
from clusters.models import Cluster
from launcher.ports import free_port
from launcher.programs import ROOT
from simcluster.testing import RunningCluster
from tests.launcher.watching import descendants, eventually, living
from tests.tuning import tuned
from tests.workers import database_url


def answers(url: str) -> bool:
    """Whether the address answers 200."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310  our own loopback address
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.django_db(transaction=True)
def test_a_web_pod_that_is_told_to_go_answers_what_it_was_asked_and_leaves_nothing(
    cluster: Cluster, apiserver: RunningCluster
) -> None:
    user = get_user_model().objects.create_superuser("admin", "admin@example.com", None)
    token = create_api_token(user, "tests")[1]
    port = free_port()
    environ = {
        **os.environ,
        "DATABASE_URL": database_url(),
        "KUBEGALE_SERVE": "web",
        "KUBEGALE_MIGRATE": "false",
        "KUBEGALE_BIND": "127.0.0.1",
        "KUBEGALE_PORT": str(port),
        "KUBEGALE_WS_PORT": str(next(free for free in iter(free_port, None) if free != port)),
        "LOG_LEVEL": "ERROR",
    }
    answer: dict[str, Any] = {}

    def write() -> None:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        content = {"metadata": {"name": "written-while-stopping"}}
        body = {"cluster_id": cluster.pk, "namespace": "default", "content": content}
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        client.request("POST", "/api/v1/kubernetes/configmaps", json.dumps(body), headers)
        answer.update(json.loads(client.getresponse().read()))

    with subprocess.Popen(
        [sys.executable, "-m", "launcher", "serve"], cwd=ROOT, env=tuned(environ)
    ) as process:
        try:
            assert eventually(lambda: answers(f"http://127.0.0.1:{port}/readyz"), seconds=90)
            below = descendants(process.pid)
            # Long enough for the signal to come first, short enough for nobody to give up.
            apiserver.faults.add(path="/configmaps", method="POST", action="delay", seconds=2)
            writer = threading.Thread(target=write)
            writer.start()
            assert eventually(
                lambda: any(
                    request.method == "POST" and request.path.endswith("/configmaps")
                    for request in apiserver.requests
                ),
                seconds=30,
            )
            process.send_signal(signal.SIGTERM)
            writer.join(60)
            assert answer["code"] == 0, answer
            assert process.wait(60) == 0
            assert not [pid for pid in below if living(pid)]
        finally:
            apiserver.faults.clear()
            process.kill()
    assert apiserver.get("configmaps", "written-while-stopping", "default") is not None
