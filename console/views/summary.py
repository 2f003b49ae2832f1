"""The summary of an object: what is worth knowing of each kind, as rows of a title and a piece of HTML."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from console.locations import Place
from console.rendering import health, html
from console.rendering.health import Object, get, rows

Row = tuple[str | Promise, str]
Facts = Callable[[Object, Place], Iterator[Row]]


def _text(title: str | Promise, item: Object, *path: str) -> Iterator[Row]:
    value = get(item, *path)
    if value not in (None, "", [], {}):
        yield title, html.text(value)


def _link(title: str | Promise, place: Place | None) -> Iterator[Row]:
    if place and place.name:
        yield title, html.link(place.address, place.name)


def _labels(title: str | Promise, labels: Any) -> Iterator[Row]:
    if isinstance(labels, Mapping) and labels:
        yield title, html.chips([f"{key}={value}" for key, value in labels.items()], 12)


def _pod(item: Object, place: Place) -> Iterator[Row]:
    spec = get(item, "spec") or {}
    yield from _link(_("Node"), place.other("nodes", str(spec.get("nodeName") or "")))
    yield from _text(_("Pod address"), item, "status", "podIP")
    yield from _text(_("Host address"), item, "status", "hostIP")
    yield from _link(
        _("Service account"),
        place.other("serviceaccounts", str(spec.get("serviceAccountName") or "")),
    )
    yield from _text(_("Quality of service"), item, "status", "qosClass")
    yield from _text(_("Restart policy"), item, "spec", "restartPolicy")
    yield from _text(_("Reason"), item, "status", "reason")
    yield from _text(_("Message"), item, "status", "message")


def _workload(item: Object, place: Place) -> Iterator[Row]:
    done, wanted = health.replicas(item)
    yield _("Replicas"), html.text(f"{done}/{wanted}")
    kind = get(item, "spec", "strategy", "type") or get(item, "spec", "updateStrategy", "type")
    if kind:
        rolling = (
            get(item, "spec", "strategy", "rollingUpdate")
            or get(item, "spec", "updateStrategy", "rollingUpdate")
            or {}
        )
        yield (
            _("Strategy"),
            html.text(
                ", ".join([str(kind), *(f"{key} {value}" for key, value in rolling.items())])
            ),
        )
    yield from _link(
        _("Service"), place.other("services", str(get(item, "spec", "serviceName") or ""))
    )
    yield from _labels(_("Selector"), get(item, "spec", "selector", "matchLabels"))
    yield from _text(_("Generation"), item, "metadata", "generation")


def _job(item: Object, place: Place) -> Iterator[Row]:
    yield from _text(_("Parallelism"), item, "spec", "parallelism")
    yield from _text(_("Completions"), item, "spec", "completions")
    for title, name in (
        (_("Active"), "active"),
        (_("Succeeded"), "succeeded"),
        (_("Failed"), "failed"),
    ):
        yield title, html.text(health.number(get(item, "status", name)))


def _cronjob(item: Object, place: Place) -> Iterator[Row]:
    yield from _text(_("Schedule"), item, "spec", "schedule")
    yield from _text(_("Time zone"), item, "spec", "timeZone")
    yield from _text(_("Concurrency"), item, "spec", "concurrencyPolicy")
    yield _("Suspended"), html.yes_no(get(item, "spec", "suspend"))
    for one in rows(get(item, "status", "active")):
        yield from _link(_("Running"), place.other("jobs", str(one.get("name") or "")))


def _service(item: Object, place: Place) -> Iterator[Row]:
    yield from _text(_("Type"), item, "spec", "type")
    yield from _text(_("Cluster address"), item, "spec", "clusterIP")
    yield from _labels(_("Selector"), get(item, "spec", "selector"))
    ports = [
        f"{port.get('name') or ''} {port.get('port')} → {port.get('targetPort', port.get('port'))}/{port.get('protocol', 'TCP')}".strip()
        for port in rows(get(item, "spec", "ports"))
    ]
    if ports:
        yield _("Ports"), html.chips(ports, 8)


def _ingress(item: Object, place: Place) -> Iterator[Row]:
    yield from _text(_("Class"), item, "spec", "ingressClassName")
    for rule in rows(get(item, "spec", "rules")):
        for one in rows(get(rule, "http", "paths")):
            service = get(one, "backend", "service") or {}
            target = place.other("services", str(service.get("name") or ""))
            where = f"{rule.get('host') or '*'}{one.get('path') or '/'}"
            if target.name:
                yield where, html.link(target.address, target.name)


def _node(item: Object, place: Place) -> Iterator[Row]:
    yield _("Takes new pods"), html.yes_no(not get(item, "spec", "unschedulable"))
    for one in rows(get(item, "status", "addresses")):
        yield str(one.get("type", "")), html.text(one.get("address"))
    info = get(item, "status", "nodeInfo") or {}
    for title, name in (
        (_("Kubelet"), "kubeletVersion"),
        (_("System"), "osImage"),
        (_("Kernel"), "kernelVersion"),
    ):
        if info.get(name):
            yield title, html.text(info[name])
    for title, name in (
        (_("Processors"), "cpu"),
        (_("Memory"), "memory"),
        (_("Pods at most"), "pods"),
    ):
        yield from _text(title, item, "status", "allocatable", name)
    taints = [
        f"{one.get('key')}={one.get('value') or ''}:{one.get('effect')}"
        for one in rows(get(item, "spec", "taints"))
    ]
    if taints:
        yield _("Taints"), html.chips(taints, 8)


def _claim(item: Object, place: Place) -> Iterator[Row]:
    yield from _link(
        _("Volume"), place.other("persistentvolumes", str(get(item, "spec", "volumeName") or ""))
    )
    yield from _link(
        _("Storage class"),
        place.other("storageclasses", str(get(item, "spec", "storageClassName") or "")),
    )
    yield from _text(_("Asked for"), item, "spec", "resources", "requests", "storage")
    yield from _text(_("Capacity"), item, "status", "capacity", "storage")
    yield _("Access"), html.chips(get(item, "spec", "accessModes") or [], 4)


def _autoscaler(item: Object, place: Place) -> Iterator[Row]:
    yield from _text(_("Least"), item, "spec", "minReplicas")
    yield from _text(_("Most"), item, "spec", "maxReplicas")
    yield from _text(_("Replicas"), item, "status", "currentReplicas")


def _keys(item: Object, place: Place) -> Iterator[Row]:
    yield from _text(_("Type"), item, "type")
    names = [*(get(item, "data") or {}), *(get(item, "binaryData") or {})]
    yield _("Keys"), html.chips(names, 20)


def _quota(item: Object, place: Place) -> Iterator[Row]:
    used = get(item, "status", "used") or {}
    for name, hard in (get(item, "status", "hard") or get(item, "spec", "hard") or {}).items():
        yield name, html.text(f"{used.get(name, 0)} / {hard}")


def _plain(item: Object, place: Place) -> Iterator[Row]:
    """What objects of other kinds say of themselves: the plain values of their spec and status."""
    for part in ("spec", "status"):
        found = get(item, part)
        for name, value in found.items() if isinstance(found, Mapping) else ():
            if isinstance(value, str | int | float) and len(str(value)) <= 200:
                yield name, html.text(value)


OF: Mapping[str, Facts] = {
    "pods": _pod,
    "deployments": _workload,
    "statefulsets": _workload,
    "daemonsets": _workload,
    "replicasets": _workload,
    "jobs": _job,
    "cronjobs": _cronjob,
    "services": _service,
    "ingresses": _ingress,
    "nodes": _node,
    "persistentvolumeclaims": _claim,
    "horizontalpodautoscalers": _autoscaler,
    "configmaps": _keys,
    "secrets": _keys,
    "resourcequotas": _quota,
}


def of(item: Object, place: Place) -> list[Row]:
    """The rows of an object's summary."""
    return [(title, html.safe(piece)) for title, piece in OF.get(place.plural, _plain)(item, place)]


def template(item: Object) -> Mapping[str, Any]:
    """The pod spec inside a pod, a workload or a CronJob; {} for what makes no pods."""
    for path in (
        ("spec", "template", "spec"),
        ("spec", "jobTemplate", "spec", "template", "spec"),
        ("spec",),
    ):
        found = get(item, *path)
        if isinstance(found, Mapping) and "containers" in found:
            return found
    return {}


def containers(item: Object) -> list[dict[str, Any]]:
    """The containers of a pod or of a workload's pods, with what is known of each."""
    spec = template(item)
    states: dict[Any, Mapping[str, Any]] = {}
    for part in ("containerStatuses", "initContainerStatuses"):
        states |= {one.get("name"): one for one in rows(get(item, "status", part))}
    listed = [(one, True) for one in rows(spec.get("initContainers"))] + [
        (one, False) for one in rows(spec.get("containers"))
    ]
    return [_container(one, states.get(one.get("name"), {}), first=first) for one, first in listed]


def _container(one: Mapping[str, Any], status: Mapping[str, Any], *, first: bool) -> dict[str, Any]:
    states: Mapping[str, Any] = status.get("state") or {}
    kind = next(iter(states), "")
    state: Mapping[str, Any] = states.get(kind) or {}
    word = str(state.get("reason") or kind.capitalize())
    tone = {
        "running": "good" if status.get("ready") else "warn",
        "terminated": "idle" if state.get("exitCode") == 0 else "bad",
    }
    bad = word in health.BAD_REASONS
    return {
        "name": one.get("name", ""),
        "image": one.get("image", ""),
        "init": first,
        "word": word,
        "tone": "bad" if bad else tone.get(kind, "busy"),
        "message": state.get("message", ""),
        "restarts": status.get("restartCount"),
        "last": get(status, "lastState", "terminated"),
        "ports": [
            f"{port.get('containerPort')}/{port.get('protocol', 'TCP')}"
            for port in rows(one.get("ports"))
        ],
        "requests": _amounts(get(one, "resources", "requests")),
        "limits": _amounts(get(one, "resources", "limits")),
        "env": [(env.get("name", ""), _value(env)) for env in rows(one.get("env"))],
    }


def _amounts(found: Any) -> str:
    return (
        ", ".join(f"{name} {amount}" for name, amount in found.items())
        if isinstance(found, Mapping)
        else ""
    )


def _value(env: Mapping[str, Any]) -> str:
    """A value in clear, or where it comes from: values out of Secrets are never here."""
    if "value" in env:
        return str(env["value"])
    for source, shown in (
        ("secretKeyRef", _("secret")),
        ("configMapKeyRef", _("config")),
        ("fieldRef", _("field")),
    ):
        found = get(env, "valueFrom", source)
        if isinstance(found, Mapping):
            return f"{shown} {found.get('name') or ''} {found.get('key') or found.get('fieldPath') or ''}".strip()
    return ""
