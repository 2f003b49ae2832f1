"""A deployment by a real worker that is killed in the middle of it."""

import os
from pathlib import Path

import pytest

from clusters.models import Cluster
from operations.models import Operation
from simcluster.testing import RunningCluster
from tests import workers
from tests.caller import Caller
from tests.manifest_templates.test_deployments import Deployed
from tests.storage_api.collecting import eventually
from tests.workloads.conftest import space
from tests.workloads.test_worker_loss import PROGRAM_SETTINGS, WORKER, finished

__all__ = ["space"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow, pytest.mark.timeout(300)]


def test_a_deployment_survives_the_sigkill_of_its_worker(
    admin: Caller, cluster: Cluster, apiserver: RunningCluster, space: str, tmp_path: Path
) -> None:
    shop = Deployed(admin, cluster, space)
    other = f"{space}-b"
    content = {"metadata": {"name": other}}
    admin.data("POST", "namespaces", {"cluster_id": cluster.pk, "content": content})
    targets = [{"cluster_id": cluster.pk, "namespace": name} for name in (space, other)]
    environ = workers.environment(os.environ["REDIS_URL"], **PROGRAM_SETTINGS)
    beat = ("beat", "-l", "WARNING", "-s", str(tmp_path / "schedule"))
    apiserver.requests.clear()
    apiserver.faults.add(method="PATCH", action="delay", seconds=0.3)
    try:
        with workers.running(*WORKER, environ=environ) as first:
            answer = shop.deploy(targets=targets)["data"]
            eventually(lambda: _applied(apiserver) >= 2, seconds=90)
            first.kill()
        assert shop.detail(answer["deployment_id"])["state"] == "deploying"
        assert Operation.objects.get(pk=answer["operation_id"]).state == "running"
        apiserver.faults.clear()
        with (
            workers.running(*WORKER, environ=environ) as second,
            workers.running(*beat, environ=environ),
        ):
            row = finished(answer["operation_id"], second)
    finally:
        apiserver.faults.clear()
    assert row.state == "succeeded", row.error
    detail = shop.detail(answer["deployment_id"])
    assert detail["state"] == "deployed"
    assert [target["state"] for target in detail["targets"]] == ["succeeded", "succeeded"]
    for namespace in (space, other):
        listed = admin.data(
            "GET",
            "configmaps",
            cluster_id=cluster.pk,
            namespace=namespace,
            labelSelector=f"kubegale.io/deployment={detail['label']}",
        )
        assert listed["total"] == 3


def _applied(apiserver: RunningCluster) -> int:
    return len([request for request in apiserver.requests if request.method == "PATCH"])
