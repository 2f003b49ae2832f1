"""The templates that come along: each renders with few values, and a cluster takes what it gives."""

from typing import Any

import pytest
import yaml

from clusters.models import Cluster
from manifest_templates import built_in
from manifest_templates.models import Template, TemplateVersion
from tests.access.conftest import new_space
from tests.caller import Caller

pytestmark = pytest.mark.django_db
# What has no default.
VALUES: dict[str, Any] = {
    "password": "a-long-password-7",
    "deployment": "web",
    "selector": {"app": "web"},
}
# Values that bring in the parts which are optional.
MORE: dict[str, dict[str, Any]] = {
    "Web application": {
        "host": "shop.example.org",
        "tlsSecret": "cert",
        "ingressClass": "nginx",
        "env": {"MODE": "on"},
    },
    "Network policies": {"egressCidrs": ["10.0.0.0/8"]},
    "StatefulSet with volumes": {"storageClass": "standard"},
}
NAMES = [
    "Availability and autoscaling",
    "Namespace with limits",
    "Network policies",
    "PostgreSQL",
    "Redis",
    "Scheduled job",
    "StatefulSet with volumes",
    "Static site",
    "Web application",
    "Worker",
]


@pytest.fixture(autouse=True)
def _starters(db: None) -> None:
    """A test that empties tables may have been before; storing them twice changes nothing."""
    built_in.install(Template.objects, TemplateVersion.objects)
    count = TemplateVersion.objects.count()
    built_in.install(Template.objects, TemplateVersion.objects)
    assert TemplateVersion.objects.count() == count


def test_ten_are_there_and_stay_as_they_are(admin: Caller) -> None:
    listed = admin.data("GET", "templates", pageSize=100)["items"]
    shipped = {each["name"]: each for each in listed if each["built_in"]}
    assert sorted(shipped) == NAMES
    for each in shipped.values():
        assert each["description"]
        assert each["category"]
        assert each["tags"]
    path = f"templates/{shipped['Redis']['id']}"
    assert admin.code("PUT", path, {"description": "x"}) == 1008
    assert admin.code("DELETE", path) == 1009
    body = {"version": "9.0.0", "body": "a: 1"}
    assert admin.code("POST", f"{path}/versions", body) == 1007


@pytest.mark.parametrize("name", NAMES)
def test_a_cluster_takes_what_it_gives(admin: Caller, cluster: Cluster, name: str) -> None:
    space = new_space(admin, cluster)
    template = Template.objects.get(name=name, built_in=True)
    row = template.default_version()
    assert row is not None
    declared = row.schema["properties"]
    values = {each: value for each, value in VALUES.items() if each in declared}
    for more, demo in ({}, "demo"), (MORE.get(name, {}), "more"):
        # The template of a namespace goes into the one of its name.
        values["name"] = space if name == "Namespace with limits" else demo
        rendered = admin.data(
            "POST", f"templates/{template.pk}/render", {"values": {**values, **more}}
        )
        assert (rendered["missing"], rendered["unused"]) == ([], [])
        objects = list(yaml.safe_load_all(rendered["manifests"]))
        for obj in objects:
            assert obj["metadata"]["labels"]["app.kubernetes.io/name"] == values["name"]
            check_pods(obj)
        applied = admin.data(
            "POST",
            "manifests/apply",
            {
                "cluster_id": cluster.pk,
                "namespace": space,
                "content": rendered["manifests"],
                "force_conflicts": True,
            },
        )
        actions = {each["action"] for each in applied["documents"]}
        assert actions <= {"created", "configured", "unchanged"}, applied
        assert len(applied["documents"]) == len(objects)


def check_pods(obj: dict[str, Any]) -> None:
    """Pods pass Pod Security's restricted level, have probes where they serve, and limits."""
    spec = obj.get("spec") or {}
    template = (spec.get("jobTemplate") or {}).get("spec", spec).get("template")
    if template is None:
        return
    pod = template["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for volume in pod.get("volumes", []):
        assert {*volume} - {"name"} <= {"emptyDir", "configMap"}
    for container in pod["containers"]:
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert security["readOnlyRootFilesystem"] is True
        assert container["resources"]["requests"]
        assert container["resources"]["limits"]
        if container.get("ports"):
            assert container["readinessProbe"]
            assert container["livenessProbe"]
