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
class Sight:
    """Who looks at a table: where, when, in which zone."""

    base: str
    zone: ZoneInfo
    now: datetime


Cell = Callable[[Object, Sight], str]


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its title, its cell; `wide` ones are left out on narrow screens, `right` ones hold numbers, `sort` is the API's word."""

    title: str | Promise
    cell: Cell
    wide: bool = False
    right: bool = False
    sort: str = ""


def of_path(*path: str) -> Cell:
    """The text at a path of the object."""
    return lambda item, sight: html.text(get(item, *path))


def coded(*path: str) -> Cell:
    """The same for something long."""
    return lambda item, sight: html.code(get(item, *path))


def count(*path: str) -> Cell:
    """How many members a list or mapping has."""
    return lambda item, sight: html.text(len(get(item, *path) or ()))


def number(*path: str) -> Cell:
    """A number, 0 where it is left out."""
    return lambda item, sight: html.text(health.number(get(item, *path)))


def age(*path: str) -> Cell:
    """How long ago a moment was."""
    return lambda item, sight: html.age(get(item, *path), sight.zone, sight.now)


def _state(plural: str) -> Column:
    return Column(
        _("Status"),
        lambda item, sight: html.status(*health.of(plural, item)),
        sort="status" if plural in PHASED else "",
    )


def _ready(item: Object, sight: Sight) -> str:
    return "{}/{}".format(*health.ready(item))


def _replicas(item: Object, sight: Sight) -> str:
    return "{}/{}".format(*health.replicas(item))


def _images(item: Object, sight: Sight) -> str:
    spec = (
        get(item, "spec", "template", "spec")
        or get(item, "spec", "jobTemplate", "spec", "template", "spec")
        or get(item, "spec")
    )
    return html.chips([one.get("image", "") for one in rows(get(spec, "containers"))], 1)


def _node(item: Object, sight: Sight) -> str:
    name = get(item, "spec", "nodeName")
    return html.link(f"{sight.base}/nodes/-/{html.part(name)}", name) if name else html.text(None)


def _completions(item: Object, sight: Sight) -> str:
    return (
        f"{health.number(get(item, 'status', 'succeeded'))}/{get(item, 'spec', 'completions') or 1}"
    )


def _ports(item: Object, sight: Sight) -> str:
    def shown(port: Mapping[str, Any]) -> str:
        node = f":{port['nodePort']}" if port.get("nodePort") else ""
        return f"{port.get('port')}{node}/{port.get('protocol', 'TCP')}"

    return html.chips([shown(port) for port in rows(get(item, "spec", "ports"))], 3)


def _external(item: Object, sight: Sight) -> str:
    given = rows(get(item, "status", "loadBalancer", "ingress"))
    found = [one.get("ip") or one.get("hostname") for one in given] or list(
        get(item, "spec", "externalIPs") or []
    )
    return html.chips([one for one in found if one], 2)


def _hosts(item: Object, sight: Sight) -> str:
    return html.chips([rule.get("host") or "*" for rule in rows(get(item, "spec", "rules"))], 2)


def _selector(*path: str) -> Cell:
    def shown(item: Object, sight: Sight) -> str:
        labels = get(item, *path)
        return html.chips(
            [f"{key}={value}" for key, value in labels.items()]
            if isinstance(labels, Mapping)
            else [],
            2,
        )

    return shown


def _addresses(item: Object, sight: Sight) -> str:
    found = [
        one.get("ip")
        for subset in rows(item.get("subsets"))
        for one in rows(subset.get("addresses"))
    ]
    return html.chips(found, 3)


def _slice(item: Object, sight: Sight) -> str:
    return html.chips(
        [address for one in rows(item.get("endpoints")) for address in one.get("addresses") or []],
        3,
    )


def _claim(item: Object, sight: Sight) -> str:
    claim = get(item, "spec", "claimRef")
    if not claim:
        return html.text(None)
    space, name = claim.get("namespace", ""), claim.get("name", "")
    return html.link(
        f"{sight.base}/persistentvolumeclaims/{html.part(space)}/{html.part(name)}",
        f"{space}/{name}",
    )


def _modes(*path: str) -> Cell:
    return lambda item, sight: html.chips(get(item, *path) or [], 2)


def _roles(item: Object, sight: Sight) -> str:
    prefix = "node-role.kubernetes.io/"
    labels = get(item, "metadata", "labels") or {}
    return html.chips([key.removeprefix(prefix) for key in labels if key.startswith(prefix)], 2)


def _address(item: Object, sight: Sight) -> str:
    found = {one.get("type"): one.get("address") for one in rows(get(item, "status", "addresses"))}
    return html.text(found.get("InternalIP") or found.get("Hostname"))


def _subjects(item: Object, sight: Sight) -> str:
    return html.chips(
        [f"{one.get('kind')} {one.get('name')}" for one in rows(item.get("subjects"))], 2
    )


def _role(item: Object, sight: Sight) -> str:
    return html.code(f"{get(item, 'roleRef', 'kind')}/{get(item, 'roleRef', 'name')}")


def _scaled(item: Object, sight: Sight) -> str:
    return html.code(
        f"{get(item, 'spec', 'scaleTargetRef', 'kind')}/{get(item, 'spec', 'scaleTargetRef', 'name')}"
    )


def _quota(item: Object, sight: Sight) -> str:
    hard, used = (
        get(item, "status", "hard") or get(item, "spec", "hard") or {},
        get(item, "status", "used") or {},
    )
    return html.chips([f"{name} {used.get(name, 0)}/{most}" for name, most in hard.items()], 3)


def _event(item: Object, sight: Sight) -> str:
    kind = str(item.get("type", ""))
    return html.status(kind, "warn" if kind == "Warning" else "idle")


def _involved(item: Object, sight: Sight) -> str:
    about = item.get("involvedObject") or item.get("regarding") or {}
    return html.code(f"{about.get('kind', '')} {about.get('name', '')}")


def _seen(item: Object, sight: Sight) -> str:
    return html.age(event_series.last_seen(item), sight.zone, sight.now)


def _occurrences(item: Object, sight: Sight) -> str:
    return html.text(event_series.count(item))


PHASED = ("pods", "persistentvolumeclaims", "persistentvolumes", "namespaces")
AGE = Column(_("Age"), age("metadata", "creationTimestamp"), right=True, sort="created")
IMAGES = Column(_("Image"), _images, wide=True)
READY = Column(_("Ready"), _replicas, right=True)
DATA = Column(_("Keys"), count("data"), right=True)

COLUMNS: Mapping[str, Sequence[Column]] = {
    "pods": (
        _state("pods"),
        Column(_("Ready"), _ready, right=True),
        Column(
            _("Restarts"),
            lambda item, sight: str(health.restarts(item)),
            right=True,
            sort="restarts",
        ),
        Column(_("Node"), _node, wide=True, sort="node"),
        Column(_("Address"), of_path("status", "podIP"), wide=True),
    ),
    "deployments": (
        _state("deployments"),
        READY,
        Column(_("Updated"), number("status", "updatedReplicas"), right=True, wide=True),
        Column(_("Available"), number("status", "availableReplicas"), right=True, wide=True),
        IMAGES,
    ),
    "statefulsets": (
        _state("statefulsets"),
        READY,
        Column(_("Service"), of_path("spec", "serviceName"), wide=True),
        IMAGES,
    ),
    "daemonsets": (
        _state("daemonsets"),
        READY,
        Column(_("Updated"), number("status", "updatedNumberScheduled"), right=True, wide=True),
        IMAGES,
    ),
    "replicasets": (_state("replicasets"), READY, IMAGES),
    "jobs": (_state("jobs"), Column(_("Completions"), _completions, right=True), IMAGES),
    "cronjobs": (
        _state("cronjobs"),
        Column(_("Schedule"), of_path("spec", "schedule")),
        Column(_("Last run"), age("status", "lastScheduleTime"), right=True),
        IMAGES,
    ),
    "services": (
        Column(_("Type"), of_path("spec", "type")),
        Column(_("Cluster address"), of_path("spec", "clusterIP"), wide=True),
        Column(_("External"), _external, wide=True),
        Column(_("Ports"), _ports),
        Column(_("Selector"), _selector("spec", "selector"), wide=True),
    ),
    "ingresses": (
        Column(_("Class"), of_path("spec", "ingressClassName"), wide=True),
        Column(_("Hosts"), _hosts),
        Column(_("Address"), _external, wide=True),
    ),
    "networkpolicies": (
        Column(_("Pods"), _selector("spec", "podSelector", "matchLabels")),
        Column(_("Directions"), _modes("spec", "policyTypes")),
    ),
    "endpoints": (Column(_("Addresses"), _addresses),),
    "endpointslices": (
        Column(_("Family"), of_path("addressType"), wide=True),
        Column(_("Addresses"), _slice),
    ),
    "configmaps": (DATA,),
    "secrets": (Column(_("Type"), coded("type")), DATA),
    "resourcequotas": (Column(_("Used"), _quota),),
    "limitranges": (Column(_("Limits"), count("spec", "limits"), right=True),),
    "horizontalpodautoscalers": (
        Column(_("Target"), _scaled),
        Column(_("Least"), number("spec", "minReplicas"), right=True),
        Column(_("Most"), number("spec", "maxReplicas"), right=True),
        Column(_("Replicas"), number("status", "currentReplicas"), right=True),
    ),
    "poddisruptionbudgets": (
        Column(_("Least available"), of_path("spec", "minAvailable"), right=True),
        Column(_("Most unavailable"), of_path("spec", "maxUnavailable"), right=True),
        Column(_("May go now"), number("status", "disruptionsAllowed"), right=True),
    ),
    "persistentvolumeclaims": (
        _state("persistentvolumeclaims"),
        Column(_("Volume"), coded("spec", "volumeName"), wide=True),
        Column(_("Capacity"), of_path("status", "capacity", "storage"), right=True),
        Column(_("Access"), _modes("spec", "accessModes"), wide=True),
        Column(_("Class"), of_path("spec", "storageClassName")),
    ),
    "persistentvolumes": (
        _state("persistentvolumes"),
        Column(_("Capacity"), of_path("spec", "capacity", "storage"), right=True),
        Column(_("Access"), _modes("spec", "accessModes"), wide=True),
        Column(_("Reclaim"), of_path("spec", "persistentVolumeReclaimPolicy"), wide=True),
        Column(_("Claim"), _claim),
        Column(_("Class"), of_path("spec", "storageClassName"), wide=True),
    ),
    "storageclasses": (
        Column(_("Provisioner"), of_path("provisioner")),
        Column(_("Reclaim"), of_path("reclaimPolicy")),
        Column(_("Binding"), of_path("volumeBindingMode"), wide=True),
    ),
    "serviceaccounts": (Column(_("Secrets"), count("secrets"), right=True),),
    "roles": (Column(_("Rules"), count("rules"), right=True),),
    "clusterroles": (Column(_("Rules"), count("rules"), right=True),),
    "rolebindings": (Column(_("Role"), _role), Column(_("Subjects"), _subjects, wide=True)),
    "clusterrolebindings": (Column(_("Role"), _role), Column(_("Subjects"), _subjects, wide=True)),
    "nodes": (
        _state("nodes"),
        Column(_("Roles"), _roles, wide=True),
        Column(_("Address"), _address, wide=True),
        Column(_("CPU"), of_path("status", "allocatable", "cpu"), right=True),
        Column(_("Memory"), of_path("status", "allocatable", "memory"), right=True),
        Column(_("Version"), of_path("status", "nodeInfo", "kubeletVersion"), wide=True),
    ),
    "namespaces": (_state("namespaces"),),
    "events": (
        Column(_("Type"), _event),
        Column(_("Reason"), of_path("reason")),
        Column(_("Object"), _involved),
        Column(_("Message"), coded("message")),
        Column(_("Count"), _occurrences, right=True, wide=True),
    ),
    "leases": (
        Column(_("Holder"), coded("spec", "holderIdentity")),
        Column(_("Renewed"), age("spec", "renewTime"), right=True),
    ),
    "controllerrevisions": (Column(_("Revision"), number("revision"), right=True),),
    "customresourcedefinitions": (
        Column(_("Group"), of_path("spec", "group")),
        Column(_("Kind"), of_path("spec", "names", "kind")),
        Column(_("Scope"), of_path("spec", "scope")),
    ),
}
SEEN = Column(_("Last seen"), _seen, right=True)


def of(plural: str) -> Sequence[Column]:
    """The columns after name and namespace."""
    if plural == "events":
        return (*COLUMNS["events"], SEEN)
    return (*COLUMNS.get(plural, (_state(plural),)), AGE)
