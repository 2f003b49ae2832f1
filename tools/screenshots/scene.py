"""What happens before the pictures: a team's day in two clusters, in a minute.

Everything goes through the API, as its callers do it; the demo cluster brings its own troubles.
"""

import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from kubegale_client import KubeGale

from launcher import programs

T = TypeVar("T")

PATIENCE_SECONDS = 180
DEMO = "demo"
SECOND = "frankfurt"
# (preset, how long its condition holds before it fires): pictures do not wait ten minutes.
RULES = (
    ("crash-looping", "5s"),
    ("image-pull-failing", "5s"),
    ("deployment-short-of-replicas", "10s"),
    ("pending-too-long", "10s"),
    ("job-failed", "0s"),
    ("node-not-ready", "2m"),
)
MERGE = "application/merge-patch+json"
IN_FRANKFURT = """apiVersion: v1
kind: Namespace
metadata: {name: storefront}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: storefront}
spec:
  replicas: 6
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: web
          image: registry.example.com/shop/web:2.15.0
          resources: {requests: {cpu: 500m, memory: 512Mi}}
"""


@dataclass(frozen=True)
class Places:
    """What the addresses of the pages name."""

    cluster: int
    template: int
    task: int
    inspection: int
    order: str
    web_pod: str


def play(address: str, password: str, second: str) -> Places:
    """Let everything happen; returns where it can be seen. `second` is a kubeconfig."""
    kg = KubeGale.sign_in(address, "admin", password, cluster=DEMO, timeout=60)
    cluster = _until(lambda: _demo_cluster(kg), "the demo cluster")
    # A record of changes begins with the first copy of the cluster.
    _until(lambda: _is_copied(kg, cluster), "the collector's first copy")
    kg.call("registerCluster", name=SECOND, kubeconfig=second, description="Shops of the EU")
    kg.call("createManifestApply", cluster=SECOND, content=IN_FRANKFURT)
    for preset, delay in RULES:
        kg.call("createAlertRule", body={"preset": preset, "for": delay})
    _release(kg)
    template = _deploy_template(kg, cluster)
    task = _automate(kg, cluster)
    inspection = _inspect(kg, cluster)
    order = _sell(kg)
    _until(lambda: _firing(kg) >= len(RULES) - 1, "the alerts")
    _care(kg)
    return Places(cluster, template, task, inspection, order, _web_pod(kg))


def remember_hour(home: Path) -> None:
    """Give the cluster the hour of samples that a chart shows; `home` is the data folder."""
    script = (Path(__file__).parent / "past_hour.py").read_text()
    subprocess.run(
        programs.manage("shell", "-c", script),
        cwd=programs.ROOT,
        env={**os.environ, "KUBEGALE_DATA_DIR": str(home)},
        check=True,
        stdout=subprocess.DEVNULL,
    )


def _until(condition: Callable[[], T], purpose: str) -> T:
    """What the condition returns once that is true; TimeoutError when it takes too long."""
    ends = time.monotonic() + PATIENCE_SECONDS
    while not (outcome := condition()):
        if time.monotonic() > ends:
            raise TimeoutError(f"waited {PATIENCE_SECONDS} s for {purpose}")
        time.sleep(0.5)
    return outcome


def _demo_cluster(kg: KubeGale) -> int:
    """The id of the demo cluster; 0 while it is not registered yet."""
    numbers = [row["id"] for row in kg.clusters.iterate() if row["name"] == DEMO]
    return int(numbers[0]) if numbers else 0


def _is_copied(kg: KubeGale, cluster: int) -> bool:
    history = kg.call("listHistory", cluster_id=cluster, kind="deployments", pageSize=1)
    return bool(history["items"])


def _firing(kg: KubeGale) -> int:
    """How many rules have an alert that fires."""
    alerts = kg.call("listAlerts", state="firing", pageSize=100)["items"]
    return len({alert["labels"]["alertname"] for alert in alerts})


def _release(kg: KubeGale) -> None:
    """A new version, a mistake, its correction, more replicas: what a history shows."""
    name = "checkout-api"
    images = ("checkout:3.3.0-rc1", "checkout:3.3.0")
    for image in images:
        container = {"name": name, "image": f"registry.example.com/shop/{image}"}
        spec = {"template": {"spec": {"containers": [container]}}}
        kg.send(
            "patchDeployment",
            name,
            namespace="checkout",
            body={"spec": spec},
            content_type="application/strategic-merge-patch+json",
        )
        _until(lambda: _is_rolled_out(kg, name), "the rollout")
    kg.wait(kg.call("scaleDeployment", name, namespace="checkout", replicas=5))
    kg.wait(kg.call("restartDeployment", "cart", namespace="checkout"))


def _is_rolled_out(kg: KubeGale, name: str) -> bool:
    deployment = kg.call("getDeployment", name, namespace="checkout")
    status = deployment["status"]
    current = status.get("observedGeneration") == deployment["metadata"]["generation"]
    replicas = deployment["spec"]["replicas"]
    return current and status.get("updatedReplicas") == status.get("readyReplicas") == replicas


def _deploy_template(kg: KubeGale, cluster: int) -> int:
    """A web application out of the gallery, in both clusters; the template's id."""
    rows = kg.call("listTemplates", search="Web application")["items"]
    template = next(row["id"] for row in rows if row["name"] == "Web application")
    others = [row["id"] for row in kg.clusters.iterate() if row["id"] != cluster]
    targets = [{"cluster_id": number, "namespace": "storefront"} for number in (cluster, *others)]
    values = {"name": "landing-page", "host": "www.example.com", "replicas": 3}
    kg.call("deployTemplate", template, name="landing-page", targets=targets, values=values)
    return int(template)


def _automate(kg: KubeGale, cluster: int) -> int:
    """Tasks with runs; the id of the one that scales."""
    staging = {"clusters": [cluster], "namespaces": ["staging"]}
    zone = "Europe/Berlin"
    tasks: list[dict[str, Any]] = [
        {
            "name": "Staging off at night",
            "type": "scale",
            "params": {"replicas": 0},
            "targets": staging,
            "schedule": {"cron": "0 20 * * MON-FRI", "timezone": zone},
            "enabled": True,
        },
        {
            "name": "Staging on in the morning",
            "type": "scale",
            "params": {"restore": True},
            "targets": staging,
            "schedule": {"cron": "0 7 * * MON-FRI", "timezone": zone},
            "enabled": True,
        },
        {
            "name": "Backup of payments",
            "type": "backup",
            "targets": {"clusters": [cluster], "namespaces": ["payments"]},
            "schedule": {"cron": "30 2 * * *", "timezone": zone},
            "enabled": True,
        },
    ]
    numbers = [kg.call("createTask", body=task)["id"] for task in tasks]
    for number in numbers:
        _finish_run(kg, number)
    return int(numbers[0])


def _inspect(kg: KubeGale, cluster: int) -> int:
    """An inspection of the demo cluster; the id of its run."""
    task = kg.call(
        "createTask",
        name="Weekly inspection",
        type="inspect",
        targets={"clusters": [cluster]},
        schedule={"cron": "0 6 * * MON", "timezone": "Europe/Berlin"},
        enabled=True,
    )
    return _finish_run(kg, task["id"])


def _finish_run(kg: KubeGale, task: int) -> int:
    """Run a task to its end; the id of the run."""
    run = kg.call("runTask", task)["id"]
    busy = ("pending", "running")
    _until(lambda: kg.call("getTaskRun", run)["state"] not in busy, "a run")
    return int(run)


def _sell(kg: KubeGale) -> str:
    """An order that is paid, with something that runs; its id."""
    order = kg.call("createOrder", units=4, duration=48, region="ausrine")
    payment = kg.call("payOrder", order["id"], reference="transfer 4711")
    container = {
        "name": "shop",
        "imageName": "nginx",
        "ports": [{"containerPort": 80, "hostPort": 2999}],
        "resource": {"memory": "2Gi"},
    }
    deploy = {"nodeSelector": {"region": "ausrine"}, "containers": [container]}
    request = urllib.request.Request(  # noqa: S310  # our own loopback address
        f"{kg.url}/api/v1/k8s/deploy",
        data=json.dumps(deploy).encode(),
        headers={"secret": payment["secret"], "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60):  # noqa: S310  # the same
        return str(order["id"])


def _care(kg: KubeGale) -> None:
    """Somebody takes one alert, and keeps another one quiet."""
    alerts = kg.call("listAlerts", state="firing", namespace="catalog")["items"]
    kg.call("ackAlert", alerts[0]["id"], comment="The tag is being pushed again")
    matchers = [{"name": "namespace", "value": "analytics"}]
    kg.call(
        "createAlertSilence",
        matchers=matchers,
        ends_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 8 * 3600)),
        comment="New nodes come on Monday",
    )


def _web_pod(kg: KubeGale) -> str:
    """The name of a running pod of the shop."""
    pods = kg.call("listPods", namespace="storefront", keyword="web-")["items"]
    return str(next(pod["metadata"]["name"] for pod in pods if _is_ready(pod)))


def _is_ready(pod: dict[str, Any]) -> bool:
    return all(state["ready"] for state in pod["status"].get("containerStatuses") or [{}])
