"""What a killed socket process leaves behind."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from typing import Any

import pytest
from django.conf import settings as live

from clusters import registry
from clusters.kinds import KINDS
from clusters.models import Cluster
from core.sockets.quota import quota_key
from core.sockets.tickets import blocking_redis
from launcher.ports import free_port
from tests.socket_server import peer
from workloads import tasks
from workloads.streams.exec import debug_pod_manifest

PODS = KINDS["pods"]


@pytest.mark.django_db
def test_debug_pods_that_no_terminal_holds_are_removed(apiserver: Any, cluster: Cluster) -> None:
    open_pod, stale_pod, new_pod = (debug_pod_manifest("node-00", name * 32, 7) for name in "abc")
    for pod, age in (
        (open_pod, "2026-01-01T00:00:00Z"),
        (stale_pod, "2026-01-01T00:00:00Z"),
        (new_pod, ""),
    ):
        pod["metadata"]["creationTimestamp"] = age or time.strftime(
            "%Y-%m-%dT%H:%M:%SZ", time.gmtime()
        )
    apiserver.load("pods", [open_pod, stale_pod, new_pod])
    blocking_redis(live.REDIS_URL).zadd(quota_key("terminals", 7), {"a" * 32: time.time() + 60})
    assert tasks.remove_cluster_debug_pods(cluster.pk) == 1
    names = {pod["metadata"]["name"] for pod in apiserver.list("pods", "kube-system")}
    apiserver.wait(
        lambda: apiserver.get("pods", stale_pod["metadata"]["name"], "kube-system") is None
    )
    assert {open_pod["metadata"]["name"], new_pod["metadata"]["name"]} <= names
    client = registry.client(cluster)
    for pod in (open_pod, new_pod):
        client.delete(
            PODS,
            pod["metadata"]["name"],
            namespace="kube-system",
            options={"gracePeriodSeconds": 0},
        )


def test_a_process_that_is_told_to_stop_tells_its_clients_1001(
    ticket: Any, scripted: Any, registered: Cluster, settings: Any
) -> None:
    scripted.add_pod("web", "app")
    port = free_port()
    base = f"ws://127.0.0.1:{port}"
    settings.WS_BASE_URL = base
    database = live.DATABASES["default"]
    url = f"postgres://{database['USER']}:{database['PASSWORD']}@{database['HOST']}:{database['PORT']}/{database['NAME']}"
    environ = {
        **os.environ,
        "DATABASE_URL": url,
        "CLUSTER_ALLOW_INSECURE_TLS": "true",
        "REDIS_URL": live.REDIS_URL,
    }
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "kubegale.asgi:application",
        "--port",
        str(port),
        "--log-level",
        "info",
    ]
    process = subprocess.Popen(
        command, env=environ, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        tickets = ticket("pods/web/logs/stream"), ticket("pods/web/terminal")
        with peer(tickets[0]["ws_url"]) as logs, peer(tickets[1]["terminal_url"]) as shell:
            logs.until(lambda peer: "connected" in peer.states())
            shell.until(lambda peer: "$" in peer.output)
            process.send_signal(signal.SIGTERM)
            assert logs.end() == 1001
            assert shell.end() == 1001
            # Each is told a time of its own.
            for closed in (logs, shell):
                assert re.fullmatch(r"restart; retry after [1-8]\.\d s", closed.reason)
        _, output = process.communicate(timeout=20)
        assert process.returncode in {0, -signal.SIGTERM}
        assert "/ws/logs/" in output
        assert not [issued for issued in tickets if issued["token"] in output], (
            "a ticket was written into the log"
        )
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
