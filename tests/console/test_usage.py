"""What objects use: columns of tables, and the pages of nodes and namespaces."""

from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from clusters.models import Cluster
from simcluster.testing import RunningCluster
from tests.caller import Caller
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


def test_namespaces_cost_what_they_request_or_use(
    visitor: Client, admin: Caller, cluster: Cluster, make: Make, settings: Any
) -> None:
    settings.COST_CPU_HOUR = Decimal(2)
    settings.COST_GIB_HOUR = Decimal(4)
    resources = {"requests": {"cpu": "3", "memory": "2Gi"}}
    container = {"name": "main", "image": "nginx:1", "resources": resources}
    make("pods", {"metadata": {"name": "dear"}, "spec": {"containers": [container]}}, running=True)
    query = {"cluster_id": cluster.pk, "namespace": make.space}
    cost = admin.data("GET", "metrics/cost", **query)
    (row,) = cost["items"]
    assert (row["namespace"], row["pods"]) == (make.space, 1)
    # What the simulated pod uses is far below.
    assert row["per_hour"] == pytest.approx(3 * 2 + 2 * 4)
    assert cost["total"]["per_month"] == pytest.approx(14 * 730)
    page = visitor.get(f"/cost?cluster={cluster.pk}").content.decode()
    assert "10220.00" in page.replace(",", "")
    file = visitor.get(f"/cost?cluster={cluster.pk}&format=csv").content.decode()
    (line,) = [line for line in file.splitlines() if f",{make.space}," in line]
    assert line.startswith(f"{cluster.name},{make.space},,1,3.0,2147483648,14.0,10220.0,USD")
    total = visitor.get(f"/cost?cluster={cluster.pk}&by=cluster").content.decode()
    assert f'<a href="/clusters/{cluster.pk}">' in total
