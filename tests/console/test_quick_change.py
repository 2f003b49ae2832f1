"""Small forms instead of YAML: what they show, what would change, and the patch that they send."""

import re
from typing import Any

import pytest
import yaml
from django.contrib.auth import get_user_model
from django.test import Client

from access.models import Grant
from clusters.kinds import KINDS
from clusters.models import Cluster
from console.change_patch import CONTAINER_PATHS
from console.editing.starters import STARTERS
from simcluster.testing import RunningCluster
from tests.console.conftest import Make
from tests.console.test_form_errors import check_refused

ENV = [
    {"name": "MODE", "value": "slow"},
    {"name": "OLD", "value": "1"},
    {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
]


def deployment() -> dict[str, Any]:
    """Two containers, variables of each sort, a limit."""
    containers = [
        {
            "name": "main",
            "image": "nginx:1",
            "env": ENV,
            "resources": {"limits": {"cpu": "1"}},
        },
        {"name": "side", "image": "proxy:1"},
    ]
    setup = {"name": "setup", "image": "busybox:1"}
    return {
        "metadata": {
            "name": "web",
            "labels": {"team": "a", "gone": "x"},
            "annotations": {"note": "old", "story": "two\nlines", "gone": "x"},
        },
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": containers, "initContainers": [setup]},
            },
        },
    }


def test_a_form_shows_the_difference_and_patches_only_what_was_changed(
    visitor: Client, cluster: Cluster, apiserver: RunningCluster, make: Make
) -> None:
    make("deployments", deployment())
    address = f"/clusters/{cluster.pk}/deployments/{make.space}/web/change"
    page = visitor.get(address).content.decode()
    assert 'value="nginx:1"' in page
    assert "MODE=slow" in page
    assert "These come from elsewhere and stay: POD" in page
    seen = re.search(r'name="seen" value="(\w+)"', page)
    assert seen
    entered = {
        "seen": seen[1],
        "main.image": "nginx:2",
        "setup.image": "busybox:2",
        "main.env": "MODE=fast\r\nNEW=a=b",
        "main.limits.cpu": "",
        "main.requests.memory": "64Mi",
        "labels": "team=b",
        "annotations": "note=new",
    }
    checked = visitor.post(address, entered | {"act": "check"}).content.decode()
    difference = checked.partition('class="diff"')[2].partition("</pre>")[0]
    assert "nginx:2" in difference
    assert "maxSurge" not in difference

    def current() -> dict[str, Any]:
        (item,) = apiserver.list("deployments.apps", make.space)
        return dict(item)

    assert current()["metadata"]["labels"]["team"] == "a"
    bad = visitor.post(address, entered | {"main.env": "POD=x", "act": "apply"})
    assert bad.status_code == 400
    assert check_refused(bad.content.decode(), entered, "Environment").name == "main.env"
    bad = visitor.post(address, entered | {"setup.image": "", "act": "check"})
    assert bad.status_code == 422
    assert check_refused(bad.content.decode(), {}, "Image").name == "setup.image"
    bad = visitor.post(address, entered | {"annotations": "story=short", "act": "apply"})
    assert bad.status_code == 400
    done = visitor.post(address, entered | {"act": "apply"})
    assert done["Location"] == address.removesuffix("/change")
    item = current()
    assert item["metadata"]["labels"] == {"team": "b"}
    annotations = item["metadata"]["annotations"]
    assert annotations["note"] == "new"
    assert annotations["story"] == "two\nlines"
    assert "gone" not in annotations
    main, side = item["spec"]["template"]["spec"]["containers"]
    assert main["image"] == "nginx:2"
    assert not main["resources"].get("limits")
    assert main["resources"]["requests"]["memory"] == "64Mi"
    variables = {variable["name"]: variable for variable in main["env"]}
    assert set(variables) == {"MODE", "NEW", "POD"}
    assert variables["MODE"]["value"] == "fast"
    assert variables["NEW"]["value"] == "a=b"
    assert side["image"] == "proxy:1"
    (setup,) = item["spec"]["template"]["spec"]["initContainers"]
    assert setup["image"] == "busybox:2"
    # The form is of the object as it was before.
    late = visitor.post(address, entered | {"act": "apply"})
    assert late.status_code == 409
    assert "changed meanwhile" in late.content.decode()


def test_ports_have_commands_that_go_through_the_gateway(
    visitor: Client, cluster: Cluster, make: Make
) -> None:
    ports = [{"port": 80, "name": "http"}, {"port": 53, "name": "dns", "protocol": "UDP"}]
    make("services", {"metadata": {"name": "web"}, "spec": {"ports": ports}})
    base = f"/clusters/{cluster.pk}/services/{make.space}/web"
    page = visitor.get(f"{base}/forward").content.decode()
    flags = f"--kubeconfig {cluster.name}.kubeconfig -n {make.space}"
    assert f"kubectl {flags} port-forward service/web 8080:80" in page
    assert f"/namespaces/{make.space}/services/web:80/proxy/" in page
    assert ":53" not in page
    assert visitor.get(f"/clusters/{cluster.pk}/configmaps/x/y/forward").status_code == 404
    assert "Open in the browser" in page
    # An admin of the namespace alone may not use the API server's proxy.
    user = get_user_model().objects.create_user("nora")
    Grant.objects.create(user=user, role="admin", cluster=cluster, namespace=make.space)
    browser = Client()
    browser.force_login(user)
    page = browser.get(f"{base}/forward").content.decode()
    assert "port-forward service/web 8080:80" in page
    assert "Open in the browser" not in page


@pytest.mark.parametrize("plural", ["statefulsets", "daemonsets", "cronjobs"])
def test_workloads_of_other_kinds_are_changed_by_the_same_form(
    visitor: Client, cluster: Cluster, apiserver: RunningCluster, make: Make, plural: str
) -> None:
    manifest = yaml.safe_load(STARTERS[plural](make.space))
    make(plural, manifest)
    name = manifest["metadata"]["name"]
    address = f"/clusters/{cluster.pk}/{plural}/{make.space}/{name}/change"
    page = visitor.get(address).content.decode()
    seen = re.search(r'name="seen" value="(\w+)"', page)
    container = re.search(r'name="([\w-]+)\.image"', page)
    assert seen
    assert container
    entered = {
        "seen": seen[1],
        f"{container[1]}.image": "other:2",
        f"{container[1]}.env": "A=b",
        f"{container[1]}.limits.memory": "1Gi",
        "labels": "a=b",
        "act": "apply",
    }
    answer = visitor.post(address, entered)
    assert answer.status_code == 302, answer.content.decode()
    group = KINDS[plural].group
    item = apiserver.get(f"{plural}.{group}", name, make.space) or {}
    assert item["metadata"]["labels"]["a"] == "b"
    place = item
    for step in CONTAINER_PATHS[plural]:
        place = place[step]
    (first,) = place["containers"]
    assert first["image"] == "other:2"
    assert first["env"] == [{"name": "A", "value": "b"}]
    assert first["resources"]["limits"] == {"memory": "1Gi"}
