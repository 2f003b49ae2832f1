"""Which columns the table of each kind has: one row per column, out of the object alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from clusters import event_series
from console.rendering import health, html
from console.rendering.health import Object, get, rows


@dataclass(frozen=True, slots=True)
class RenderContext:
    """Who looks at a table: where, when, in which zone."""

    base: str
    zone: ZoneInfo
    now: datetime


Cell = Callable[[Object, RenderContext], str]


@dataclass(frozen=True, slots=True)
class TableColumn:
    """One column: its title, its cell; `wide` ones are left out on narrow screens, `right` ones hold numbers, `sort` is the API's word."""

    title: str | Promise
    cell: Cell
    wide: bool = False
    right: bool = False
    sort: str = ""


def text_cell(*path: str) -> Cell:
    """The text at a path of the object."""
    return lambda item, sight: html.text(get(item, *path))


def code_cell(*path: str) -> Cell:
    """The same for something long."""
    return lambda item, sight: html.code(get(item, *path))


def count_cell(*path: str) -> Cell:
    """How many members a list or mapping has."""
    return lambda item, sight: html.text(len(get(item, *path) or ()))


def number_cell(*path: str) -> Cell:
    """A number, 0 where it is left out."""
    return lambda item, sight: html.text(health.number(get(item, *path)))


def age_cell(*path: str) -> Cell:
    """How long ago a moment was."""
    return lambda item, sight: html.age(get(item, *path), sight.zone, sight.now)


def _state_column(plural: str) -> TableColumn:
    return TableColumn(
        _("Status"),
        lambda item, sight: html.status(*health.for_kind(plural, item)),
        sort="status" if plural in KINDS_WITH_PHASE else "",
    )


def _ready(item: Object, sight: RenderContext) -> str:
    return "{}/{}".format(*health.ready(item))


def _replicas(item: Object, sight: RenderContext) -> str:
    return "{}/{}".format(*health.replicas(item))


def _images(item: Object, sight: RenderContext) -> str:
    spec = (
        get(item, "spec", "template", "spec")
        or get(item, "spec", "jobTemplate", "spec", "template", "spec")
        or get(item, "spec")
    )
    return html.chips(
        [container.get("image", "") for container in rows(get(spec, "containers"))], 1
    )


def _node(item: Object, sight: RenderContext) -> str:
    name = get(item, "spec", "nodeName")
    return (
        html.link(f"{sight.base}/nodes/-/{html.path_segment(name)}", name)
        if name
        else html.text(None)
    )


def _completions(item: Object, sight: RenderContext) -> str:
    return (
        f"{health.number(get(item, 'status', 'succeeded'))}/{get(item, 'spec', 'completions') or 1}"
    )


def _ports(item: Object, sight: RenderContext) -> str:
    def shown(port: Mapping[str, Any]) -> str:
        node = f":{port['nodePort']}" if port.get("nodePort") else ""
        return f"{port.get('port')}{node}/{port.get('protocol', 'TCP')}"

    return html.chips([shown(port) for port in rows(get(item, "spec", "ports"))], 3)


def _external(item: Object, sight: RenderContext) -> str:
    ingresses = rows(get(item, "status", "loadBalancer", "ingress"))
    addresses = [ingress.get("ip") or ingress.get("hostname") for ingress in ingresses] or list(
        get(item, "spec", "externalIPs") or []
    )
    return html.chips([ingress for ingress in addresses if ingress], 2)


def _hosts(item: Object, sight: RenderContext) -> str:
    return html.chips([rule.get("host") or "*" for rule in rows(get(item, "spec", "rules"))], 2)


def _labels_cell(*path: str) -> Cell:
    def shown(item: Object, sight: RenderContext) -> str:
        labels = get(item, *path)
        return html.chips(
            [f"{key}={value}" for key, value in labels.items()]
            if isinstance(labels, Mapping)
            else [],
            2,
        )

    return shown


def _addresses(item: Object, sight: RenderContext) -> str:
    ips = [
        address.get("ip")
        for subset in rows(item.get("subsets"))
        for address in rows(subset.get("addresses"))
    ]
    return html.chips(ips, 3)


def _slice_addresses(item: Object, sight: RenderContext) -> str:
    return html.chips(
        [
            address
            for endpoint in rows(item.get("endpoints"))
            for address in endpoint.get("addresses") or []
        ],
        3,
    )


def _claim(item: Object, sight: RenderContext) -> str:
    claim = get(item, "spec", "claimRef")
    if not claim:
        return html.text(None)
    space, name = claim.get("namespace", ""), claim.get("name", "")
    return html.link(
        f"{sight.base}/persistentvolumeclaims/{html.path_segment(space)}/{html.path_segment(name)}",
        f"{space}/{name}",
    )


def _chips_cell(*path: str) -> Cell:
    return lambda item, sight: html.chips(get(item, *path) or [], 2)


def _roles(item: Object, sight: RenderContext) -> str:
    prefix = "node-role.kubernetes.io/"
    labels = get(item, "metadata", "labels") or {}
    return html.chips([key.removeprefix(prefix) for key in labels if key.startswith(prefix)], 2)


def _node_address(item: Object, sight: RenderContext) -> str:
    addresses = {
        address.get("type"): address.get("address")
        for address in rows(get(item, "status", "addresses"))
    }
    return html.text(addresses.get("InternalIP") or addresses.get("Hostname"))


def _subjects(item: Object, sight: RenderContext) -> str:
    return html.chips(
        [f"{subject.get('kind')} {subject.get('name')}" for subject in rows(item.get("subjects"))],
        2,
    )


def _role(item: Object, sight: RenderContext) -> str:
    return html.code(f"{get(item, 'roleRef', 'kind')}/{get(item, 'roleRef', 'name')}")


def _scale_target(item: Object, sight: RenderContext) -> str:
    return html.code(
        f"{get(item, 'spec', 'scaleTargetRef', 'kind')}/{get(item, 'spec', 'scaleTargetRef', 'name')}"
    )


def _quota(item: Object, sight: RenderContext) -> str:
    hard, used = (
        get(item, "status", "hard") or get(item, "spec", "hard") or {},
        get(item, "status", "used") or {},
    )
    return html.chips([f"{name} {used.get(name, 0)}/{most}" for name, most in hard.items()], 3)


def _event_type(item: Object, sight: RenderContext) -> str:
    kind = str(item.get("type", ""))
    return html.status(kind, "warn" if kind == "Warning" else "idle")


def _involved_object(item: Object, sight: RenderContext) -> str:
    about = item.get("involvedObject") or item.get("regarding") or {}
    return html.code(f"{about.get('kind', '')} {about.get('name', '')}")


def _last_seen(item: Object, sight: RenderContext) -> str:
    return html.age(event_series.last_seen(item), sight.zone, sight.now)


def _occurrences(item: Object, sight: RenderContext) -> str:
    return html.text(event_series.count(item))


KINDS_WITH_PHASE = ("pods", "persistentvolumeclaims", "persistentvolumes", "namespaces")
AGE = TableColumn(_("Age"), age_cell("metadata", "creationTimestamp"), right=True, sort="created")
IMAGES = TableColumn(_("Image"), _images, wide=True)
READY = TableColumn(_("Ready"), _replicas, right=True)
DATA = TableColumn(_("Keys"), count_cell("data"), right=True)

COLUMNS: Mapping[str, Sequence[TableColumn]] = {
    "pods": (
        _state_column("pods"),
        TableColumn(_("Ready"), _ready, right=True),
        TableColumn(
            _("Restarts"),
            lambda item, sight: str(health.restarts(item)),
            right=True,
            sort="restarts",
        ),
        TableColumn(_("Node"), _node, wide=True, sort="node"),
        TableColumn(_("Address"), text_cell("status", "podIP"), wide=True),
    ),
    "deployments": (
        _state_column("deployments"),
        READY,
        TableColumn(_("Updated"), number_cell("status", "updatedReplicas"), right=True, wide=True),
        TableColumn(
            _("Available"), number_cell("status", "availableReplicas"), right=True, wide=True
        ),
        IMAGES,
    ),
    "statefulsets": (
        _state_column("statefulsets"),
        READY,
        TableColumn(_("Service"), text_cell("spec", "serviceName"), wide=True),
        IMAGES,
    ),
    "daemonsets": (
        _state_column("daemonsets"),
        READY,
        TableColumn(
            _("Updated"), number_cell("status", "updatedNumberScheduled"), right=True, wide=True
        ),
        IMAGES,
    ),
    "replicasets": (_state_column("replicasets"), READY, IMAGES),
    "jobs": (
        _state_column("jobs"),
        TableColumn(_("Completions"), _completions, right=True),
        IMAGES,
    ),
    "cronjobs": (
        _state_column("cronjobs"),
        TableColumn(_("Schedule"), text_cell("spec", "schedule")),
        TableColumn(_("Last run"), age_cell("status", "lastScheduleTime"), right=True),
        IMAGES,
    ),
    "services": (
        TableColumn(_("Type"), text_cell("spec", "type")),
        TableColumn(_("Cluster address"), text_cell("spec", "clusterIP"), wide=True),
        TableColumn(_("External"), _external, wide=True),
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
        TableColumn(_("Directions"), _chips_cell("spec", "policyTypes")),
    ),
    "endpoints": (TableColumn(_("Addresses"), _addresses),),
    "endpointslices": (
        TableColumn(_("Family"), text_cell("addressType"), wide=True),
        TableColumn(_("Addresses"), _slice_addresses),
    ),
    "configmaps": (DATA,),
    "secrets": (TableColumn(_("Type"), code_cell("type")), DATA),
    "resourcequotas": (TableColumn(_("Used"), _quota),),
    "limitranges": (TableColumn(_("Limits"), count_cell("spec", "limits"), right=True),),
    "horizontalpodautoscalers": (
        TableColumn(_("Target"), _scale_target),
        TableColumn(_("Least"), number_cell("spec", "minReplicas"), right=True),
        TableColumn(_("Most"), number_cell("spec", "maxReplicas"), right=True),
        TableColumn(_("Replicas"), number_cell("status", "currentReplicas"), right=True),
    ),
    "poddisruptionbudgets": (
        TableColumn(_("Least available"), text_cell("spec", "minAvailable"), right=True),
        TableColumn(_("Most unavailable"), text_cell("spec", "maxUnavailable"), right=True),
        TableColumn(_("May go now"), number_cell("status", "disruptionsAllowed"), right=True),
    ),
    "persistentvolumeclaims": (
        _state_column("persistentvolumeclaims"),
        TableColumn(_("Volume"), code_cell("spec", "volumeName"), wide=True),
        TableColumn(_("Capacity"), text_cell("status", "capacity", "storage"), right=True),
        TableColumn(_("Access"), _chips_cell("spec", "accessModes"), wide=True),
        TableColumn(_("Class"), text_cell("spec", "storageClassName")),
    ),
    "persistentvolumes": (
        _state_column("persistentvolumes"),
        TableColumn(_("Capacity"), text_cell("spec", "capacity", "storage"), right=True),
        TableColumn(_("Access"), _chips_cell("spec", "accessModes"), wide=True),
        TableColumn(_("Reclaim"), text_cell("spec", "persistentVolumeReclaimPolicy"), wide=True),
        TableColumn(_("Claim"), _claim),
        TableColumn(_("Class"), text_cell("spec", "storageClassName"), wide=True),
    ),
    "storageclasses": (
        TableColumn(_("Provisioner"), text_cell("provisioner")),
        TableColumn(_("Reclaim"), text_cell("reclaimPolicy")),
        TableColumn(_("Binding"), text_cell("volumeBindingMode"), wide=True),
    ),
    "serviceaccounts": (TableColumn(_("Secrets"), count_cell("secrets"), right=True),),
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
        TableColumn(_("CPU"), text_cell("status", "allocatable", "cpu"), right=True),
        TableColumn(_("Memory"), text_cell("status", "allocatable", "memory"), right=True),
        TableColumn(_("Version"), text_cell("status", "nodeInfo", "kubeletVersion"), wide=True),
    ),
    "namespaces": (_state_column("namespaces"),),
    "events": (
        TableColumn(_("Type"), _event_type),
        TableColumn(_("Reason"), text_cell("reason")),
        TableColumn(_("Object"), _involved_object),
        TableColumn(_("Message"), code_cell("message")),
        TableColumn(_("Count"), _occurrences, right=True, wide=True),
    ),
    "leases": (
        TableColumn(_("Holder"), code_cell("spec", "holderIdentity")),
        TableColumn(_("Renewed"), age_cell("spec", "renewTime"), right=True),
    ),
    "controllerrevisions": (TableColumn(_("Revision"), number_cell("revision"), right=True),),
    "customresourcedefinitions": (
        TableColumn(_("Group"), text_cell("spec", "group")),
        TableColumn(_("Kind"), text_cell("spec", "names", "kind")),
        TableColumn(_("Scope"), text_cell("spec", "scope")),
    ),
}
LAST_SEEN = TableColumn(_("Last seen"), _last_seen, right=True)


def for_kind(plural: str) -> Sequence[TableColumn]:
    """The columns after name and namespace."""
    if plural == "events":
        return (*COLUMNS["events"], LAST_SEEN)
    return (*COLUMNS.get(plural, (_state_column(plural),)), AGE)
