"""kubectl and our own list name the same objects, whatever the kind."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from clusters.models import Cluster
from simcluster.testing import RunningCluster
from storage_api.models import KindSync
from tests.caller import Caller
from tests.storage_api.collecting import collecting, eventually, is_true
from tests.storage_api.test_collector import watching

KUBECTL = shutil.which("kubectl")
ALWAYS_LIVE = {"secrets", "events"}


def identity(item: dict[str, Any]) -> tuple[str, str, str, str]:
    """What tells an object, and its version, from every other."""
    metadata = item["metadata"]
    return (
        metadata.get("namespace", ""),
        metadata["name"],
        metadata["uid"],
        metadata["resourceVersion"],
    )


@pytest.mark.slow
@pytest.mark.skipif(
    KUBECTL is None, reason="kubectl is not installed: its lists cannot be compared with ours"
)
def test_kubectl_and_the_store_list_the_same_objects_of_every_kind(
    server: RunningCluster, watched: Cluster, admin: Caller, tmp_path: Path
) -> None:
    server.load_pods(60)
    config = tmp_path / "kubeconfig"
    config.write_text(server.kubeconfig_yaml)
    with collecting():
        eventually(lambda: is_true(server, "watched") and watching("watched"), seconds=60)
        kinds = list(
            KindSync.objects.filter(cluster=watched)
            .exclude(plural__in=ALWAYS_LIVE)
            .order_by("group", "plural")
        )
        assert len(kinds) > 25
        names = ",".join(
            f"{kind.plural}.{kind.version}.{kind.group}".rstrip(".") if kind.group else kind.plural
            for kind in kinds
        )
        command = [
            str(KUBECTL),
            "--kubeconfig",
            str(config),
            "get",
            names,
            "--all-namespaces",
            "-o",
            "json",
        ]
        theirs = json.loads(
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout
        )["items"]
        seen = set()
        for kind in kinds:
            path = f"resources/{kind.group or 'core'}/{kind.version}/{kind.plural}"
            answer = eventually(lambda: _from_store(admin, path, watched))  # noqa: B023  # called at once
            ours = {identity(item) for item in answer["items"]}
            of_kind = [
                item
                for item in theirs
                if item["kind"] == kind.kind and item["apiVersion"].rpartition("/")[0] == kind.group
            ]
            assert ours == {identity(item) for item in of_kind}, kind.plural
            assert answer["total"] == len(of_kind)
            seen |= ours
        assert len(seen) == len(theirs) > 60


def _from_store(admin: Caller, path: str, cluster: Cluster) -> Any:
    """The page, once it comes out of the store."""
    response = admin.raw("GET", path, cluster_id=cluster.pk, pageSize=500)
    return response.json()["data"] if "X-Data-Age" in response else None
