"""Servers that die under the collector: it goes on by itself, and nothing is missing afterwards."""

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from clusters import services
from clusters.kinds import KINDS
from launcher import ports
from storage_api.models import Resource
from tests.storage_api.collecting import eventually, in_store, replayed
from tests.storage_api.test_leases import process


@contextlib.contextmanager
def simulated(port: int, folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """An API server in a process of its own, which remembers nothing of the one before."""
    config = folder / "kubeconfig"
    config.unlink(missing_ok=True)
    command = [sys.executable, "-m", "simcluster", "--port", str(port), "--token", "kills", "--kubeconfig-out", str(config)]
    child = subprocess.Popen(command)
    try:
        eventually(config.exists)
        yield child
    finally:
        child.kill()
        child.wait()


def insecure(text: str) -> str:
    """The kubeconfig without its authority: each process makes one of its own."""
    config = yaml.safe_load(text)
    cluster = config["clusters"][0]["cluster"]
    del cluster["certificate-authority-data"]
    cluster["insecure-skip-tls-verify"] = True
    return yaml.safe_dump(config)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_an_api_server_that_was_killed_and_comes_back_with_another_memory_is_followed(emptied: None, settings: Any, tmp_path: Path) -> None:
    settings.CLUSTER_ALLOW_INSECURE_TLS = True
    port = ports.free_port()
    with simulated(port, tmp_path) as first:
        cluster = services.register(name="killed", kubeconfig_text=insecure((tmp_path / "kubeconfig").read_text()))

        def live() -> set[str]:
            listed = json.loads(services.client(cluster).request("GET", KINDS["namespaces"].path()))
            return {item["metadata"]["uid"] for item in listed["items"]}

        def kept() -> set[str]:
            return set(Resource.objects.filter(cluster_id="killed", resource_type="Namespace").values_list("uid", flat=True))

        with process(CLUSTER_ALLOW_INSECURE_TLS="true", COLLECTOR_MAX_DELAY="1", LOG_LEVEL="ERROR"):
            before = eventually(lambda: kept() == live() and kept(), seconds=60)
            first.send_signal(signal.SIGKILL)
            first.wait()
            with simulated(port, tmp_path):
                after = eventually(lambda: kept() - before, seconds=60)
                eventually(lambda: kept() == live(), seconds=60)
    assert after
    assert replayed("killed") == in_store("killed")
