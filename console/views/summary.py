"""The summary of an object: the main facts of each kind, as rows of a title and HTML."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from console.locations import Location
from console.rendering import health, html
from console.rendering.health import Object, get, rows

Row = tuple[str | Promise, str]
Facts = Callable[[Object, Location], Iterator[Row]]


def _text(title: str | Promise, item: Object, *path: str) -> Iterator[Row]:
    value = get(item, *path)
    # 0 and false are facts, empty values are not.
    if value not in (None, "", [], {}):
        yield title, html.text(value)


def _link(title: str | Promise, location: Location | None) -> Iterator[Row]:
    if location and location.name:
        yield title, html.link(location.address, location.name)


def _labels(title: str | Promise, labels: Any) -> Iterator[Row]:
    if isinstance(labels, Mapping) and labels:
        yield title, html.chips([f"{key}={value}" for key, value in labels.items()], 12)


def _pod(item: Object, location: Location) -> Iterator[Row]:
    spec = get(item, "spec") or {}
    yield from _link(_("Node"), location.other("nodes", str(spec.get("nodeName") or "")))
    yield from _text(_("Pod IP"), item, "status", "podIP")
    yield from _text(_("Host IP"), item, "status", "hostIP")
    yield from _link(
        _("Service account"),
        location.other("serviceaccounts", str(spec.get("serviceAccountName") or "")),
    )
    yield from _text(_("QoS class"), item, "status", "qosClass")
    yield from _text(_("Restart policy"), item, "spec", "restartPolicy")
    yield from _text(_("Reason"), item, "status", "reason")
    yield from _text(_("Message"), item, "status", "message")


def _workload(item: Object, location: Location) -> Iterator[Row]:
    ready_pods, desired = health.replicas(item)
    yield _("Replicas"), html.text(f"{ready_pods}/{desired}")
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
        _("Service"),
        location.other("services", str(get(item, "spec", "serviceName") or "")),
    )
    yield from _labels(_("Selector"), get(item, "spec", "selector", "matchLabels"))
    yield from _text(_("Generation"), item, "metadata", "generation")


def _job(item: Object, location: Location) -> Iterator[Row]:
    yield from _text(_("Parallelism"), item, "spec", "parallelism")
    yield from _text(_("Completions"), item, "spec", "completions")
    for title, name in (
        (_("Active"), "active"),
        (_("Succeeded"), "succeeded"),
        (_("Failed"), "failed"),
    ):
        # The API server leaves out counts of zero; the page shows all three.
        yield title, html.text(health.number(get(item, "status", name)))


def _cronjob(item: Object, location: Location) -> Iterator[Row]:
    yield from _text(_("Schedule"), item, "spec", "schedule")
    yield from _text(_("Time zone"), item, "spec", "timeZone")
    yield from _text(_("Concurrency policy"), item, "spec", "concurrencyPolicy")
    yield _("Suspended"), html.yes_no(get(item, "spec", "suspend"))
    for reference in rows(get(item, "status", "active")):
        yield from _link(_("Running"), location.other("jobs", str(reference.get("name") or "")))


def _service(item: Object, location: Location) -> Iterator[Row]:
    yield from _text(_("Type"), item, "spec", "type")
    yield from _text(_("Cluster IP"), item, "spec", "clusterIP")
    yield from _labels(_("Selector"), get(item, "spec", "selector"))
    ports = []
    for port in rows(get(item, "spec", "ports")):
        # targetPort defaults to port, and protocol to TCP, as in the API.
        target = f"{port.get('targetPort', port.get('port'))}/{port.get('protocol', 'TCP')}"
        ports.append(f"{port.get('name') or ''} {port.get('port')} → {target}".strip())
    if ports:
        yield _("Ports"), html.chips(ports, 8)


def _ingress(item: Object, location: Location) -> Iterator[Row]:
    yield from _text(_("Class"), item, "spec", "ingressClassName")
    for rule in rows(get(item, "spec", "rules")):
        for path in rows(get(rule, "http", "paths")):
            service = get(path, "backend", "service") or {}
            target = location.other("services", str(service.get("name") or ""))
            where = f"{rule.get('host') or '*'}{path.get('path') or '/'}"
            if target.name:
                yield where, html.link(target.address, target.name)


def _node(item: Object, location: Location) -> Iterator[Row]:
    yield _("Schedulable"), html.yes_no(not get(item, "spec", "unschedulable"))
    for entry in rows(get(item, "status", "addresses")):
        yield str(entry.get("type", "")), html.text(entry.get("address"))
    info = get(item, "status", "nodeInfo") or {}
    for title, name in (
        (_("Kubelet version"), "kubeletVersion"),
        (_("OS image"), "osImage"),
        (_("Kernel version"), "kernelVersion"),
    ):
        if info.get(name):
            yield title, html.text(info[name])
    for title, name in (
        (_("CPU"), "cpu"),
        (_("Memory"), "memory"),
        (_("Max pods"), "pods"),
    ):
        yield from _text(title, item, "status", "allocatable", name)
    taints = [
        f"{entry.get('key')}={entry.get('value') or ''}:{entry.get('effect')}"
        for entry in rows(get(item, "spec", "taints"))
    ]
    if taints:
        yield _("Taints"), html.chips(taints, 8)


def _claim(item: Object, location: Location) -> Iterator[Row]:
    yield from _link(
        _("Volume"),
        location.other("persistentvolumes", str(get(item, "spec", "volumeName") or "")),
    )
    yield from _link(
        _("Storage class"),
        location.other("storageclasses", str(get(item, "spec", "storageClassName") or "")),
    )
    yield from _text(_("Requested"), item, "spec", "resources", "requests", "storage")
    yield from _text(_("Capacity"), item, "status", "capacity", "storage")
    yield _("Access"), html.chips(get(item, "spec", "accessModes") or [], 4)


def _autoscaler(item: Object, location: Location) -> Iterator[Row]:
    yield from _text(_("Min replicas"), item, "spec", "minReplicas")
    yield from _text(_("Max replicas"), item, "spec", "maxReplicas")
    yield from _text(_("Replicas"), item, "status", "currentReplicas")


def _keys(item: Object, location: Location) -> Iterator[Row]:
    yield from _text(_("Type"), item, "type")
    names = [*(get(item, "data") or {}), *(get(item, "binaryData") or {})]
    yield _("Keys"), html.chips(names, 20)


def _quota(item: Object, location: Location) -> Iterator[Row]:
    used = get(item, "status", "used") or {}
    for name, hard in (get(item, "status", "hard") or get(item, "spec", "hard") or {}).items():
        yield name, html.text(f"{used.get(name, 0)} / {hard}")


def _other(item: Object, location: Location) -> Iterator[Row]:
    """What objects of other kinds say of themselves: the plain values of their spec and status."""
    for part in ("spec", "status"):
        values = get(item, part)
        for name, value in values.items() if isinstance(values, Mapping) else ():
            if isinstance(value, str | int | float) and len(str(value)) <= 200:
                yield name, html.text(value)


FACTS_BY_KIND: Mapping[str, Facts] = {
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


def for_object(item: Object, location: Location) -> list[Row]:
    """The rows of an object's summary."""
    return [
        (title, html.mark_safe(piece))
        for title, piece in FACTS_BY_KIND.get(location.plural, _other)(item, location)
    ]


def pod_spec(item: Object) -> Mapping[str, Any]:
    """The pod spec inside a pod, a workload or a CronJob; {} for what makes no pods."""
    for path in (
        ("spec", "template", "spec"),
        ("spec", "jobTemplate", "spec", "template", "spec"),
        ("spec",),
    ):
        spec = get(item, *path)
        # A spec without containers belongs to a kind that makes no pods.
        if isinstance(spec, Mapping) and "containers" in spec:
            return spec
    return {}


def containers(item: Object) -> list[dict[str, Any]]:
    """The containers of a pod or of a pod template, init containers first.

    A template has no states: its containers have "" for a word.
    """
    spec = pod_spec(item)
    statuses: dict[Any, Mapping[str, Any]] = {}
    for part in ("containerStatuses", "initContainerStatuses"):
        for status in rows(get(item, "status", part)):
            statuses[status.get("name")] = status
    contexts = []
    for part in ("initContainers", "containers"):
        for container in rows(spec.get(part)):
            status = statuses.get(container.get("name"), {})
            is_init = part == "initContainers"
            contexts.append(_container_context(container, status, is_init=is_init))
    return contexts


def _container_context(
    container: Mapping[str, Any],
    status: Mapping[str, Any],
    *,
    is_init: bool,
) -> dict[str, Any]:
    states: Mapping[str, Any] = status.get("state") or {}
    # A container state has one member: waiting, running or terminated.
    kind = next(iter(states), "")
    state: Mapping[str, Any] = states.get(kind) or {}
    word = str(state.get("reason") or kind.capitalize())
    if word in health.BAD_REASONS:
        severity = "bad"
    elif kind == "running":
        severity = "good" if status.get("ready") else "warn"
    elif kind == "terminated":
        # Init containers and the containers of Jobs are meant to end.
        severity = "idle" if state.get("exitCode") == 0 else "bad"
    else:
        severity = "busy"
    return {
        "name": container.get("name", ""),
        "image": container.get("image", ""),
        "init": is_init,
        "is_running": kind == "running",
        "word": word,
        "severity": severity,
        "message": state.get("message", ""),
        "restarts": status.get("restartCount"),
        "last": get(status, "lastState", "terminated"),
        "ports": [
            f"{port.get('containerPort')}/{port.get('protocol', 'TCP')}"
            for port in rows(container.get("ports"))
        ],
        "requests": _quantities_text(get(container, "resources", "requests")),
        "limits": _quantities_text(get(container, "resources", "limits")),
        "env": [(env.get("name", ""), _env_value(env)) for env in rows(container.get("env"))],
    }


def _quantities_text(quantities: Any) -> str:
    if not isinstance(quantities, Mapping):
        return ""
    return ", ".join(f"{name} {amount}" for name, amount in quantities.items())


def _env_value(env: Mapping[str, Any]) -> str:
    """A value in clear, or where it comes from: values out of Secrets are never here."""
    if "value" in env:
        return str(env["value"])
    for source, label in (
        ("secretKeyRef", _("secret")),
        ("configMapKeyRef", _("config")),
        ("fieldRef", _("field")),
    ):
        reference = get(env, "valueFrom", source)
        if isinstance(reference, Mapping):
            key = reference.get("key") or reference.get("fieldPath") or ""
            return f"{label} {reference.get('name') or ''} {key}".strip()
    return ""
