"""The forms of kinds without pods: services, settings, storage, scaling, access."""

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from console.editing.form_parts import (
    PAIRS,
    PROTOCOLS,
    Form,
    Section,
    count_input,
    metadata_section,
)
from console.editing.manifest_inputs import Column, Input, Manifest, Path, read_path

SERVICE = Form(
    "v1",
    "Service",
    (
        metadata_section(rule="label"),
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
        metadata_section(),
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
        metadata_section(),
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
        metadata_section(),
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
        metadata_section(),
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
NAMESPACE = Form("v1", "Namespace", (metadata_section(namespaced=False, rule="label"),))
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
        metadata_section(),
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
                count_input(("spec", "minReplicas"), gettext_lazy("Min replicas"), "positive"),
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
        metadata_section(),
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
        metadata_section(),
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
