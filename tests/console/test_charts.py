"""Use as charts, and in numbers beside them."""

from datetime import timedelta

from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from playwright.sync_api import expect

from clusters.models import Cluster
from tests.caller import Caller
from tests.console.browser import PHONE, Walk
from tests.console.conftest import Make, Walker
from tests.workloads.test_metrics import prometheus as prometheus
from workloads.models import Sample


def test_a_clusters_use_is_drawn_over_the_span_that_was_chosen(
    walk: Walk, cluster: Cluster
) -> None:
    now = timezone.now()
    for minute in range(50):
        at = now - timedelta(minutes=minute)
        Sample.objects.create(
            cluster=cluster,
            at=at,
            cpu=2.0 + minute % 7 / 10,
            memory=(3 + minute % 5 / 10) * 2**30,
            pods=40 + minute % 3,
        )
    page = walk.open(f"/clusters/{cluster.pk}")
    page.get_by_role("link", name="Over time").click()
    cpu = page.locator('.chart[data-key="cpu"]')
    expect(cpu.locator("canvas")).to_be_visible()
    expect(cpu.locator(".numbers")).to_contain_text("2.6 cores")
    expect(page.locator('.chart[data-key="memory"] .numbers')).to_contain_text("GiB")
    assert walk.axe() == []
    walk.picture("cluster")
    Sample.objects.filter(at__lt=now - timedelta(minutes=1)).delete()
    page.get_by_label("Span").select_option("24h")
    expect(cpu.locator(".numbers")).not_to_contain_text("max")


def test_a_pods_use_grows_while_one_looks(
    walker: Walker, person: User, cluster: Cluster, make: Make
) -> None:
    resources = {
        "requests": {"cpu": "100m", "memory": "64Mi"},
        "limits": {"cpu": "1", "memory": "256Mi"},
    }
    container = {"name": "main", "image": "nginx:1", "resources": resources}
    make("pods", {"metadata": {"name": "busy"}, "spec": {"containers": [container]}}, running=True)
    walk = walker(person, size=PHONE)
    page = walk.open(f"/clusters/{cluster.pk}/pods/{make.space}/busy/metrics")
    memory = page.locator('.chart[data-key="memory"]')
    expect(memory.locator(".numbers")).to_contain_text("256 MiB", timeout=15_000)
    expect(memory.locator("canvas")).to_be_visible()
    assert not walk.is_wider_than_the_window()
    walk.picture("phone")


def test_a_prometheus_knows_the_past_of_a_node(
    visitor: Client, admin: Caller, cluster: Cluster, prometheus: str
) -> None:
    admin.data("PUT", f"clusters/{cluster.pk}", {"prometheus": prometheus})
    address = f"/clusters/{cluster.pk}/nodes/-/node-00/metrics"
    assert 'id="metrics-span"' in visitor.get(address).content.decode()
    past = visitor.get(f"{address}/data", {"span": "6h"}).json()
    assert past["series"]["cpu"]["used"] == [[1_700_000_000, 1.0], [1_700_000_060, 3.0]]
    now = visitor.get(f"{address}/data").json()
    assert now["now"]["cpu"]["used"] == 2.5
    wrong = visitor.get(f"{address}/data", {"span": "for ever"})
    assert (wrong.status_code, "must look like" in wrong.json()["message"]) == (400, True)


def test_a_cluster_that_nobody_measures_says_what_to_do(
    visitor: Client, cluster: Cluster, make: Make, apiserver: object
) -> None:
    make(
        "pods",
        {
            "metadata": {"name": "quiet"},
            "spec": {"containers": [{"name": "main", "image": "nginx:1"}]},
        },
        running=True,
    )
    faults = apiserver.faults  # type: ignore[attr-defined]
    faults.add(path="/apis/metrics.k8s.io/*", action="status", code=404)
    try:
        page = visitor.get(
            f"/clusters/{cluster.pk}/pods/{make.space}/quiet/metrics"
        ).content.decode()
    finally:
        faults.clear()
    assert "No metrics source" in page
