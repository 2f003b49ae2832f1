"""Which columns the table of each kind has: one row per column, out of the object alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from clusters import event_series
from clusters.quantities import number
from console.locations import Location, resolve_reference, without_version
from console.rendering import health, html
from console.rendering.health import Object, get, rows
from console.rendering.usage import Usage, render_usage
from core.errors import SHAPE_ERRORS


@dataclass(frozen=True, slots=True)
class RenderContext:
    """Who looks at a table: where, when, in which zone.

    `usage` is what objects use, by `namespace/name`, or by name of those without a namespace;
    `actions` is the label of the rows' menus.
    """

    base: str
    zone: ZoneInfo
    now: datetime
    usage: Mapping[str, Usage] = field(default_factory=dict)
    actions: str = ""


Cell = Callable[[Object, RenderContext], str]
# As `kubectl get` has it.
INVALID = "<invalid>"


@dataclass(frozen=True, slots=True)
class TableColumn:
    """One column of a table.

    `wide` columns are left out on narrow screens, `right` ones are aligned to the right as
    numbers; `spare` ones are left out before rows outgrow a desk's screen, and one that stretches
    takes the room that is left. `sort` is the API's `orderby` word, "" for a column that cannot be
    sorted by.
    """

    title: str | Promise
    cell: Cell
    wide: bool = False
    right: bool = False
    sort: str = ""
    spare: bool = False
    stretches: bool = False

    def render(self, item: Object, context: RenderContext) -> str:
        """The HTML of the cell; `<invalid>` for an object that has not the shape of its kind."""
        try:
            return self.cell(item, context)
        except SHAPE_ERRORS:
            # Agents may have stored any JSON, which is no reason to show nobody the table.
            return html.text(INVALID)


def text_cell(*path: str) -> Cell:
    """The text at a path of the object."""
    return lambda item, context: html.text(get(item, *path))


def code_cell(*path: str) -> Cell:
    """The same for something long."""
    return lambda item, context: html.code(get(item, *path))


def _flag_cell(*path: str) -> Cell:
    return lambda item, context: html.yes_no(get(item, *path))


def count_cell(*path: str) -> Cell:
    """How many members a list or mapping has."""
    return lambda item, context: html.text(len(get(item, *path) or ()))


def number_cell(*path: str) -> Cell:
    """A number, 0 where it is left out."""
    return lambda item, context: html.text(health.number(get(item, *path)))


def age_cell(*path: str) -> Cell:
    """How long ago a moment was."""
    return lambda item, context: html.age(
        get(item, *path),
        context.zone,
        context.now,
    )


def _state_column(plural: str) -> TableColumn:
    return TableColumn(
        _("Status"),
        lambda item, context: html.status(*health.for_kind(plural, item)),
        # Only a phase is a column of the store that the API can sort by.
        sort="status" if plural in KINDS_WITH_PHASE else "",
    )


def _ready(item: Object, context: RenderContext) -> str:
    return "{}/{}".format(*health.ready(item))


def _replicas(item: Object, context: RenderContext) -> str:
    return "{}/{}".format(*health.replicas(item))


def _images(item: Object, context: RenderContext) -> str:
    spec = (
        get(item, "spec", "template", "spec")
        or get(item, "spec", "jobTemplate", "spec", "template", "spec")
        or get(item, "spec")
    )
    images = [
        container.get(
            "image",
            "",
        )
        for container in rows(get(spec, "containers"))
    ]
    if not images:
        return html.text(None)
    more = f'<span class="chip more">+{len(images) - 1}</span>' if len(images) > 1 else ""
    return html.image(images[0]) + more


def _node(item: Object, context: RenderContext) -> str:
    name = get(item, "spec", "nodeName")
    if not isinstance(name, str) or not name:
        return html.text(None)
    return html.link(f"{context.base}/nodes/-/{html.path_segment(name)}", name)


def _completions(item: Object, context: RenderContext) -> str:
    succeeded = health.number(get(item, "status", "succeeded"))
    # A Job without completions is complete with its first success.
    completions = get(item, "spec", "completions") or 1
    return f"{succeeded}/{completions}"


def _ports(item: Object, context: RenderContext) -> str:
    ports = []
    for port in rows(get(item, "spec", "ports")):
        node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
        ports.append(f"{port.get('port')}{node_port}/{port.get('protocol', 'TCP')}")
    return html.chips(ports, 3)


def _external(item: Object, context: RenderContext) -> str:
    ingresses = rows(get(item, "status", "loadBalancer", "ingress"))
    addresses = [ingress.get("ip") or ingress.get("hostname") for ingress in ingresses]
    # A Service may be reached by addresses that an administrator routes to nodes.
    if not addresses:
        addresses = list(get(item, "spec", "externalIPs") or [])
    return html.chips([address for address in addresses if address], 2)


def _hosts(item: Object, context: RenderContext) -> str:
    return html.chips(
        [rule.get("host") or "*" for rule in rows(get(item, "spec", "rules"))],
        2,
    )


def _labels_cell(*path: str) -> Cell:
    def render(item: Object, context: RenderContext) -> str:
        labels = get(item, *path)
        # A custom resource may store anything under this path.
        if not isinstance(labels, Mapping):
            return html.chips([], 2)
        return html.chips([f"{key}={value}" for key, value in labels.items()], 2)

    return render


def _addresses(item: Object, context: RenderContext) -> str:
    ips = []
    for subset in rows(item.get("subsets")):
        ips += [address.get("ip") for address in rows(subset.get("addresses"))]
    return html.chips(ips, 3)


def _slice_addresses(item: Object, context: RenderContext) -> str:
    addresses: list[Any] = []
    for endpoint in rows(item.get("endpoints")):
        addresses += endpoint.get("addresses") or []
    return html.chips(addresses, 3)


def _claim(item: Object, context: RenderContext) -> str:
    claim = get(item, "spec", "claimRef")
    if not claim:
        return html.text(None)
    namespace = claim.get("namespace", "")
    name = claim.get("name", "")
    path = f"{html.path_segment(namespace)}/{html.path_segment(name)}"
    address = f"{context.base}/persistentvolumeclaims/{path}"
    return html.link(address, f"{namespace}/{name}")


def _chips_cell(*path: str) -> Cell:
    return lambda item, context: html.chips(get(item, *path) or [], 2)


def _roles(item: Object, context: RenderContext) -> str:
    prefix = "node-role.kubernetes.io/"
    # A role is a label without a value.
    labels = get(item, "metadata", "labels") or {}
    return html.chips(
        [key.removeprefix(prefix) for key in labels if key.startswith(prefix)],
        2,
    )


def _node_address(item: Object, context: RenderContext) -> str:
    addresses = {
        address.get("type"): address.get("address")
        for address in rows(get(item, "status", "addresses"))
    }
    return html.text(addresses.get("InternalIP") or addresses.get("Hostname"))


def _subjects(item: Object, context: RenderContext) -> str:
    return html.chips(
        [f"{subject.get('kind')} {subject.get('name')}" for subject in rows(item.get("subjects"))],
        2,
    )


def _role(item: Object, context: RenderContext) -> str:
    return _reference_link(item, get(item, "roleRef") or {}, context)


def _scale_target(item: Object, context: RenderContext) -> str:
    return _reference_link(item, get(item, "spec", "scaleTargetRef") or {}, context)


def _reference_link(item: Object, reference: Mapping[str, Any], context: RenderContext) -> str:
    """`Deployment/web`: what the object names, a link where it is of a built-in kind."""
    words = f"{reference.get('kind')}/{reference.get('name')}"
    cluster = int(context.base.rpartition("/")[2])
    space = str(get(item, "metadata", "namespace") or "")
    target = resolve_reference(Location(cluster, "", space, ""), reference)
    return html.link(target.address, words) if target else html.code(words)


def _quota(item: Object, context: RenderContext) -> str:
    # The status is empty until the quota controller has seen a new quota.
    hard = get(item, "status", "hard") or get(item, "spec", "hard") or {}
    used = get(item, "status", "used") or {}
    return html.chips(
        [f"{name} {used.get(name, 0)}/{limit}" for name, limit in hard.items()],
        3,
    )


def _event_type(item: Object, context: RenderContext) -> str:
    kind = str(item.get("type", ""))
    return html.status(kind, "warn" if kind == "Warning" else "idle")


def _involved_object(item: Object, context: RenderContext) -> str:
    # core/v1 and events.k8s.io/v1 name the same member differently.
    about = item.get("involvedObject") or item.get("regarding") or {}
    words = f"{about.get('kind', '')} {about.get('name', '')}".strip()
    cluster = int(context.base.rpartition("/")[2])
    target = resolve_reference(Location(cluster, "", "", ""), about)
    if target is None:
        return html.code(words)
    return f'<span class="clip">{html.link(target.address, words)}</span>'


def _message(item: Object, context: RenderContext) -> str:
    return f'<span class="message">{html.text(item.get("message") or item.get("note"))}</span>'


def _event_age(item: Object, context: RenderContext) -> str:
    return html.age(event_series.last_time(item), context.zone, context.now)


def _occurrences(item: Object, context: RenderContext) -> str:
    return html.text(event_series.count(item))


def usage_key(item: Object) -> str:
    """The key of an object in what /metrics/usage says."""
    name = str(get(item, "metadata", "name") or "")
    namespace = get(item, "metadata", "namespace")
    return f"{namespace}/{name}" if namespace else name


def _usage_cell(resource: str) -> Cell:
    return lambda item, context: render_usage(
        context.usage.get(usage_key(item), {}),
        resource,
    )


def _node_usage_cell(resource: str) -> Cell:
    def render(item: Object, context: RenderContext) -> str:
        allocatable = number(get(item, "status", "allocatable", resource))
        return render_usage(
            context.usage.get(usage_key(item), {}),
            resource,
            allocatable,
        )

    return render


KINDS_WITH_USAGE = frozenset(
    {"pods", "nodes", "deployments", "statefulsets", "daemonsets", "replicasets", "jobs"}
)
CPU = TableColumn(_("CPU"), _usage_cell("cpu"), right=True, wide=True, sort="cpu")
MEMORY = TableColumn(
    _("Memory"),
    _usage_cell("memory"),
    right=True,
    wide=True,
    sort="memory",
)
KINDS_WITH_PHASE = ("pods", "persistentvolumeclaims", "persistentvolumes", "namespaces")
AGE = TableColumn(
    _("Age"),
    age_cell("metadata", "creationTimestamp"),
    right=True,
    sort="created",
)
IMAGES = TableColumn(_("Image"), _images, wide=True, stretches=True)
READY = TableColumn(_("Ready"), _replicas, right=True, sort="ready")
WEBHOOKS = TableColumn(_("Webhooks"), count_cell("webhooks"), right=True)
DATA = TableColumn(_("Keys"), count_cell("data"), right=True)

COLUMNS: Mapping[str, Sequence[TableColumn]] = {
    "pods": (
        _state_column("pods"),
        TableColumn(_("Ready"), _ready, right=True, sort="ready"),
        TableColumn(
            _("Restarts"),
            lambda item, context: str(health.restarts(item)),
            right=True,
            sort="restarts",
        ),
        CPU,
        MEMORY,
        TableColumn(_("Node"), _node, wide=True, sort="node"),
        TableColumn(_("IP"), text_cell("status", "podIP"), wide=True, spare=True),
    ),
    "deployments": (
        _state_column("deployments"),
        READY,
        TableColumn(
            _("Up-to-date"),
            number_cell("status", "updatedReplicas"),
            right=True,
            wide=True,
        ),
        TableColumn(
            _("Available"),
            number_cell("status", "availableReplicas"),
            right=True,
            wide=True,
        ),
        CPU,
        MEMORY,
        IMAGES,
    ),
    "statefulsets": (
        _state_column("statefulsets"),
        READY,
        TableColumn(_("Service"), text_cell("spec", "serviceName"), wide=True),
        CPU,
        MEMORY,
        IMAGES,
    ),
    "daemonsets": (
        _state_column("daemonsets"),
        READY,
        TableColumn(
            _("Up-to-date"),
            number_cell("status", "updatedNumberScheduled"),
            right=True,
            wide=True,
        ),
        CPU,
        MEMORY,
        IMAGES,
    ),
    "replicasets": (_state_column("replicasets"), READY, CPU, MEMORY, IMAGES),
    "jobs": (
        _state_column("jobs"),
        TableColumn(_("Completions"), _completions, right=True),
        CPU,
        MEMORY,
        IMAGES,
    ),
    "cronjobs": (
        _state_column("cronjobs"),
        TableColumn(_("Schedule"), text_cell("spec", "schedule")),
        TableColumn(
            _("Last schedule"),
            age_cell("status", "lastScheduleTime"),
            right=True,
        ),
        IMAGES,
    ),
    "services": (
        TableColumn(_("Type"), text_cell("spec", "type")),
        TableColumn(_("Cluster IP"), text_cell("spec", "clusterIP"), wide=True),
        TableColumn(_("External IP"), _external, wide=True),
        TableColumn(_("Ports"), _ports),
        TableColumn(_("Selector"), _labels_cell("spec", "selector"), wide=True),
    ),
    "ingresses": (
        TableColumn(_("Class"), text_cell("spec", "ingressClassName"), wide=True),
        TableColumn(_("Hosts"), _hosts),
        TableColumn(_("Address"), _external, wide=True),
    ),
    "networkpolicies": (
        TableColumn(_("Pods"), _labels_cell("spec", "podSelector", "matchLabels")),
        TableColumn(_("Policy types"), _chips_cell("spec", "policyTypes")),
    ),
    "endpoints": (TableColumn(_("Addresses"), _addresses),),
    "endpointslices": (
        TableColumn(_("Address type"), text_cell("addressType"), wide=True),
        TableColumn(_("Addresses"), _slice_addresses),
    ),
    "configmaps": (DATA,),
    "secrets": (TableColumn(_("Type"), code_cell("type")), DATA),
    "resourcequotas": (TableColumn(_("Used"), _quota),),
    "limitranges": (
        TableColumn(
            _("Limits"),
            count_cell("spec", "limits"),
            right=True,
        ),
    ),
    "horizontalpodautoscalers": (
        TableColumn(_("Target"), _scale_target),
        TableColumn(
            _("Min replicas"),
            number_cell("spec", "minReplicas"),
            right=True,
        ),
        TableColumn(
            _("Max replicas"),
            number_cell("spec", "maxReplicas"),
            right=True,
        ),
        TableColumn(
            _("Replicas"),
            number_cell("status", "currentReplicas"),
            right=True,
        ),
    ),
    "poddisruptionbudgets": (
        TableColumn(
            _("Min available"),
            text_cell("spec", "minAvailable"),
            right=True,
        ),
        TableColumn(
            _("Max unavailable"),
            text_cell("spec", "maxUnavailable"),
            right=True,
        ),
        TableColumn(
            _("Allowed disruptions"),
            number_cell(
                "status",
                "disruptionsAllowed",
            ),
            right=True,
        ),
    ),
    "persistentvolumeclaims": (
        _state_column("persistentvolumeclaims"),
        TableColumn(_("Volume"), code_cell("spec", "volumeName"), wide=True),
        TableColumn(
            _("Capacity"),
            text_cell("status", "capacity", "storage"),
            right=True,
        ),
        TableColumn(_("Access"), _chips_cell("spec", "accessModes"), wide=True),
        TableColumn(_("Class"), text_cell("spec", "storageClassName")),
    ),
    "persistentvolumes": (
        _state_column("persistentvolumes"),
        TableColumn(
            _("Capacity"),
            text_cell("spec", "capacity", "storage"),
            right=True,
        ),
        TableColumn(_("Access"), _chips_cell("spec", "accessModes"), wide=True),
        TableColumn(
            _("Reclaim policy"),
            text_cell(
                "spec",
                "persistentVolumeReclaimPolicy",
            ),
            wide=True,
        ),
        TableColumn(_("Claim"), _claim),
        TableColumn(_("Class"), text_cell("spec", "storageClassName"), wide=True),
    ),
    "storageclasses": (
        TableColumn(_("Provisioner"), text_cell("provisioner")),
        TableColumn(_("Reclaim policy"), text_cell("reclaimPolicy")),
        TableColumn(
            _("Volume binding mode"),
            text_cell("volumeBindingMode"),
            wide=True,
        ),
    ),
    "serviceaccounts": (
        TableColumn(
            _("Secrets"),
            count_cell("secrets"),
            right=True,
        ),
    ),
    "roles": (TableColumn(_("Rules"), count_cell("rules"), right=True),),
    "clusterroles": (TableColumn(_("Rules"), count_cell("rules"), right=True),),
    "rolebindings": (
        TableColumn(_("Role"), _role),
        TableColumn(_("Subjects"), _subjects, wide=True),
    ),
    "clusterrolebindings": (
        TableColumn(_("Role"), _role),
        TableColumn(_("Subjects"), _subjects, wide=True),
    ),
    "nodes": (
        _state_column("nodes"),
        TableColumn(_("Roles"), _roles, wide=True),
        TableColumn(_("Address"), _node_address, wide=True),
        TableColumn(_("CPU"), _node_usage_cell("cpu"), right=True, sort="cpu"),
        TableColumn(
            _("Memory"),
            _node_usage_cell("memory"),
            right=True,
            sort="memory",
        ),
        TableColumn(
            _("Version"),
            text_cell("status", "nodeInfo", "kubeletVersion"),
            wide=True,
        ),
    ),
    "namespaces": (_state_column("namespaces"),),
    # The reason is what an Event's row is called by: its name is generated.
    "events": (
        TableColumn(_("Type"), _event_type),
        TableColumn(_("Object"), _involved_object),
        TableColumn(_("Message"), _message),
        TableColumn(_("Count"), _occurrences, right=True),
        TableColumn(_("Last seen"), _event_age, right=True),
    ),
    "leases": (
        TableColumn(_("Holder"), code_cell("spec", "holderIdentity")),
        TableColumn(_("Renewed"), age_cell("spec", "renewTime"), right=True),
    ),
    "controllerrevisions": (
        TableColumn(
            _("Revision"),
            number_cell("revision"),
            right=True,
        ),
    ),
    "customresourcedefinitions": (
        TableColumn(_("Group"), text_cell("spec", "group")),
        TableColumn(_("Kind"), text_cell("spec", "names", "kind")),
        TableColumn(_("Scope"), text_cell("spec", "scope")),
    ),
}

# By plural and group: what kubectl shows of built-in kinds that have no table of their own here.
OTHER_COLUMNS: Mapping[str, Sequence[TableColumn]] = {
    "ingressclasses.networking.k8s.io": (
        TableColumn(_("Controller"), text_cell("spec", "controller")),
    ),
    "priorityclasses.scheduling.k8s.io": (
        TableColumn(_("Value"), number_cell("value"), right=True),
        TableColumn(_("Global default"), _flag_cell("globalDefault")),
        TableColumn(_("Preemption policy"), text_cell("preemptionPolicy"), wide=True),
    ),
    "runtimeclasses.node.k8s.io": (TableColumn(_("Handler"), text_cell("handler")),),
    "mutatingwebhookconfigurations.admissionregistration.k8s.io": (WEBHOOKS,),
    "validatingwebhookconfigurations.admissionregistration.k8s.io": (WEBHOOKS,),
    "csidrivers.storage.k8s.io": (
        TableColumn(_("Attach required"), _flag_cell("spec", "attachRequired")),
        TableColumn(_("Pod info on mount"), _flag_cell("spec", "podInfoOnMount"), wide=True),
    ),
    "volumeattachments.storage.k8s.io": (
        TableColumn(_("Attacher"), text_cell("spec", "attacher"), wide=True),
        TableColumn(_("Volume"), text_cell("spec", "source", "persistentVolumeName")),
        TableColumn(_("Node"), text_cell("spec", "nodeName"), wide=True),
        TableColumn(_("Attached"), _flag_cell("status", "attached")),
    ),
}


def row_title(plural: str, item: Object) -> str:
    """What a row is called by: the object's name, an Event's reason."""
    name = str(get(item, "metadata", "name") or "")
    return str(item.get("reason") or name) if plural == "events" else name


def title_column(plural: str) -> TableColumn:
    """The column of `row_title`."""
    if plural == "events":
        return TableColumn(_("Reason"), text_cell("reason"))
    return TableColumn(_("Name"), text_cell(), sort="name")


def for_kind(plural: str) -> Sequence[TableColumn]:
    """The columns after name and namespace."""
    # An Event's age is when it was last seen.
    if plural == "events":
        return COLUMNS["events"]
    own = COLUMNS.get(plural) or OTHER_COLUMNS.get(without_version(plural))
    return (*(own or (_state_column(plural),)), AGE)
