"""Forms of the kinds that people create most, and the manifest that a form and a text make.

A form is a view of a manifest: it shows the members that it has inputs for, and writes these
alone. Titles are the names of the members as kubectl and the reference of Kubernetes write them.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from console.editing.manifest_inputs import (
    Column,
    Entered,
    Input,
    InputError,
    Manifest,
    Path,
    Text,
    read_path,
    show,
    write,
)

POD_TEMPLATE: Path = ("spec", "template")
JOB: Path = ("spec", "jobTemplate", "spec")
RESTARTS = ("Never", "OnFailure")
PULLS = ("Always", "IfNotPresent", "Never")
PAIRS = gettext_lazy("One in each line: key=value.")


@dataclass(frozen=True, slots=True)
class Section:
    """Inputs under a heading."""

    title: Text
    inputs: tuple[Input, ...]


@dataclass(frozen=True, slots=True)
class Form:
    """The form of a kind: `check` finds what no single input shows, as (input's name, text)."""

    api_version: str
    kind: str
    sections: tuple[Section, ...]
    check: Callable[[Manifest], tuple[str, str] | None] = lambda manifest: None

    @property
    def inputs(self) -> list[Input]:
        """All inputs in their order."""
        return [field for section in self.sections for field in section.inputs]


# --- pieces that kinds share ----------------------------------------------------------------------
def _metadata(*, namespaced: bool = True, rule: str = "name") -> Section:
    place = [Input(("metadata", "namespace"), gettext_lazy("Namespace"), rule="label")]
    return Section(
        gettext_lazy("Metadata"),
        (
            Input(("metadata", "name"), gettext_lazy("Name"), rule=rule, required=True),
            *(place if namespaced else []),
            Input(("metadata", "labels"), gettext_lazy("Labels"), "pairs", help=PAIRS),
            Input(("metadata", "annotations"), gettext_lazy("Annotations"), "pairs", help=PAIRS),
        ),
    )


SELECTOR = Input(
    ("spec", "selector", "matchLabels"),
    gettext_lazy("Selector"),
    "pairs",
    required=True,
    help=gettext_lazy("Which pods belong to it: labels that its pods carry too."),
)


def _container(template: Path) -> Section:
    first: Path = (*template, "spec", "containers", 0)
    ports = (
        Column(("name",), gettext_lazy("Name"), "label"),
        Column(("containerPort",), gettext_lazy("Port"), "port", required=True),
        Column(("protocol",), gettext_lazy("Protocol"), control="select", options=PROTOCOLS),
    )
    variables = (
        Column(("name",), gettext_lazy("Name"), required=True),
        Column(("value",), gettext_lazy("Value")),
    )
    amounts = [
        Input((*first, "resources", side, resource), title, rule="quantity")
        for side, resource, title in AMOUNTS
    ]
    return Section(
        gettext_lazy("Container"),
        (
            Input((*first, "name"), gettext_lazy("Name"), rule="label", required=True),
            Input((*first, "image"), gettext_lazy("Image"), required=True),
            Input(
                (*first, "imagePullPolicy"),
                gettext_lazy("Image pull policy"),
                "select",
                options=PULLS,
            ),
            Input((*first, "command"), gettext_lazy("Command"), "lines", help=LINES),
            Input((*first, "args"), gettext_lazy("Arguments"), "lines", help=LINES),
            Input((*first, "ports"), gettext_lazy("Ports"), "rows", columns=ports),
            Input((*first, "env"), gettext_lazy("Environment"), "rows", columns=variables),
            *amounts,
        ),
    )


PROTOCOLS = ("TCP", "UDP", "SCTP")
LINES = gettext_lazy("One word in each line.")
AMOUNTS = (
    ("requests", "cpu", gettext_lazy("CPU request")),
    ("limits", "cpu", gettext_lazy("CPU limit")),
    ("requests", "memory", gettext_lazy("Memory request")),
    ("limits", "memory", gettext_lazy("Memory limit")),
)


def _pods(template: Path, *extra: Input) -> Section:
    return Section(
        gettext_lazy("Pods"),
        (
            Input(
                (*template, "metadata", "labels"),
                gettext_lazy("Pod labels"),
                "pairs",
                help=PAIRS,
            ),
            Input(
                (*template, "spec", "serviceAccountName"),
                gettext_lazy("Service account"),
                rule="name",
            ),
            *extra,
        ),
    )


def _workload(api: str, kind: str, *inputs: Input) -> Form:
    return Form(
        api,
        kind,
        (
            _metadata(),
            Section(kind, (*inputs, SELECTOR)),
            _pods(POD_TEMPLATE),
            _container(POD_TEMPLATE),
        ),
        check_selector,
    )


def check_selector(manifest: Manifest) -> tuple[str, str] | None:
    """The pods of a workload have to carry the labels of its selector."""
    selector = read_path(manifest, SELECTOR.path)
    labels = read_path(manifest, (*POD_TEMPLATE, "metadata", "labels"))
    carried = labels if isinstance(labels, dict) else {}
    members = selector if isinstance(selector, dict) else {}
    for key, value in members.items():
        if carried.get(key) != value:
            text = _("The selector needs %(label)s here.") % {"label": f"{key}={value}"}
            return "spec.template.metadata.labels", text
    return None


def _count(path: Path, title: Text, rule: str = "count") -> Input:
    return Input(path, title, rule=rule)


def _job_inputs(spec: Path) -> tuple[Input, ...]:
    return (
        _count((*spec, "completions"), gettext_lazy("Completions")),
        _count((*spec, "parallelism"), gettext_lazy("Parallelism")),
        _count((*spec, "backoffLimit"), gettext_lazy("Backoff limit")),
        _count(
            (*spec, "activeDeadlineSeconds"),
            gettext_lazy("Active deadline in seconds"),
            "positive",
        ),
        _count(
            (*spec, "ttlSecondsAfterFinished"),
            gettext_lazy("Seconds to keep it after it finished"),
        ),
    )


def _restart_policy(template: Path) -> Input:
    return Input(
        (*template, "spec", "restartPolicy"),
        gettext_lazy("Restart policy"),
        "select",
        options=RESTARTS,
        required=True,
    )


# --- the kinds ------------------------------------------------------------------------------------
REPLICAS = _count(("spec", "replicas"), gettext_lazy("Replicas"))
DEPLOYMENT = _workload(
    "apps/v1",
    "Deployment",
    REPLICAS,
    Input(
        ("spec", "strategy", "type"),
        gettext_lazy("Strategy"),
        "select",
        options=("RollingUpdate", "Recreate"),
    ),
)
STATEFUL_SET = _workload(
    "apps/v1",
    "StatefulSet",
    REPLICAS,
    Input(("spec", "serviceName"), gettext_lazy("Service name"), rule="name"),
)
DAEMON_SET = _workload(
    "apps/v1",
    "DaemonSet",
    Input(
        ("spec", "updateStrategy", "type"),
        gettext_lazy("Update strategy"),
        "select",
        options=("RollingUpdate", "OnDelete"),
    ),
)
JOBS = Form(
    "batch/v1",
    "Job",
    (
        _metadata(),
        Section("Job", _job_inputs(("spec",))),
        _pods(POD_TEMPLATE, _restart_policy(POD_TEMPLATE)),
        _container(POD_TEMPLATE),
    ),
)
CRON_JOB = Form(
    "batch/v1",
    "CronJob",
    (
        _metadata(),
        Section(
            "CronJob",
            (
                Input(
                    ("spec", "schedule"),
                    gettext_lazy("Schedule"),
                    rule="schedule",
                    required=True,
                    help=gettext_lazy("Minute, hour, day, month, day of week."),
                ),
                Input(("spec", "timeZone"), gettext_lazy("Time zone")),
                Input(
                    ("spec", "concurrencyPolicy"),
                    gettext_lazy("Concurrency policy"),
                    "select",
                    options=("Allow", "Forbid", "Replace"),
                ),
                Input(("spec", "suspend"), gettext_lazy("Suspend"), "toggle"),
                *_job_inputs(JOB),
            ),
        ),
        _pods((*JOB, "template"), _restart_policy((*JOB, "template"))),
        _container((*JOB, "template")),
    ),
)
SERVICE = Form(
    "v1",
    "Service",
    (
        _metadata(rule="label"),
        Section(
            "Service",
            (
                Input(
                    ("spec", "type"),
                    gettext_lazy("Type"),
                    "select",
                    options=("ClusterIP", "NodePort", "LoadBalancer", "ExternalName"),
                ),
                Input(("spec", "selector"), gettext_lazy("Selector"), "pairs", help=PAIRS),
                Input(("spec", "externalName"), gettext_lazy("External name"), rule="name"),
                Input(
                    ("spec", "ports"),
                    gettext_lazy("Ports"),
                    "rows",
                    columns=(
                        Column(("name",), gettext_lazy("Name"), "label"),
                        Column(("port",), gettext_lazy("Port"), "port", required=True),
                        Column(("targetPort",), gettext_lazy("Target port"), "port or name"),
                        Column(("nodePort",), gettext_lazy("Node port"), "port"),
                        Column(
                            ("protocol",),
                            gettext_lazy("Protocol"),
                            control="select",
                            options=PROTOCOLS,
                        ),
                    ),
                ),
            ),
        ),
    ),
)
BACKEND: Path = ("http", "paths", 0, "backend", "service")
INGRESS = Form(
    "networking.k8s.io/v1",
    "Ingress",
    (
        _metadata(),
        Section(
            "Ingress",
            (
                Input(
                    ("spec", "ingressClassName"),
                    gettext_lazy("Ingress class"),
                    rule="name",
                ),
                Input(
                    ("spec", "rules"),
                    gettext_lazy("Rules"),
                    "rows",
                    help=gettext_lazy("The first path of each rule; further ones are in the YAML."),
                    columns=(
                        Column(("host",), gettext_lazy("Host")),
                        Column(("http", "paths", 0, "path"), gettext_lazy("Path")),
                        Column(
                            ("http", "paths", 0, "pathType"),
                            gettext_lazy("Path type"),
                            control="select",
                            options=("Prefix", "Exact", "ImplementationSpecific"),
                            required=True,
                        ),
                        Column(
                            (*BACKEND, "name"),
                            gettext_lazy("Service"),
                            "label",
                            required=True,
                        ),
                        Column((*BACKEND, "port", "number"), gettext_lazy("Port"), "port"),
                    ),
                ),
                Input(
                    ("spec", "tls"),
                    "TLS",
                    "rows",
                    columns=(
                        Column(("hosts",), gettext_lazy("Hosts"), "commas"),
                        Column(("secretName",), gettext_lazy("Secret"), "name"),
                    ),
                ),
            ),
        ),
    ),
)
ENTRIES = (
    Column(("key",), gettext_lazy("Key"), "key", required=True),
    Column(("value",), gettext_lazy("Value"), control="area"),
)
IMMUTABLE = Input(("immutable",), gettext_lazy("Immutable"), "toggle")
CONFIG_MAP = Form(
    "v1",
    "ConfigMap",
    (
        _metadata(),
        Section(
            "ConfigMap",
            (
                Input(("data",), gettext_lazy("Data"), "data", columns=ENTRIES),
                IMMUTABLE,
            ),
        ),
    ),
)
SECRET = Form(
    "v1",
    "Secret",
    (
        _metadata(),
        Section(
            "Secret",
            (
                Input(
                    ("type",),
                    gettext_lazy("Type"),
                    "select",
                    options=(
                        "Opaque",
                        "kubernetes.io/tls",
                        "kubernetes.io/basic-auth",
                        "kubernetes.io/ssh-auth",
                        "kubernetes.io/dockerconfigjson",
                    ),
                ),
                Input(
                    ("stringData",),
                    gettext_lazy("Data"),
                    "data",
                    columns=ENTRIES,
                    help=gettext_lazy("As text; the cluster keeps it as base64."),
                ),
                IMMUTABLE,
            ),
        ),
    ),
)
CLAIM = Form(
    "v1",
    "PersistentVolumeClaim",
    (
        _metadata(),
        Section(
            "PersistentVolumeClaim",
            (
                Input(
                    ("spec", "resources", "requests", "storage"),
                    gettext_lazy("Storage"),
                    rule="quantity",
                    required=True,
                ),
                Input(
                    ("spec", "accessModes"),
                    gettext_lazy("Access modes"),
                    "checks",
                    options=(
                        "ReadWriteOnce",
                        "ReadOnlyMany",
                        "ReadWriteMany",
                        "ReadWriteOncePod",
                    ),
                    required=True,
                ),
                Input(("spec", "storageClassName"), gettext_lazy("Storage class"), rule="name"),
                Input(
                    ("spec", "volumeMode"),
                    gettext_lazy("Volume mode"),
                    "select",
                    options=("Filesystem", "Block"),
                ),
            ),
        ),
    ),
)
NAMESPACE = Form("v1", "Namespace", (_metadata(namespaced=False, rule="label"),))
TARGET: Path = ("spec", "scaleTargetRef")


def check_bounds(manifest: Manifest) -> tuple[str, str] | None:
    """A HorizontalPodAutoscaler's minimum is not above its maximum."""
    low = read_path(manifest, ("spec", "minReplicas"))
    high = read_path(manifest, ("spec", "maxReplicas"))
    if isinstance(low, int) and isinstance(high, int) and low > high:
        return "spec.maxReplicas", _("Not less than the minimum.")
    return None


AUTOSCALER = Form(
    "autoscaling/v2",
    "HorizontalPodAutoscaler",
    (
        _metadata(),
        Section(
            "HorizontalPodAutoscaler",
            (
                Input(
                    (*TARGET, "kind"),
                    gettext_lazy("Kind"),
                    "select",
                    options=("Deployment", "StatefulSet"),
                    required=True,
                    needs=(((*TARGET, "apiVersion"), "apps/v1"),),
                ),
                Input(
                    (*TARGET, "name"),
                    gettext_lazy("Name of what is scaled"),
                    rule="name",
                    required=True,
                ),
                _count(("spec", "minReplicas"), gettext_lazy("Min replicas"), "positive"),
                Input(
                    ("spec", "maxReplicas"),
                    gettext_lazy("Max replicas"),
                    rule="positive",
                    required=True,
                ),
                Input(
                    ("spec", "metrics"),
                    gettext_lazy("Metrics"),
                    "rows",
                    help=gettext_lazy("Of the request of its pods; other metrics are in the YAML."),
                    columns=(
                        Column(
                            ("type",),
                            gettext_lazy("Type"),
                            control="select",
                            options=("Resource",),
                            required=True,
                        ),
                        Column(
                            ("resource", "name"),
                            gettext_lazy("Resource"),
                            control="select",
                            options=("cpu", "memory"),
                        ),
                        Column(
                            ("resource", "target", "type"),
                            gettext_lazy("Target"),
                            control="select",
                            options=("Utilization", "AverageValue"),
                        ),
                        Column(
                            ("resource", "target", "averageUtilization"),
                            gettext_lazy("Utilization in %"),
                            "positive",
                        ),
                        Column(
                            ("resource", "target", "averageValue"),
                            gettext_lazy("Average value"),
                            "quantity",
                        ),
                    ),
                ),
            ),
        ),
    ),
    check_bounds,
)
SERVICE_ACCOUNT = Form(
    "v1",
    "ServiceAccount",
    (
        _metadata(),
        Section(
            "ServiceAccount",
            (
                Input(
                    ("automountServiceAccountToken",),
                    gettext_lazy("Automount the token"),
                    "toggle",
                ),
                Input(
                    ("imagePullSecrets",),
                    gettext_lazy("Image pull secrets"),
                    "rows",
                    columns=(Column(("name",), gettext_lazy("Name"), "name", required=True),),
                ),
            ),
        ),
    ),
)
ROLE = Form(
    "rbac.authorization.k8s.io/v1",
    "Role",
    (
        _metadata(),
        Section(
            "Role",
            (
                Input(
                    ("rules",),
                    gettext_lazy("Rules"),
                    "rows",
                    help=gettext_lazy("Comma lists; the core API group is an empty word."),
                    columns=(
                        Column(("apiGroups",), gettext_lazy("API groups"), "groups"),
                        Column(
                            ("resources",),
                            gettext_lazy("Resources"),
                            "commas",
                            required=True,
                        ),
                        Column(("verbs",), gettext_lazy("Verbs"), "commas", required=True),
                    ),
                ),
            ),
        ),
    ),
)
FORMS: Mapping[str, Form] = {
    "deployments": DEPLOYMENT,
    "statefulsets": STATEFUL_SET,
    "daemonsets": DAEMON_SET,
    "jobs": JOBS,
    "cronjobs": CRON_JOB,
    "services": SERVICE,
    "ingresses": INGRESS,
    "configmaps": CONFIG_MAP,
    "secrets": SECRET,
    "persistentvolumeclaims": CLAIM,
    "namespaces": NAMESPACE,
    "horizontalpodautoscalers": AUTOSCALER,
    "serviceaccounts": SERVICE_ACCOUNT,
    "roles": ROLE,
}


def form_of(manifest: Mapping[str, Any]) -> Form | None:
    """The form of a manifest's kind; None for a kind or version without."""
    for form in FORMS.values():
        if (manifest.get("apiVersion"), manifest.get("kind")) == (form.api_version, form.kind):
            return form
    return None


def show_form(form: Form, manifest: Manifest) -> list[dict[str, Any]]:
    """The sections as the template takes them: {"title", "fields"}."""
    return [
        {
            "title": section.title,
            "fields": [show(field, manifest) for field in section.inputs],
        }
        for section in form.sections
    ]


def other_containers(manifest: Manifest) -> list[str]:
    """The containers that the form has no inputs for: second ones and init containers."""
    for template in (POD_TEMPLATE, (*JOB, "template")):
        spec = read_path(manifest, (*template, "spec"))
        if isinstance(spec, dict):
            groups = [_elements(spec, "containers")[1:], _elements(spec, "initContainers")]
            return [str(item.get("name")) for group in groups for item in group]
    return []


def _elements(spec: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    elements = spec.get(name)
    items = elements if isinstance(elements, list) else []
    return [item for item in items if isinstance(item, dict)]


def merge_form(
    form: Form,
    manifest: Manifest,
    entered: Entered,
) -> tuple[Manifest, Sequence[tuple[str, str]]]:
    """(the manifest with what was entered, [(input's name, what is wrong with it) …])."""
    merged = deepcopy(manifest)
    problems: list[tuple[str, str]] = []
    for field in form.inputs:
        try:
            write(field, merged, entered)
        except InputError as error:
            problems.append((field.name, str(error)))
    if not problems:
        problem = form.check(merged)
        problems += [problem] if problem else []
    return merged, problems
