"""The pod spec inside an object, and its containers for a page."""

from collections.abc import Iterator, Mapping
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from console.rendering import health
from console.rendering.health import Object, get, rows


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
    return health.collect_regular(_container_contexts(item))


def _container_contexts(item: Object) -> Iterator[dict[str, Any]]:
    spec = pod_spec(item)
    statuses: dict[Any, Mapping[str, Any]] = {}
    for part in ("containerStatuses", "initContainerStatuses"):
        for status in rows(get(item, "status", part)):
            statuses[status.get("name")] = status
    for part in ("initContainers", "containers"):
        for container in rows(spec.get(part)):
            status = statuses.get(container.get("name"), {})
            is_init = part == "initContainers"
            yield _container_context(container, status, is_init=is_init)


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
        "details": list(_container_details(container, status)),
        "env": [
            (
                env.get(
                    "name",
                    "",
                ),
                _env_value(env),
            )
            for env in rows(container.get("env"))
        ],
    }


def _container_details(
    container: Mapping[str, Any],
    status: Mapping[str, Any],
) -> Iterator[tuple[Promise | str, str]]:
    """What `kubectl describe` says besides: command, probes, mounts, the image that runs."""
    for title, field in ((_("Command"), "command"), (_("Arguments"), "args")):
        if words := container.get(field):
            yield title, " ".join(str(word) for word in words)[:500]
    for title, field in (
        (_("Liveness"), "livenessProbe"),
        (_("Readiness"), "readinessProbe"),
        (_("Startup"), "startupProbe"),
    ):
        probe = container.get(field)
        if isinstance(probe, Mapping):
            yield title, _probe_words(probe)
    for mount in rows(container.get("volumeMounts")):
        mode = "ro" if mount.get("readOnly") else "rw"
        yield _("Mount"), f"{mount.get('mountPath')} ← {mount.get('name')} ({mode})"
    if image_id := status.get("imageID"):
        yield _("Image ID"), str(image_id)


def _probe_words(probe: Mapping[str, Any]) -> str:
    """A probe as kubectl describes it."""
    call = ""
    if isinstance(probe.get("httpGet"), Mapping):
        target = probe["httpGet"]
        scheme = str(target.get("scheme", "HTTP")).lower()
        place = f"{target.get('host') or ''}:{target.get('port')}{target.get('path') or '/'}"
        call = f"http-get {scheme}://{place}"
    elif isinstance(probe.get("tcpSocket"), Mapping):
        call = f"tcp-socket :{probe['tcpSocket'].get('port')}"
    elif isinstance(probe.get("exec"), Mapping):
        call = f"exec {' '.join(str(word) for word in probe['exec'].get('command') or ())}"
    elif isinstance(probe.get("grpc"), Mapping):
        call = f"grpc :{probe['grpc'].get('port')}"
    # The API server's defaults stand for what is left out.
    delay = probe.get("initialDelaySeconds", 0)
    timing = f"delay={delay}s timeout={probe.get('timeoutSeconds', 1)}s"
    period = f"period={probe.get('periodSeconds', 10)}s"
    counts = (
        f"#success={probe.get('successThreshold', 1)} #failure={probe.get('failureThreshold', 3)}"
    )
    return f"{call} {timing} {period} {counts}"[:500]


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
