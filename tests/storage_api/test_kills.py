"""Servers that die under the collector: it goes on by itself, and nothing is missing afterwards."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import yaml

from clusters import registry
from clusters.kinds import KINDS
from launcher import ports
from launcher.testing import running_servers
from simcluster.testing import RunningCluster
from storage_api.models import Resource
from tests.storage_api.collecting import eventually, in_cluster, in_store, replayed
from tests.storage_api.test_collector import config_map
from tests.storage_api.test_leases import process


def crash(address: str) -> None:
    """Kill one of the server's processes.

    The server ends all sessions and recovers from its log, as after a loss of power.
    """

    def kill_session(database: Any) -> bool:
        with database.cursor() as cursor:
            cursor.execute(
                "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'"
                " AND pid <> pg_backend_pid() LIMIT 1"
            )
            row = cursor.fetchone()
        if row is None:
            return False
        try:
            os.kill(row[0], signal.SIGKILL)
        except ProcessLookupError:
            # It has ended by itself meanwhile.
            return False
        return True

    eventually(lambda: ask(address, kill_session), seconds=60)


def ask(address: str, read: Callable[[Any], Any]) -> Any:
    """What `read` returns for a connection; None while the server takes none.

    A server that is about to end its sessions may still accept one.
    """
    try:
        with contextlib.closing(psycopg2.connect(address)) as database:
            database.autocommit = True
            return read(database)
    except (psycopg2.OperationalError, psycopg2.InterfaceError):
        return None


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_database_that_crashes_under_load_loses_nothing(
    server: RunningCluster, tmp_path: Path
) -> None:
    server.load_pods(300)
    (tmp_path / "kubeconfig").write_text(server.kubeconfig_yaml)
    with running_servers(redis=False) as addresses:
        address = str(addresses.database_url)

        def stored() -> Any:
            return ask(address, lambda database: in_store("watched", database))

        environ = {**os.environ, "DATABASE_URL": address}
        for command in (
            ["migrate", "--verbosity", "0"],
            ["register_cluster", "watched", "--kubeconfig", str(tmp_path / "kubeconfig")],
        ):
            subprocess.run(
                [sys.executable, "manage.py", *command],
                env=environ,
                check=True,
                capture_output=True,
            )
        with process(
            DATABASE_URL=address,
            COLLECTOR_BATCH="20",
            COLLECTOR_LEASE_SECONDS="3",
            LOG_LEVEL="CRITICAL",
        ):
            eventually(lambda: len(stored() or ()) > 50, seconds=60)
            for round_ in range(3):
                crash(address)
                for number in range(100):
                    server.load(
                        "configmaps", [config_map(f"load-{number % 40}", f"{round_}-{number}")]
                    )
            eventually(lambda: stored() == in_cluster(server), seconds=90)
        history = ask(address, lambda database: replayed("watched", database))
        assert history
        assert history == stored()


@contextlib.contextmanager
def simulated(port: int, folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """An API server in a process of its own, which remembers nothing of the one before."""
    config = folder / "kubeconfig"
    config.unlink(missing_ok=True)
    command = [
        sys.executable,
        "-m",
        "simcluster",
        "--port",
        str(port),
        "--token",
        "kills",
        "--kubeconfig-out",
        str(config),
    ]
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
def test_an_api_server_that_was_killed_and_comes_back_with_another_memory_is_followed(
    emptied: None, settings: Any, tmp_path: Path
) -> None:
    settings.CLUSTER_ALLOW_INSECURE_TLS = True
    port = ports.free_port()
    with simulated(port, tmp_path) as first:
        cluster = registry.register(
            name="killed", kubeconfig_text=insecure((tmp_path / "kubeconfig").read_text())
        )

        def live() -> set[str]:
            listed = json.loads(registry.client(cluster).request("GET", KINDS["namespaces"].path()))
            return {item["metadata"]["uid"] for item in listed["items"]}

        def kept() -> set[str]:
            return set(
                Resource.objects.filter(cluster_id="killed", resource_type="Namespace").values_list(
                    "uid", flat=True
                )
            )

        with process(CLUSTER_ALLOW_INSECURE_TLS="true", COLLECTOR_MAX_DELAY="1", LOG_LEVEL="ERROR"):
            before = eventually(lambda: kept() == live() and kept(), seconds=60)
            first.send_signal(signal.SIGKILL)
            first.wait()
            with simulated(port, tmp_path):
                after = eventually(lambda: kept() - before, seconds=60)
                eventually(lambda: kept() == live(), seconds=60)
    assert after
    assert replayed("killed") == in_store("killed")
