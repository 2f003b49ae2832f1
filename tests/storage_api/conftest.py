"""Fixtures of the store's tests."""

from collections.abc import Iterator

import pytest
from django.db import connection

from clusters import registry
from clusters.models import Cluster
from simcluster.testing import RunningCluster, running_cluster


@pytest.fixture
def emptied(transactional_db: None) -> Iterator[None]:
    """A store without rows, before and after: its tables are not Django's to flush."""
    _empty()
    yield
    _empty()


def _empty() -> None:
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE storage_resource, storage_change, storage_gap")


@pytest.fixture
def server() -> Iterator[RunningCluster]:
    """A simulated cluster of this test alone, in which nothing moves by itself."""
    with running_cluster(controllers=False, kubelet=False) as found:
        yield found


@pytest.fixture
def watched(emptied: None, server: RunningCluster) -> Cluster:
    """That cluster, registered."""
    return registry.register(name="watched", kubeconfig_text=server.kubeconfig_yaml)
