"""The manifests in deploy/: an API server takes them, and what they run is safe and exists."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from django.utils import timezone

from clusters.kinds import lookup_kind
from clusters.models import Cluster
from launcher.programs import ROOT, front
from operations import lifecycle
from operations.models import Operation
from storage_api.models import ClusterSync, KindSync
from tests.caller import Caller

KUBERNETES = ROOT / "deploy" / "kubernetes"
CHART = ROOT / "deploy" / "helm" / "kubegale"
# The overlays, one of a user's own that adds the gateway, and the chart as it is and with all of it.
VARIANTS = ("small", "high-availability", "gateway", "chart", "whole chart")
WHOLE_CHART = (
    "gateway.enabled",
    "serviceMonitor.enabled",
    "alerts.enabled",
    "dashboard.enabled",
    "disruptionBudgets",
    "web.autoscaling.enabled",
    "worker.autoscaling.enabled",
)
# What a Prometheus operator brings; without its schema the fields are the operator's business.
OPERATOR_KINDS = {"ServiceMonitor": "servicemonitors", "PrometheusRule": "prometheusrules"}
LABELS_OF_ALERTS = {
    "kubegale_alerts": {"state", "severity"},
    "kubegale_alert_notifications": {"kind", "state"},
}
DEPLOYMENTS = {"web", "streams", "worker", "beat", "collector"}


def render(folder: Path) -> list[dict[str, Any]]:
    """The objects of a folder with a kustomization, in the order in which kubectl applies them."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl, which renders kustomizations, is not installed")
    done = subprocess.run(
        [kubectl, "kustomize", str(folder)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return list(yaml.safe_load_all(done.stdout))


def own_overlay(folder: Path) -> Path:
    """A folder of a user's own, as docs/deployment.md shows it, with the gateway that it adds."""
    page = (ROOT / "docs" / "deployment.md").read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    own, gateway = (yaml.safe_load(block) for block in blocks)
    base = os.path.relpath(ROOT.resolve(), folder.resolve())
    kustomization = {
        **own,
        **gateway,
        "patches": [*own["patches"], *gateway["patches"]],
    }
    text = yaml.safe_dump(kustomization)
    (folder / "kustomization.yaml").write_text(text.replace("../kubegale", base))
    return folder


def render_chart(*options: str) -> list[dict[str, Any]]:
    """What helm makes of the chart, in the namespace into which it would install it."""
    helm = os.environ.get("HELM") or shutil.which("helm")
    if helm is None:
        pytest.skip("helm, which renders the chart, is not installed (HELM names it elsewhere)")
    done = subprocess.run(
        [helm, "template", "kubegale", str(CHART), *options],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    objects = [each for each in yaml.safe_load_all(done.stdout) if each]
    for each in objects:
        each["metadata"]["namespace"] = "kubegale"
    namespace = yaml.safe_load((KUBERNETES / "base" / "namespace.yaml").read_text())
    return [namespace, *objects]


@pytest.fixture(scope="module", params=VARIANTS)
def objects(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Any]]:
    """What an overlay consists of."""
    if request.param == "gateway":
        return render(own_overlay(tmp_path_factory.mktemp("overlay")))
    if "chart" in request.param:
        whole = request.param == "whole chart"
        return render_chart(*(f"--set={name}=true" for name in WHOLE_CHART if whole))
    return render(KUBERNETES / "overlays" / request.param)


def pod_templates(objects: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name of its owner, pod template) of everything that runs pods."""
    for each in objects:
        if each["kind"] in {"Deployment", "StatefulSet", "Job"}:
            yield each["metadata"]["name"], each["spec"]["template"]


def containers(template: dict[str, Any]) -> list[dict[str, Any]]:
    """The containers of a pod template, those that start it too."""
    spec = template["spec"]
    return [*spec.get("initContainers", []), *spec["containers"]]


def operator_definition(kind: str, plural: str) -> dict[str, Any]:
    """A custom resource definition that takes any field."""
    open_schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": open_schema},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.monitoring.coreos.com"},
        "spec": {
            "group": "monitoring.coreos.com",
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "versions": [version],
        },
    }


def route(each: dict[str, Any], name: str) -> str:
    """The address of one object in the KubeGale API."""
    kind = each["kind"]
    if kind in OPERATOR_KINDS:
        return f"resources/monitoring.coreos.com/v1/{OPERATOR_KINDS[kind]}/{name}"
    known = lookup_kind(kind)
    assert known is not None, kind
    return f"{known.plural}/{name}"


def apply(admin: Caller, cluster: Cluster, each: dict[str, Any]) -> Any:
    """Server-side apply of one object through the KubeGale API; unknown fields are refused."""
    where = {"cluster_id": cluster.pk, "field_validation": "Strict"}
    if "namespace" in each["metadata"]:
        where["namespace"] = each["metadata"]["namespace"]
    return admin.data(
        "PATCH",
        route(each, each["metadata"]["name"]),
        json.dumps(each),
        content_type="application/apply-patch+yaml",
        **where,
    )


@pytest.mark.django_db
def test_an_api_server_takes_every_object_and_drops_no_field(
    admin: Caller, cluster: Cluster, objects: list[dict[str, Any]]
) -> None:
    definitions = [operator_definition(*names) for names in OPERATOR_KINDS.items()]
    for definition in definitions:
        apply(admin, cluster, definition)
    try:
        for each in objects:
            applied = apply(admin, cluster, each)
            for part in ("spec", "data"):
                assert_contains(applied.get(part, {}), each.get(part, {}), each["metadata"]["name"])
    finally:
        for each in (*definitions, next(each for each in objects if each["kind"] == "Namespace")):
            path = route(each, each["metadata"]["name"])
            admin("DELETE", path, cluster_id=cluster.pk, confirm="true")


@pytest.mark.django_db
@pytest.mark.parametrize("overlay", ["small", "high-availability"])
def test_an_overlay_is_applied_as_one_text_and_is_unchanged_the_second_time(
    admin: Caller, cluster: Cluster, overlay: str
) -> None:
    objects = render(KUBERNETES / "overlays" / overlay)
    used = {each["kind"] for each in objects} & set(OPERATOR_KINDS)
    definitions = [operator_definition(kind, OPERATOR_KINDS[kind]) for kind in sorted(used)]
    # Definitions in the same text: they are served before their objects are sent.
    text = yaml.safe_dump_all([*definitions, *objects])
    try:
        for action in ("created", "unchanged"):
            body = {"cluster_id": cluster.pk, "content": text}
            answer = admin.data("POST", "manifests/apply", body)
            actions = {row["name"]: row["action"] for row in answer["documents"]}
            assert set(actions.values()) == {action}, actions
    finally:
        namespace = next(each for each in objects if each["kind"] == "Namespace")
        for each in (*definitions, namespace):
            path = route(each, each["metadata"]["name"])
            admin("DELETE", path, cluster_id=cluster.pk, confirm="true")


def assert_contains(actual: Any, expected: Any, path: str) -> None:
    """That the server kept what was written; it may add defaults."""
    if isinstance(expected, dict):
        for key, value in expected.items():
            # An empty value is a value left out.
            if value not in ({}, ""):
                assert isinstance(actual, dict), path
                assert key in actual, f"{path}.{key}"
                assert_contains(actual[key], value, f"{path}.{key}")
    elif isinstance(expected, list):
        assert len(actual) >= len(expected), path
        for index, value in enumerate(expected):
            assert_contains(actual[index], value, f"{path}[{index}]")
    else:
        assert actual == expected, path


def test_pods_are_restricted_and_have_no_token(objects: list[dict[str, Any]]) -> None:
    for name, template in pod_templates(objects):
        spec = template["spec"]
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["runAsUser"] > 0, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec), name
        for container in containers(template):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False, name
            assert context["readOnlyRootFilesystem"] is True, name
            assert context["capabilities"] == {"drop": ["ALL"]}, name
            assert {"cpu", "memory"} <= set(container["resources"]["requests"]), name
            assert "memory" in container["resources"]["limits"], name
            assert ":" in container["image"], name
            assert not container["image"].endswith(":latest"), name
    (namespace,) = [each for each in objects if each["kind"] == "Namespace"]
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_every_process_runs_as_in_the_compose_file_and_is_probed(
    objects: list[dict[str, Any]],
) -> None:
    compose = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())["services"]
    by_component = {
        template["metadata"]["labels"]["app.kubernetes.io/component"]: template["spec"]
        for name, template in pod_templates(objects)
        if template["metadata"]["labels"]["app.kubernetes.io/name"] == "kubegale"
    }
    assert set(by_component) == DEPLOYMENTS | {"migrate"}
    for component in ("migrate", "worker", "beat", "collector"):
        assert by_component[component]["containers"][0]["args"] == compose[component]["command"]
    for component in ("web", "streams"):
        (container,) = by_component[component]["containers"]
        assert container["args"] == ["python", "-m", "launcher", "serve"]
        assert {"startupProbe", "readinessProbe", "livenessProbe", "lifecycle"} <= set(container)
    for component in DEPLOYMENTS:
        assert "livenessProbe" in by_component[component]["containers"][0]


def test_a_pod_has_the_time_that_its_processes_take_to_end(objects: list[dict[str, Any]]) -> None:
    for name, template in pod_templates(objects):
        (container,) = template["spec"]["containers"]
        if container.get("args") == ["python", "-m", "launcher", "serve"]:
            before = container["lifecycle"]["preStop"]["sleep"]["seconds"]
            grace = template["spec"]["terminationGracePeriodSeconds"]
            # The launcher ends by force what its front has not ended by then.
            assert grace >= before + front({}).grace, name


def test_names_of_a_user_s_own_replace_every_one_of_ours(tmp_path: Path) -> None:
    objects = render(own_overlay(tmp_path))
    assert "example.com" not in yaml.safe_dump(
        [each for each in objects if each["kind"] in {"ConfigMap", "Ingress", "NetworkPolicy"}]
    )
    (config,) = [each for each in objects if each["kind"] == "ConfigMap"]
    assert config["data"]["GATEWAY_URL"] == "https://kube.mycompany.com"


def test_a_database_of_the_overlay_s_own_is_all_that_is_reached_on_its_port() -> None:
    objects = render(KUBERNETES / "overlays" / "small")
    for each in objects:
        if each["kind"] != "NetworkPolicy":
            continue
        for rule in each["spec"].get("egress", []):
            ports = {port["port"] for port in rule.get("ports", [])}
            if ports & {5432, 6379}:
                (target,) = rule["to"]
                labels = target["podSelector"]["matchLabels"]
                assert labels["app.kubernetes.io/name"] in {"postgres", "valkey"}


def test_what_is_named_elsewhere_exists(objects: list[dict[str, Any]]) -> None:
    templates = [template for _, template in pod_templates(objects)]
    services = {each["metadata"]["name"]: each for each in objects if each["kind"] == "Service"}
    deployments = {each["metadata"]["name"] for each in objects if each["kind"] == "Deployment"}
    ports = {
        port["name"]
        for template in templates
        for container in containers(template)
        for port in container.get("ports", [])
    }

    def selects(selector: dict[str, str]) -> bool:
        return any(
            selector.items() <= template["metadata"]["labels"].items() for template in templates
        )

    for service in services.values():
        assert selects(service["spec"]["selector"])
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    for each in objects:
        spec = each.get("spec", {})
        match each["kind"]:
            case "PodDisruptionBudget":
                assert selects(spec["selector"]["matchLabels"])
            case "HorizontalPodAutoscaler":
                assert spec["scaleTargetRef"]["name"] in deployments
            case "NetworkPolicy":
                assert selects(spec["podSelector"].get("matchLabels", {}))
                named = [
                    port["port"]
                    for rule in spec.get("ingress", [])
                    for port in rule.get("ports", [])
                ]
                assert set(named) <= ports
            case "Ingress":
                for path in spec["rules"][0]["http"]["paths"]:
                    backend = path["backend"]["service"]
                    offered = services[backend["name"]]["spec"]["ports"]
                    assert backend["port"]["name"] in {port["name"] for port in offered}
            case "ServiceMonitor":
                labels = spec["selector"]["matchLabels"]
                assert any(
                    labels.items() <= service["metadata"]["labels"].items()
                    for service in services.values()
                )


def test_every_setting_that_is_given_is_a_documented_one(objects: list[dict[str, Any]]) -> None:
    pages = ("settings.md", "deployment.md")
    text = "".join((ROOT / "docs" / page).read_text() for page in pages)
    documented = set(re.findall(r"`([A-Z][A-Z0-9_]+)`", text))
    (config,) = [each for each in objects if each["metadata"]["name"] == "kubegale-config"]
    names = set(config["data"])
    for _, template in pod_templates(objects):
        if template["metadata"]["labels"]["app.kubernetes.io/name"] == "kubegale":
            names |= {
                variable["name"]
                for container in containers(template)
                for variable in container.get("env", [])
            }
    # Names of the manifests' own, out of which ALLOWED_HOSTS is put together, and the system's.
    own = {"KUBEGALE_HOSTS", "HOST_NAMES", "POD_IP", "TMPDIR"}
    undocumented = names - own - documented
    # A setting may come out of a file.
    assert not {name.removesuffix("_FILE") for name in undocumented} - documented


@pytest.mark.django_db
def test_dashboard_and_alerts_ask_for_metrics_and_labels_that_exist(
    admin: Caller, cluster: Cluster
) -> None:
    admin.data("GET", "clusters")
    lifecycle.create("drain", lifecycle.OperationTarget(cluster), requested_by="admin")
    # As the collector leaves it.
    now = timezone.now()
    ClusterSync.objects.create(cluster=cluster, expires_at=now, beaten_at=now)
    KindSync.objects.create(
        cluster=cluster,
        version="v1",
        plural="pods",
        kind="Pod",
        resource_type="Pod",
        namespaced=True,
        phase=KindSync.Phase.WATCHING,
    )
    text = admin.raw("GET", "/metrics").content.decode()
    offered: dict[str, set[str]] = {}
    for name, labels in re.findall(r"^(kubegale_\w+?)(?:\{(.*)\})? ", text, re.MULTILINE):
        offered.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    # This one needs a copy that was compared with its cluster; its labels are those of the other.
    offered.setdefault("kubegale_store_age_seconds", offered["kubegale_store_watched"])
    # And these a rule that fires and tells; tests/alerts/test_channels.py has such.
    declared = set(re.findall(r"^# TYPE (kubegale_\w+) gauge$", text, re.MULTILINE))
    for name, labels in LABELS_OF_ALERTS.items():
        assert name in declared
        offered.setdefault(name, labels)
    folder = KUBERNETES / "components" / "monitoring"
    rules = yaml.safe_load((folder / "rules.yaml").read_text())["spec"]["groups"][0]["rules"]
    dashboard = json.loads((folder / "dashboard.json").read_text())
    shown = [(rule["expr"], rule["annotations"]["summary"]) for rule in rules] + [
        (target["expr"], target["legendFormat"])
        for panel in dashboard["panels"]
        for target in panel["targets"]
    ]
    assert len(shown) > 25
    for expression, words in shown:
        metrics = set(re.findall(r"kubegale_\w+", expression))
        assert metrics, expression
        assert metrics <= set(offered), expression
        groups = [
            set(re.split(r",\s*", text)) for text in re.findall(r"by \(([^)]*)\)", expression)
        ]
        matched = set(re.findall(r"(\w+)(?:=|!=|=~|!~)\"", expression))
        for name in metrics:
            assert matched.union(*groups) <= offered[name], expression
        # What is left of the outermost sum is all that can be named.
        mentioned = set(re.findall(r"{{\s*(?:\$labels\.)?(\w+)\s*}}", words))
        assert mentioned <= (groups[0] if groups else set()), words
    for rule in rules:
        assert rule["labels"]["severity"] in {"info", "warning", "critical"}
        assert re.fullmatch(r"[0-9]+m", rule["for"])
    states = set(re.findall(r'state="(\w+)"', "".join(expression for expression, _ in shown)))
    assert states <= set(Operation.State.values)
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)


def test_the_values_of_the_chart_fit_their_schema_and_are_all_that_it_reads() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    validator = jsonschema.Draft7Validator(schema, format_checker=jsonschema.FormatChecker())
    validator.check_schema(schema)
    validator.validate(values)
    for wrong in (
        {"web": {"replicas": -1}},
        {"misspelt": True},
        {"config": {"SECRET_KEY": "in the clear"}},
        {"config": {"MAX_BODY_BYTES": 16777216}},
        {"host": "https://console.example.com"},
    ):
        assert not validator.is_valid({**values, **wrong}), wrong
    templates = "".join(path.read_text() for path in (CHART / "templates").iterdir())
    references = set(re.findall(r"\.Values\.([A-Za-z.]+)", templates))
    assert len(references) > 15
    for reference in references:
        owner: Any = values
        for name in reference.split("."):
            assert name in owner, reference
            owner = owner[name]


def test_the_chart_runs_what_the_base_runs() -> None:
    def processes(objects: list[dict[str, Any]]) -> dict[str, Any]:
        """Of each component what is run, and how it is probed and limited."""
        return {
            template["metadata"]["labels"]["app.kubernetes.io/component"]: [
                {
                    part: container.get(part)
                    for part in (
                        *("args", "command", "ports", "resources", "securityContext"),
                        *("livenessProbe", "readinessProbe", "startupProbe", "lifecycle"),
                    )
                }
                | {
                    "env": sorted(
                        json.dumps(pair, sort_keys=True) for pair in container.get("env", [])
                    )
                }
                for container in containers(template)
            ]
            for _, template in pod_templates(objects)
        }

    chart = processes(render_chart())
    assert chart == processes(render(KUBERNETES / "base"))


def test_the_whole_chart_watches_what_the_overlay_watches() -> None:
    chart = render_chart(*(f"--set={name}=true" for name in WHOLE_CHART))
    overlay = render(KUBERNETES / "overlays" / "high-availability")
    for kind, part in (
        ("ServiceMonitor", ("spec", "endpoints")),
        ("PrometheusRule", ("spec", "groups")),
        ("ConfigMap", ("data", "kubegale.json")),
    ):
        assert parts(chart, kind, part) == parts(overlay, kind, part) != []


def parts(objects: list[dict[str, Any]], kind: str, path: tuple[str, str]) -> list[Any]:
    """What objects of a kind have at a path, where they have it."""
    section, name = path
    chosen = [each[section] for each in objects if each["kind"] == kind]
    return [
        json.loads(each[name]) if name.endswith(".json") else each[name]
        for each in chosen
        if name in each
    ]


def test_a_chart_in_a_package_has_alerts_and_dashboard_of_its_own() -> None:
    for name in ("rules.yaml", "dashboard.json"):
        linked = CHART / "files" / name
        # Helm follows the link; Kustomize would refuse a file out of its folder.
        assert linked.resolve() == KUBERNETES.resolve() / "components" / "monitoring" / name
        assert linked.exists()
