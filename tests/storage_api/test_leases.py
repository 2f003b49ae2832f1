"""Several collectors share the clusters, a dead one is replaced, and never do two write for one."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from django.conf import settings
from django.db import connection

from clusters import registry
from clusters.models import Cluster
from simcluster.testing import RunningCluster
from storage_api.collector import leases
from storage_api.collector.writer import LeaseHolder, write
from storage_api.models import ClusterSync, Resource
from storage_api.services.bulk import WriteRecord
from storage_api.services.resources import Key
from storage_api.services.sync import Fenced
from tests.storage_api.collecting import eventually, in_store, replayed, wait_true
from tests.storage_api.test_collector import config_map
from tests.tuning import tuned


@contextlib.contextmanager
def process(**environ: str) -> Iterator["subprocess.Popen[bytes]"]:
    """`manage.py collect` on the tests' database."""
    to = connection.settings_dict
    address = f"postgres://{quote(to['USER'])}:{quote(to['PASSWORD'])}@{to['HOST']}:{to['PORT']}/{to['NAME']}"
    settings = tuned(
        {
            **os.environ,
            "DATABASE_URL": address,
            "LOG_LEVEL": "WARNING",
            "COLLECTOR_BEAT_SECONDS": "0.3",
            **environ,
        }
    )
    child = subprocess.Popen([sys.executable, "manage.py", "collect"], env=settings)
    try:
        yield child
    finally:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


@pytest.mark.slow
def test_a_killed_collector_is_replaced_when_its_lease_is_over(
    server: RunningCluster, watched: Cluster
) -> None:
    # With a lease of eight seconds the next owner is there within fifteen, on a machine at rest.
    assert settings.COLLECTOR_LEASE_SECONDS <= 8
    server.load_pods(40)
    with process() as first:
        wait_true(server, "watched", seconds=60)
        owner = ClusterSync.objects.get().owner
        with process():
            first.send_signal(signal.SIGKILL)
            server.load("configmaps", [config_map("after-the-kill")])
            eventually(lambda: ClusterSync.objects.get().owner not in ("", owner), seconds=60)
            wait_true(server, "watched", seconds=60)
    assert ClusterSync.objects.get().owner == "", "an orderly end gives the clusters back"
    assert replayed("watched") == in_store("watched")


def test_clusters_are_shared_out_evenly_and_given_away_when_another_comes(
    server: RunningCluster, watched: Cluster
) -> None:
    for name in ("two", "three", "four"):
        registry.register(name=name, kubeconfig_text=server.kubeconfig_yaml)
    assert len(leases.renew_leases("a", seconds=30)) == 4
    assert leases.renew_leases("b", seconds=30) == []
    first, second = leases.renew_leases("a", seconds=30), leases.renew_leases("b", seconds=30)
    assert (len(first), len(second)) == (2, 2)
    assert not {lease.cluster for lease in first} & {lease.cluster for lease in second}
    leases.release_all("a")
    assert len(leases.renew_leases("b", seconds=30)) == 4


def test_a_former_owner_writes_nothing(watched: Cluster) -> None:
    (lease,) = leases.renew_leases("a", seconds=0.001)
    time.sleep(0.01)
    (taken,) = leases.renew_leases("b", seconds=30)
    assert taken.token > lease.token
    record = WriteRecord(Key("watched", "ConfigMap", "default", "late"), b"{}")
    with pytest.raises(Fenced):
        write(LeaseHolder(watched.pk, "watched", lease.token), [record])
    assert not Resource.objects.filter(resource_name="late").exists()
    write(LeaseHolder(watched.pk, "watched", taken.token), [record])
    assert Resource.objects.filter(resource_name="late").exists()


def test_a_renamed_cluster_is_collected_under_its_new_name(
    server: RunningCluster, watched: Cluster
) -> None:
    server.load("configmaps", [config_map("same")])
    with process(COLLECTOR_LEASE_SECONDS="2"):
        wait_true(server, "watched", seconds=60)
        registry.update(watched, {"name": "renamed"})
        wait_true(server, "renamed", seconds=60)
        eventually(lambda: not in_store("watched"))


def test_the_rows_of_a_cluster_that_is_removed_go_and_its_namesake_keeps_its_own(
    server: RunningCluster, watched: Cluster
) -> None:
    server.load("configmaps", [config_map("same")])
    with process(COLLECTOR_LEASE_SECONDS="1"):
        wait_true(server, "watched", seconds=60)
        registry.remove(watched)
        eventually(lambda: not in_store("watched"))
        assert replayed("watched") == {}, "the log tells of the deletions"
        registry.register(name="watched", kubeconfig_text=server.kubeconfig_yaml)
        wait_true(server, "watched", seconds=60)
    assert replayed("watched") == in_store("watched")
