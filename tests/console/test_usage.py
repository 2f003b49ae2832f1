"""What objects use: columns of tables, and the pages of nodes and namespaces."""

from typing import Any

import pytest
from django.test import Client

from clusters.models import Cluster
from simcluster.testing import RunningCluster
from tests.console.conftest import Make


@pytest.fixture(autouse=True)
def uncached(settings: Any) -> None:
    """Every page computes the numbers again."""
    settings.USAGE_CACHE_SECONDS = 0


def test_tables_nodes_and_namespaces_show_requests_and_use(
    visitor: Client, cluster: Cluster, apiserver: RunningCluster, make: Make
) -> None:
    resources = {
        "requests": {"cpu": "100m", "memory": "64Mi"},
        "limits": {"cpu": "1", "memory": "256Mi"},
    }
    container = {"name": "main", "image": "nginx:1", "resources": resources}
    make("pods", {"metadata": {"name": "busy"}, "spec": {"containers": [container]}}, running=True)
    base = f"/clusters/{cluster.pk}"
    table = visitor.get(f"{base}/pods?namespace={make.space}&sort=-cpu").content.decode()
    assert "requests 100m · limits 1000m" in table
    assert "requests 64Mi · limits 256Mi" in table
    assert 'aria-sort="descending"' in table
    (pod,) = make.ready("busy")
    node = visitor.get(f"{base}/nodes/-/{pod['spec']['nodeName']}/usage").content.decode()
    assert "Allocatable" in node
    assert f'href="{base}/pods/{make.space}/busy"' in node
    make("resourcequotas", {"metadata": {"name": "few"}, "spec": {"hard": {"pods": "4"}}})
    quota = f"{base}/resourcequotas?namespace={make.space}"
    space = visitor.get(f"{base}/namespaces/-/{make.space}/usage").content.decode()
    assert "100m" in space
    assert f'href="{quota}"' in space
    assert '<td class="right">4</td>' in space
