"""An address for each page of the console, with the rows and objects that it shows."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.urls import URLPattern, reverse
from django.utils.http import urlencode

from automation.models import Run
from clusters.models import Cluster
from console.urls import urlpatterns
from operations import lifecycle
from simcluster.testing import RunningCluster, running_cluster
from storage_api.models import Change
from tests.alerts.conftest import pod, turn, write
from tests.automation.running import run_task, save_task
from tests.caller import Caller
from tests.console.conftest import Make
from tests.console.test_alerts import RULE
from tests.console.test_templates import make_template
from tests.turning import finish
from tests.workloads.test_releases import Records
from workloads.models import Recording, RecordingChunk

# What is only sent to: a GET of it is refused.
ACTS = frozenset(
    {
        "console-views",
        "console-widths",
        "console-columns",
        "console-preferences",
        "console-cluster-kubeconfig",
        "console-lint",
        "console-create-check",
        "console-create-form",
        "console-create-merge",
        "console-create-apply",
        "console-bulk",
        "console-export",
        "console-template-of-many",
        "console-edit-check",
        "console-edit-apply",
        "console-logs-ticket",
        "console-terminal-ticket",
        "console-files-save",
        "console-files-mkdir",
        "console-files-move",
        "console-files-remove",
        "console-key-reveal",
        "console-apply-validate",
        "console-apply-diff",
        "console-apply-run",
        "console-task-moments",
        "console-task-steps",
        "console-task-switch",
        "console-run-act",
        "console-operation-cancel",
        "console-alert-ack",
        "console-alert-rule-test",
        "console-alert-preset",
        "console-alert-rule-switch",
        "console-alert-channel-test",
        "console-silence-preview",
        "console-silence-end",
        "console-template-import",
        "console-template-render",
        "console-tenant-change",
        "console-tenant-members",
        "console-order-pay",
        "console-signout",
    }
)
# What the socket server sends, what goes on, and what leads away whoever is signed in.
OTHERS = frozenset({"console-files-download", "console-logs-download", "console-signin"})
OF_PODS = (
    "debug",
    "terminal",
    "object-metrics",
    "object-metrics-data",
    "files",
    "files-entries",
    "files-content",
)
ORDER = {"units": 2, "duration": 10, "region": "ausrine", "paid": True}


@dataclass
class Examples:
    """Values of the addresses: of all, by the beginning of the route, by the name of the route."""

    values: dict[str, Any]
    keys: dict[str, int | str]
    special: dict[str, dict[str, Any]]
    queries: dict[str, Mapping[str, str]] = field(default_factory=dict)

    def address(self, pattern: URLPattern) -> str:
        """The address of an example; KeyError for a pattern that has none."""
        route = str(pattern.pattern)
        name = str(pattern.name)
        key = max((start for start in self.keys if route.startswith(start)), key=len, default="")
        values = {**self.values, **({"pk": self.keys[key], "run": self.keys[key]} if key else {})}
        values |= self.special.get(name, {})
        chosen = {parameter: values[parameter] for parameter in pattern.pattern.converters}
        query = urlencode(self.queries.get(name, {}))
        return reverse(name, kwargs=chosen) + (f"?{query}" if query else "")

    def pages(self) -> Iterator[tuple[str, str]]:
        """(name, address) of each pattern that answers to a GET at once."""
        for pattern in urlpatterns:
            if pattern.name not in ACTS | OTHERS:
                yield str(pattern.name), self.address(pattern)


@pytest.fixture(scope="module")
def apiserver() -> Iterator[RunningCluster]:
    """A cluster of these tests alone: pages over all of it show what others leave behind."""
    with running_cluster() as server:
        yield server


def make_examples(person: User, admin: Caller, cluster: Cluster, make: Make) -> Examples:
    """Make something of everything; `person` owns what belongs to somebody."""
    name = _make_objects(make)
    records = Records(admin, cluster, make.space)
    records.add(1, status="superseded")
    records.add(2)
    recording = Recording.objects.create(
        session="a" * 32, username="ada", cluster=cluster, namespace=make.space, pod="web"
    )
    RecordingChunk.objects.create(recording=recording, number=0, events='[0.1, "o", "a"]\n')
    target = lifecycle.OperationTarget(cluster, "deployments", make.space, "web")
    operation = lifecycle.create("rollout", target, requested_by="ada", parameters={})
    lifecycle.plan(operation, [lifecycle.Step("1", "web")])
    runs = _make_runs(person, cluster, make.space)
    template = make_template(admin)
    tenant = f"{make.space}-team"
    admin.data("POST", "tenants", {"cluster_id": cluster.pk, "name": tenant})
    keys: dict[str, int | str] = {
        "operations/": operation.pk,
        "automation/tasks/": runs["inspect"].task_id or 0,
        "automation/runs/": runs["inspect"].pk,
        "templates/": template,
        "templates/deployments/": _deploy(admin, template, cluster, make.space),
        "clusters/": recording.pk,
        "groups/": Group.objects.create(name="platform").pk,
        "orders/": admin.data("POST", "orders", ORDER)["id"],
        **_make_alert(admin, cluster),
    }
    in_pod = {"plural": "pods", "name": name}
    backup = {"pk": runs["backup"].pk}
    special: dict[str, dict[str, Any]] = {
        "console-release": {"name": "shop"},
        "console-release-part": {"name": "shop", "part": "values"},
        "console-usage": {"plural": "namespaces", "namespace": "-", "name": make.space},
        "console-drain": {"name": "node-00"},
        "console-key-edit": {"plural": "configmaps", "name": "settings"},
        "console-restore": {
            "plural": "configmaps",
            "name": "settings",
            "seq": _store(cluster, make.space),
        },
        "console-run-restore": backup,
        "console-run-compare": backup,
        "console-person": {"name": "ada"},
        "console-store-family": {"name": "events"},
        "console-store-type": {"name": cluster.name, "kind": "ConfigMap"},
        "console-store-document": {
            "name": cluster.name,
            "kind": "ConfigMap",
            "resource": "settings",
        },
        **{f"console-{page}": in_pod for page in OF_PODS},
        **{f"console-{page}": {"name": tenant} for page in ("tenant", "tenant-delete")},
    }
    values = {
        "cluster": cluster.pk,
        "plural": "deployments",
        "namespace": make.space,
        "name": "web",
        "revision": 1,
        "verb": "restart",
        "form": "csv",
    }
    file = {"container": "web", "path": "/etc/hosts"}
    queries: dict[str, Mapping[str, str]] = {
        "console-files-content": file,
        "console-files-entries": {"container": "web", "path": "/etc"},
        "console-key-edit": {"key": "mode"},
    }
    return Examples(values, keys, special, queries)


def _make_objects(make: Make) -> str:
    """A Deployment with a pod that runs, and a ConfigMap; the name of the pod."""
    labels = {"app": "web"}
    containers = {"containers": [{"name": "web", "image": "nginx:1"}]}
    template = {"metadata": {"labels": labels}, "spec": containers}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    make("configmaps", {"metadata": {"name": "settings"}, "data": {"mode": "fast"}})
    make("deployments", {"metadata": {"name": "web"}, "spec": spec}, running=True)
    return str(make.ready("web")[0]["metadata"]["name"])


def _make_runs(person: User, cluster: Cluster, space: str) -> dict[str, Run]:
    """Runs by the type of their task."""
    targets = {"clusters": [cluster.pk], "namespaces": [space]}
    return {
        kind: run_task(save_task(person, name=kind, type=kind, targets=targets))
        for kind in ("inspect", "backup")
    }


def _deploy(admin: Caller, template: int, cluster: Cluster, space: str) -> int:
    """A deployment of the template, once it is there."""
    body = {
        "name": "tidy",
        "targets": [{"cluster_id": cluster.pk, "namespace": space}],
        "values": {"name": "tidy", "password": "correct-horse-battery"},
    }
    work = admin.data("POST", f"templates/{template}/deploy", body)
    finish(work["operation_id"])
    deployment = int(work["deployment_id"])
    # Another revision, so that there is a way back.
    values = {"values": {**body["values"], "replicas": 2}, "confirm": True}
    finish(admin.data("POST", f"template-deployments/{deployment}/upgrade", values)["operation_id"])
    return deployment


def _make_alert(admin: Caller, cluster: Cluster) -> dict[str, int | str]:
    """A rule, its alert, a channel and a silence."""
    rule = admin.data("POST", "alerts/rules", RULE)["id"]
    hook = {"name": "ops", "kind": "webhook", "config": {"url": "https://hooks.example.com/a"}}
    channel = admin.data("POST", "alerts/channels", hook)["id"]
    write(pod("web", waiting="CrashLoopBackOff"), cluster=cluster.name)
    turn()
    return {
        "alerts/": admin.data("GET", "alerts")["items"][0]["id"],
        "alerts/rules/": rule,
        "alerts/channels/": channel,
    }


def _store(cluster: Cluster, space: str) -> int:
    """Two versions of the ConfigMap in the store; the number of the first."""
    for mode in ("slow", "fast"):
        metadata = {"name": "settings", "namespace": space, "uid": f"u-{space}"}
        document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
        write({**document, "data": {"mode": mode}}, cluster=cluster.name)
    changes = Change.objects.filter(namespace=space, resource_name="settings").order_by("seq")
    return int(changes[0].seq)
