"""What controllers, scheduler and kubelet make of objects."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from simcluster.testing import RunningCluster, running_cluster
from simcluster.tests.conftest import SOURCES, Api, api_of


def pod(
    name: str,
    *,
    image: str = "nginx:1",
    notes: dict[str, str] | None = None,
    spec: dict[str, Any] | None = None,
    **container: Any,
) -> dict[str, Any]:
    body = {"containers": [{"name": "c", "image": image, **container}], **(spec or {})}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": notes or {}},
        "spec": body,
    }


def waiting(status: dict[str, Any]) -> str:
    return str(
        ((status.get("containerStatuses") or [{}])[0].get("state") or {})
        .get("waiting", {})
        .get("reason")
    )


def unschedulable(status: dict[str, Any]) -> str:
    return next(
        (
            str(one.get("message"))
            for one in status.get("conditions") or ()
            if one["type"] == "PodScheduled"
        ),
        "",
    )


@pytest.mark.parametrize(
    ("body", "sign"),
    [
        (
            pod("crash", image="busybox", command=["sh", "-c", "exit 1"]),
            lambda status: waiting(status) == "CrashLoopBackOff",
        ),
        (
            pod("no-image", image="shop:missing"),
            lambda status: waiting(status) == "ImagePullBackOff",
        ),
        (
            pod("no-config", envFrom=[{"configMapRef": {"name": "nope"}}]),
            lambda status: waiting(status) == "CreateContainerConfigError",
        ),
        (
            pod("no-node", spec={"nodeSelector": {"disk": "ssd"}}),
            lambda status: "didn't match Pod's node affinity/selector" in unschedulable(status),
        ),
        (
            pod("too-large", resources={"requests": {"cpu": "900"}}),
            lambda status: "Insufficient cpu" in unschedulable(status),
        ),
        (
            pod("oom", notes={"simcluster.dev/oom-after": "5"}),
            lambda status: "OOMKilled" in str(status.get("containerStatuses")),
        ),
        (
            pod("done", image="busybox", command=["true"], spec={"restartPolicy": "Never"}),
            lambda status: status["phase"] == "Succeeded",
        ),
        (
            pod("failed", image="busybox", command=["false"], spec={"restartPolicy": "Never"}),
            lambda status: status["phase"] == "Failed",
        ),
    ],
    ids=lambda value: value["metadata"]["name"] if isinstance(value, dict) else "",
)
def test_pods_fail_as_pods_do(
    api: Api,
    sim: RunningCluster,
    namespace: str,
    body: dict[str, Any],
    sign: Callable[[dict[str, Any]], bool],
) -> None:
    path = f"/api/v1/namespaces/{namespace}/pods"
    assert api.post(path, body).status == 201
    sim.wait(lambda: sign(api.get(f"{path}/{body['metadata']['name']}").body["status"]))


def test_a_waiting_pod_is_scheduled_once_a_node_fits(
    api: Api, sim: RunningCluster, namespace: str
) -> None:
    path = f"/api/v1/namespaces/{namespace}/pods"
    api.post(path, pod("picky", spec={"nodeSelector": {"zone": namespace}}))
    sim.wait(lambda: unschedulable(api.get(f"{path}/picky").body["status"]))
    api.merge("/api/v1/nodes/node-02", {"metadata": {"labels": {"zone": namespace}}})
    found = sim.wait(lambda: api.get(f"{path}/picky").body["spec"].get("nodeName"))
    assert found == "node-02"
    assert "Scheduled" in {
        event["reason"] for event in api.get(f"/api/v1/namespaces/{namespace}/events").body["items"]
    }


def test_a_port_of_a_node_is_taken_once(api: Api, sim: RunningCluster, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/pods"
    for name in ("first", "second"):
        api.post(
            path,
            pod(
                name,
                ports=[{"containerPort": 80, "hostPort": 4180}],
                spec={"nodeSelector": {"kubernetes.io/hostname": "node-01"}},
            ),
        )
        sim.wait(lambda name=name: api.get(f"{path}/{name}").body["status"].get("conditions"))
    sim.wait(
        lambda: (
            "didn't have free ports for the requested pod ports"
            in unschedulable(api.get(f"{path}/second").body["status"])
        )
    )
    assert api.get(f"{path}/first").body["spec"]["nodeName"] == "node-01"


def test_init_containers_run_first(api: Api, sim: RunningCluster, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/pods"
    api.post(
        path,
        pod(
            "p",
            spec={
                "initContainers": [{"name": "i", "image": "busybox", "command": ["sleep", "20"]}]
            },
        ),
    )
    sim.wait(lambda: api.get(f"{path}/p").body["status"].get("initContainerStatuses"))
    table = "application/json;as=Table;v=v1;g=meta.k8s.io"
    sim.wait(lambda: api.get(f"{path}/p", accept=table).body["rows"][0]["cells"][2] == "Init:0/1")
    sim.wait(lambda: api.get(f"{path}/p").body["status"]["phase"] == "Running")


def test_a_stateful_set_numbers_its_pods_and_keeps_their_volumes(
    api: Api, sim: RunningCluster, namespace: str
) -> None:
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    template = {
        "metadata": {"labels": {"app": "db"}},
        "spec": {"containers": [{"name": "db", "image": "postgres:16"}]},
    }
    spec = {
        "serviceName": "db",
        "replicas": 2,
        "selector": {"matchLabels": {"app": "db"}},
        "template": template,
        "volumeClaimTemplates": [claim],
    }
    base = f"/apis/apps/v1/namespaces/{namespace}/statefulsets"
    api.post(
        base,
        {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"}, "spec": spec},
    )
    sim.wait(lambda: api.get(f"{base}/db").body["status"].get("readyReplicas") == 2)
    assert [
        one["metadata"]["name"]
        for one in api.get(f"/api/v1/namespaces/{namespace}/pods").body["items"]
    ] == ["db-0", "db-1"]
    claims = api.get(f"/api/v1/namespaces/{namespace}/persistentvolumeclaims").body["items"]
    assert [(one["metadata"]["name"], one["status"]["phase"]) for one in claims] == [
        ("data-db-0", "Bound"),
        ("data-db-1", "Bound"),
    ]
    api.merge(f"{base}/db/scale", {"spec": {"replicas": 1}})
    sim.wait(lambda: len(api.get(f"/api/v1/namespaces/{namespace}/pods").body["items"]) == 1)
    assert len(api.get(f"/api/v1/namespaces/{namespace}/persistentvolumeclaims").body["items"]) == 2


def test_a_daemon_set_covers_every_node_and_updates_them_in_turn(
    api: Api, sim: RunningCluster, namespace: str
) -> None:
    template = {
        "metadata": {"labels": {"app": "agent"}},
        "spec": {"containers": [{"name": "a", "image": "agent:1"}]},
    }
    spec = {"selector": {"matchLabels": {"app": "agent"}}, "template": template}
    base = f"/apis/apps/v1/namespaces/{namespace}/daemonsets"
    api.post(
        base,
        {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "agent"}, "spec": spec},
    )
    sim.wait(lambda: api.get(f"{base}/agent").body["status"].get("numberAvailable") == 3)
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "a", "image": "agent:2"}]}}}}
    api.call("PATCH", f"{base}/agent", patch, content_type="application/strategic-merge-patch+json")

    def updated() -> bool:
        status = api.get(f"{base}/agent").body["status"]
        return bool(status.get("updatedNumberScheduled") == status.get("numberAvailable") == 3)

    sim.wait(updated)
    items = api.get(f"/api/v1/namespaces/{namespace}/pods").body["items"]
    assert {one["spec"]["containers"][0]["image"] for one in items} == {"agent:2"}
    assert len({one["spec"]["nodeName"] for one in items}) == 3


def test_a_cron_job_starts_jobs_on_the_clusters_own_time(namespace: str) -> None:
    with running_cluster(time_scale=200) as cluster:
        api = api_of(cluster)
        container = {"name": "c", "image": "busybox", "command": ["echo", "tick"]}
        job = {
            "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}
        }
        body = {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "metadata": {"name": "tick"},
            "spec": {"schedule": "* * * * *", "jobTemplate": job},
        }
        assert api.post("/apis/batch/v1/namespaces/default/cronjobs", body).status == 201
        path = "/apis/batch/v1/namespaces/default/cronjobs/tick"
        cluster.wait(lambda: api.get(path).body["status"].get("lastSuccessfulTime"))
        owners = [
            one["metadata"]["ownerReferences"][0]["name"]
            for one in api.get("/apis/batch/v1/namespaces/default/jobs").body["items"]
        ]
        assert set(owners) == {"tick"}


def test_pods_leave_a_node_that_is_not_ready(namespace: str) -> None:
    with running_cluster(time_scale=300) as cluster:
        api = api_of(cluster)
        api.post("/api/v1/namespaces/default/pods", pod("p"))
        node = cluster.wait(
            lambda: api.get("/api/v1/namespaces/default/pods/p").body["spec"].get("nodeName")
        )
        status = {
            "status": {
                "conditions": [{"type": "Ready", "status": "False", "reason": "KubeletNotReady"}]
            }
        }
        api.call(
            "PATCH",
            f"/api/v1/nodes/{node}/status",
            status,
            content_type="application/strategic-merge-patch+json",
        )
        cluster.wait(lambda: api.get("/api/v1/namespaces/default/pods/p").status == 404)


def test_the_demo_is_a_company_with_troubles() -> None:
    with running_cluster(time_scale=50, demo=True, nodes=4) as cluster:
        api = api_of(cluster)
        assert len(api.get("/api/v1/namespaces").body["items"]) >= 16

        def troubles() -> set[str]:
            table = api.get(
                "/api/v1/pods", accept="application/json;as=Table;v=v1;g=meta.k8s.io"
            ).body
            return {row["cells"][2] for row in table["rows"]}

        wanted = {
            "Running",
            "Pending",
            "CrashLoopBackOff",
            "ImagePullBackOff",
            "CreateContainerConfigError",
        }
        cluster.wait(lambda: wanted <= troubles(), seconds=30)
        assert api.get("/apis/metrics.k8s.io/v1beta1/nodes").body["items"]
        assert len(api.get("/apis/ops.example.com/v1/backups").body["items"]) == 2


_MEASURE = """
from simcluster.testing import running_cluster
import ssl, urllib3
with running_cluster(nodes=50) as cluster:
    cluster.load_pods(10_000)
    pool = urllib3.PoolManager(ssl_context=ssl.create_default_context(cadata=cluster.authority))
    headers = {"Authorization": "Bearer " + cluster.token}
    body = pool.request("GET", cluster.url + "/api/v1/pods?limit=5000", headers=headers).data
    cluster.wait(lambda: cluster.is_settled, seconds=60)
    # VmHWM, since ru_maxrss of a child begins at its parent's
    peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(len(body), peak.split()[1])
"""


def test_ten_thousand_pods_fit_into_little_memory() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE],
        cwd=SOURCES,
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    size, memory = (int(word) for word in done.stdout.split())
    assert size > 15_000_000
    assert memory < 500_000


def test_a_refused_deployment_is_tried_ever_more_rarely_and_its_status_stands_still(
    api: Api, sim: RunningCluster, namespace: str
) -> None:
    quota = {
        "kind": "ResourceQuota",
        "apiVersion": "v1",
        "metadata": {"name": "none"},
        "spec": {"hard": {"pods": "0"}},
    }
    api.post(f"/api/v1/namespaces/{namespace}/resourcequotas", quota)
    sim.wait(
        lambda: (sim.get("resourcequotas", "none", namespace) or {}).get("status", {}).get("hard")
    )
    labels = {"app": "held"}
    body = {
        "kind": "Deployment",
        "apiVersion": "apps/v1",
        "metadata": {"name": "held"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "c", "image": "nginx:1"}]},
            },
        },
    }
    assert api.post(f"/apis/apps/v1/namespaces/{namespace}/deployments", body).status == 201

    def refusals() -> int:
        return sum(
            event.get("count", 1)
            for event in sim.list("events", namespace)
            if event["reason"] == "FailedCreate"
        )

    def failing() -> bool:
        found = sim.get("deployments.apps", "held", namespace) or {}
        conditions = found.get("status", {}).get("conditions") or []
        return any(one["type"] == "ReplicaFailure" for one in conditions)

    sim.wait(lambda: failing() and refusals() >= 4)
    before = [sim.list(kind, namespace)[0] for kind in ("replicasets.apps", "deployments.apps")]
    tries = refusals()
    sim.wait(lambda: refusals() >= tries + 3, seconds=60)
    after = [sim.list(kind, namespace)[0] for kind in ("replicasets.apps", "deployments.apps")]
    assert after == before
    assert "exceeded quota" in str(before[1]["status"]["conditions"])
