"""Fixtures of the tests of alerts: a cluster whose rows tests write as its collector does."""

from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.utils import timezone

from access import grants
from access.tokens import create_api_token
from alerts import evaluation
from clusters.models import Cluster
from storage_api.models import ClusterSync, KindSync
from storage_api.services import bulk
from storage_api.services.bulk import WriteRecord
from storage_api.services.resources import Key
from tests.caller import Caller
from tests.storage_api.test_multicluster import fill

Write = Callable[..., None]


def pod(
    name: str, *, waiting: str = "", restarts: int = 0, namespace: str = "shop", phase: str = ""
) -> dict[str, Any]:
    """A pod's document, of one container that waits for a reason or runs."""
    state = {"waiting": {"reason": waiting}} if waiting else {"running": {}}
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": f"u-{namespace}-{name}",
            "labels": {"app": name},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "web-1", "uid": "u-rs"}],
        },
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "a:1"}]},
        "status": {
            "phase": phase or ("Pending" if waiting else "Running"),
            "conditions": [{"type": "Ready", "status": "False" if waiting else "True"}],
            "containerStatuses": [
                {"name": "c", "ready": not waiting, "restartCount": restarts, "state": state}
            ],
        },
    }


@pytest.fixture
def fleet(db: None) -> Cluster:
    """A registered cluster that is collected now and has nothing in it yet."""
    cluster = fill("east", [])
    beat(cluster)
    return cluster


def beat(cluster: Cluster, seconds: float = 0) -> None:
    """Say that the cluster's copy is that many seconds old."""
    moment = timezone.now() - timezone.timedelta(seconds=seconds)
    ClusterSync.objects.update_or_create(
        cluster=cluster,
        defaults={"beaten_at": moment, "expires_at": moment, "stored_as": cluster.name},
    )


def write(*documents: dict[str, Any], gone: Any = (), cluster: str = "east") -> None:
    """Write objects, and delete those of `gone` (kind, namespace, name), as the collector does."""
    records = []
    for body in documents:
        metadata = body["metadata"]
        key = Key(cluster, body["kind"], metadata.get("namespace", ""), metadata["name"])
        records.append(WriteRecord(key, orjson.dumps(body)))
    for kind, namespace, name in gone:
        records.append(WriteRecord(Key(cluster, kind, namespace, name), None))
    bulk.write(records)


def turn() -> evaluation.Turn:
    """One turn of the evaluation, which nobody else holds."""
    done = evaluation.run_turn()
    assert done is not None
    return done


@pytest.fixture
def live(admin: Caller, cluster: Cluster) -> Cluster:
    """The simulated API server with the namespaces shop and bank, collected as of now.

    Rights on a namespace are only as good as the namespace that a cluster shows.
    """
    copy = fill("copy", [])
    KindSync.objects.filter(cluster=copy).update(cluster=cluster)
    copy.delete()
    beat(cluster)
    for name in ("shop", "bank"):
        body = {"cluster_id": cluster.pk, "content": {"metadata": {"name": name}}}
        assert admin.code("POST", "namespaces", body) in (0, 1001, 1007)
    return cluster


@pytest.fixture
def member(live: Cluster) -> Callable[[str, str], Caller]:
    """A script of somebody with a role in one namespace of the live cluster."""

    def make(role: str, namespace: str) -> Caller:
        user = get_user_model().objects.create_user(f"{role}-{namespace}")
        grants.give(user=user, role=grants.role_of(role), cluster=str(live.pk), namespace=namespace)
        return Caller(create_api_token(user, "tests")[1])

    return make


@pytest.fixture
def emptied_store(transactional_db: None) -> Iterator[None]:
    """A store without rows, for tests that commit."""
    yield
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE storage_resource, storage_change, storage_gap, storage_event")
