"""What a cleanup counts as left over, and that it deletes exactly what it reported."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import orjson
import pytest
from django.contrib.auth.models import User

from access import grants
from automation import types
from automation.context import RunContext, Targets
from automation.models import Run
from clusters import registry
from clusters.kinds import KINDS
from clusters.models import Cluster
from core.errors import NotFound
from simcluster.testing import RunningCluster
from tests.automation.running import messages, run_task, save_task
from tests.caller import Caller

OLD = "2026-01-01T00:00:00Z"


class Namespace:
    """A namespace of the simulated cluster that a test fills."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.name = f"clean-{uuid4().hex[:8]}"
        self.client = registry.client(cluster)
        self.client.create(KINDS["namespaces"], {"metadata": {"name": self.name}})

    def add(self, plural: str, name: str, **body: Any) -> dict[str, Any]:
        """Create an object; a status is written besides."""
        kind = KINDS[plural]
        metadata = {"name": name, **body.pop("metadata", {})}
        status = body.pop("status", None)
        manifest = {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata, **body}
        created: dict[str, Any] = orjson.loads(
            self.client.create(kind, manifest, namespace=self.name)
        )
        if status is not None:
            raw = self.client.patch(
                kind,
                name,
                {"status": status},
                patch="merge",
                namespace=self.name,
                subresource="status",
            )
            created = orjson.loads(raw)
        return created

    def exists(self, plural: str, name: str) -> bool:
        """Whether the object is there and not on its way out."""
        try:
            raw = self.client.get(KINDS[plural], name, namespace=self.name)
        except NotFound:
            return False
        return "deletionTimestamp" not in orjson.loads(raw)["metadata"]


@pytest.fixture
def owner(admin: Caller) -> User:
    """The administrator."""
    return User.objects.get(username="admin")


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[Namespace]:
    """An empty namespace, which goes with all that is in it."""
    made = Namespace(cluster)
    yield made
    made.client.delete(KINDS["namespaces"], made.name)


def pod_spec(**members: Any) -> dict[str, Any]:
    """A pod of one container."""
    return {"containers": [{"name": "app", "image": "web:1"}], **members}


def test_unused_objects_are_reported_and_used_ones_are_not(
    owner: User, namespace: Namespace
) -> None:
    template = {
        "metadata": {"labels": {"app": "job"}},
        "spec": pod_spec(
            restartPolicy="Never",
            volumes=[
                {"name": "a", "configMap": {"name": "cm-of-cronjob"}},
                {
                    "name": "b",
                    "projected": {"sources": [{"secret": {"name": "secret-projected"}}]},
                },
                {"name": "c", "persistentVolumeClaim": {"claimName": "claim-mounted"}},
            ],
            imagePullSecrets=[{"name": "secret-pull"}],
        ),
    }
    namespace.add(
        "cronjobs",
        "nightly",
        spec={"schedule": "0 0 * * *", "jobTemplate": {"spec": {"template": template}}},
    )
    namespace.add(
        "pods",
        "running",
        spec={
            "containers": [
                {
                    "name": "app",
                    "image": "web:1",
                    "args": ["--config=cm-in-args"],
                    "envFrom": [{"configMapRef": {"name": "cm-env"}}],
                    "env": [
                        {
                            "name": "A",
                            "valueFrom": {"secretKeyRef": {"name": "secret-env", "key": "a"}},
                        }
                    ],
                }
            ]
        },
    )
    namespace.add(
        "ingresses",
        "web",
        spec={
            "tls": [{"hosts": ["a.example.com"], "secretName": "secret-tls"}],
            "defaultBackend": {"service": {"name": "web", "port": {"number": 80}}},
        },
    )
    namespace.add(
        "statefulsets",
        "db",
        spec={
            "replicas": 0,
            "serviceName": "db",
            "selector": {"matchLabels": {"app": "db"}},
            "template": {"metadata": {"labels": {"app": "db"}}, "spec": pod_spec()},
            "volumeClaimTemplates": [
                {
                    "metadata": {"name": "data"},
                    "spec": {
                        "accessModes": ["ReadWriteOnce"],
                        "resources": {"requests": {"storage": "1Gi"}},
                    },
                }
            ],
        },
    )
    used = {
        "configmaps": ["cm-of-cronjob", "cm-in-args", "cm-env"],
        "secrets": ["secret-projected", "secret-pull", "secret-env", "secret-tls"],
        "persistentvolumeclaims": ["claim-mounted", "data-db-0"],
    }
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    for plural, names in used.items():
        for name in [*names, f"orphan-{plural}"]:
            namespace.add(plural, name, **({"spec": claim} if plural.startswith("pers") else {}))
    namespace.add(
        "configmaps", "of-helm", metadata={"labels": {"app.kubernetes.io/managed-by": "Helm"}}
    )
    namespace.add(
        "configmaps", "guarded", metadata={"annotations": {"kubegale.io/protected": "true"}}
    )
    namespace.add("secrets", "release", type="helm.sh/release.v1")
    task = save_task(
        owner,
        type="cleanup",
        params={"min_age": "0s"},
        targets={"clusters": [namespace.cluster.pk], "namespaces": [namespace.name]},
    )
    run = run_task(task)
    assert set(messages(run)) == {f"orphan-{plural}" for plural in used}
    assert all("would be deleted" in message for message in messages(run).values())
    # Nothing was deleted, and what is young stays out of the report.
    assert namespace.exists("configmaps", "orphan-configmaps")
    assert run.result is not None
    assert run.result["objects"] == dict.fromkeys(used, 1)
    assert (
        run_task(save_task(owner, type="cleanup", params={}, targets=task.targets)).state
        == "skipped"
    )


def test_finished_work_is_deleted_and_nothing_else(owner: User, namespace: Namespace) -> None:
    ended = {
        "containerStatuses": [
            {
                "name": "app",
                "image": "web:1",
                "imageID": "",
                "ready": False,
                "restartCount": 0,
                "state": {"terminated": {"exitCode": 0, "finishedAt": OLD}},
            }
        ]
    }
    namespace.add("pods", "done", spec=pod_spec(), status={"phase": "Succeeded", **ended})
    namespace.add(
        "pods", "evicted", spec=pod_spec(), status={"phase": "Failed", "reason": "Evicted"}
    )
    namespace.add("pods", "crashed", spec=pod_spec(), status={"phase": "Failed"})
    namespace.add("pods", "alive", spec=pod_spec(), status={"phase": "Running"})
    selector = {"matchLabels": {"app": "rs"}}
    template = {"metadata": {"labels": {"app": "rs"}}, "spec": pod_spec()}
    empty = {"replicas": 0, "selector": selector, "template": template}
    namespace.add("replicasets", "empty", spec=empty)
    owned = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": "web",
        "uid": "u",
        "controller": True,
    }
    namespace.add("replicasets", "history", spec=empty, metadata={"ownerReferences": [owned]})
    task = save_task(
        owner,
        type="cleanup",
        params={"min_age": "0s", "delete": True, "kinds": ["pods", "replicasets"]},
        targets={"clusters": [namespace.cluster.pk], "namespaces": [namespace.name]},
    )
    run = run_task(task)
    assert run.state == "succeeded", run.message
    assert {"done", "evicted", "empty"} == set(messages(run))
    for plural, name, stays in (
        ("pods", "done", False),
        ("pods", "evicted", False),
        ("pods", "crashed", True),
        ("pods", "alive", True),
        ("replicasets", "empty", False),
        ("replicasets", "history", True),
    ):
        assert namespace.exists(plural, name) is stays, name


def test_what_changed_since_the_report_is_left_alone(owner: User, namespace: Namespace) -> None:
    for name in ("changed", "used", "orphan"):
        namespace.add("configmaps", name)
    task = save_task(
        owner,
        type="cleanup",
        params={"min_age": "0s", "delete": True, "kinds": ["configmaps"]},
        targets={"clusters": [namespace.cluster.pk], "namespaces": [namespace.name]},
    )
    kind = types.find("cleanup")
    run = Run.objects.create(task=task, trigger="manual", scheduled_at=datetime.now(UTC))
    context = RunContext(
        task=task.pk,
        task_name=task.name,
        run=run.pk,
        params=definition(task),
        targets=Targets((namespace.cluster.pk,), (namespace.name,)),
        owner=owner,
        credential=task.credential,
    )
    steps = {step.name: step for step in kind.plan(context)}
    assert set(steps) == {"changed", "used", "orphan"}
    namespace.client.patch(
        KINDS["configmaps"],
        "changed",
        {"data": {"a": "b"}},
        patch="merge",
        namespace=namespace.name,
    )
    volume = {"name": "v", "configMap": {"name": "used"}}
    namespace.add("pods", "late", spec=pod_spec(volumes=[volume]))
    outcomes = {name: kind.execute(context, step).message for name, step in steps.items()}
    assert "has changed" in outcomes["changed"]
    assert "refers to it" in outcomes["used"]
    assert outcomes["orphan"].startswith("deleted")
    assert namespace.exists("configmaps", "changed")
    assert namespace.exists("configmaps", "used")
    assert not namespace.exists("configmaps", "orphan")
    # Doing it again, as a worker does after another was killed, is as doing it once.
    assert kind.execute(context, steps["orphan"]).message == "deleted already"


def definition(task: Any) -> dict[str, Any]:
    """The parameters of a task."""
    params: dict[str, Any] = orjson.loads(task.params)
    return params


def test_the_owner_needs_the_right_to_delete(namespace: Namespace) -> None:
    viewer = User.objects.create_user("viewer")
    grants.give(
        user=viewer,
        role=grants.role_of("viewer"),
        cluster=str(namespace.cluster.pk),
        namespace=namespace.name,
    )
    namespace.add("configmaps", "orphan")
    task = save_task(
        viewer,
        type="cleanup",
        params={"min_age": "0s", "delete": True, "kinds": ["configmaps"]},
        targets={"clusters": [namespace.cluster.pk], "namespaces": [namespace.name]},
    )
    run = run_task(task)
    assert (run.state, run.reason) == ("failed", "RightLost")
    assert namespace.exists("configmaps", "orphan")


def test_without_a_view_of_what_is_used_only_finished_work_goes(
    owner: User, namespace: Namespace, apiserver: RunningCluster
) -> None:
    namespace.add("configmaps", "orphan")
    namespace.add("pods", "done", spec=pod_spec(), status={"phase": "Succeeded"})
    task = save_task(
        owner,
        type="cleanup",
        params={"min_age": "0s", "delete": True, "kinds": ["pods", "configmaps"]},
        targets={"clusters": [namespace.cluster.pk], "namespaces": [namespace.name]},
    )
    apiserver.faults.add(path=KINDS["storageclasses"].path(), action="status", code=403)
    try:
        run = run_task(task)
    finally:
        apiserver.faults.clear()
    assert run.state == "succeeded", run.message
    assert "not clear" in messages(run)["configmaps"]
    assert namespace.exists("configmaps", "orphan")
    assert not namespace.exists("pods", "done")
