"""How an object is doing: kubectl's word, and a severity: good, busy, warn, bad or idle."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from core.errors import SHAPE_ERRORS

T = TypeVar("T")
Object = Mapping[str, Any]
Health = tuple[str, str]
BAD_REASONS = (
    "CrashLoopBackOff",
    "ImagePullBackOff",
    "ErrImagePull",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "OOMKilled",
    "Error",
    "Evicted",
    "Failed",
)
BUSY_REASONS = ("ContainerCreating", "PodInitializing", "Pending", "Terminating")


def get(item: Any, *path: str) -> Any:
    """What stands at a path, or None."""
    try:
        for name in path:
            item = item.get(name)
    except AttributeError:
        return None
    return item


def rows(value: Any) -> list[Mapping[str, Any]]:
    """The mappings of a list; [] for anything that is not a list."""
    if not isinstance(value, list):
        return []
    return [element for element in value if isinstance(element, dict)]


# What pages read of metadata without a look, and its shape in Kubernetes.
_METADATA_SHAPES: Mapping[str, type] = {
    "name": str,
    "namespace": str,
    "uid": str,
    "resourceVersion": str,
    "labels": dict,
    "annotations": dict,
    "ownerReferences": list,
}


def regular_object(item: Any) -> Object:
    """The object with metadata as Kubernetes has them; odd members are left out.

    Agents may store any JSON under any kind, and no page of others may fail beside it.
    """
    if not isinstance(item, dict):
        return {"metadata": {}}
    metadata = item.get("metadata")
    if not isinstance(metadata, dict):
        return {**item, "metadata": {}}
    odd = {
        name
        for name, shape in _METADATA_SHAPES.items()
        if name in metadata and not isinstance(metadata[name], shape)
    }
    if not odd:
        return item
    regular = {name: value for name, value in metadata.items() if name not in odd}
    return {**item, "metadata": regular}


def collect_regular(pieces: Iterable[T]) -> list[T]:
    """The pieces that a generator makes of an object, up to a part of another shape.

    Agents may store any JSON, which is no reason to show nothing of it.
    """
    collected: list[T] = []
    try:
        collected.extend(pieces)
    except SHAPE_ERRORS:
        return collected
    return collected


def condition(item: Object, kind: str) -> Mapping[str, Any]:
    """The condition of that type, or {}."""
    return next(
        (
            entry
            for entry in rows(
                get(
                    item,
                    "status",
                    "conditions",
                )
            )
            if entry.get("type") == kind
        ),
        {},
    )


def number(value: Any) -> int:
    """A whole number, 0 for what is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def restarts(pod: Object) -> int:
    """How often the pod's containers were started again."""
    return sum(
        number(state.get("restartCount"))
        for state in rows(
            get(
                pod,
                "status",
                "containerStatuses",
            )
        )
    )


def ready(pod: Object) -> tuple[int, int]:
    """(ready containers, containers)."""
    states = rows(get(pod, "status", "containerStatuses"))
    # A pod that was not scheduled yet has containers, but no states of them.
    total = len(rows(get(pod, "spec", "containers"))) or len(states)
    return sum(state.get("ready") is True for state in states), total


def _waiting_reason(states: Iterable[Mapping[str, Any]]) -> str:
    """Why a container does not run, the first that says so; "" when all do."""
    for container in states:
        waiting = get(container, "state", "waiting", "reason")
        terminated = get(container, "state", "terminated")
        reason = waiting or get(terminated, "reason")
        if reason and reason != "Completed":
            return str(reason)
        # Some runtimes give no reason: kubectl shows the exit code then.
        if terminated and not reason:
            return f"ExitCode:{get(terminated, 'exitCode')}"
    return ""


def _init_state(pod: Object) -> str:
    """`Init:1/3` or `Init:{reason}` while init containers run, as kubectl; "" afterwards."""
    states = rows(get(pod, "status", "initContainerStatuses"))
    for index, state in enumerate(states):
        # A sidecar (an init container with restartPolicy Always) is done once it has started.
        if (
            get(
                state,
                "state",
                "terminated",
                "exitCode",
            )
            == 0
            or state.get("started") is True
        ):
            continue
        reason = _waiting_reason([state])
        if reason and reason != "PodInitializing":
            return f"Init:{reason}"
        return f"Init:{index}/{len(states)}"
    return ""


def pod_health(pod: Object) -> Health:
    """The STATUS column of `kubectl get pods`."""
    # `status.reason` has more to say than the phase: Evicted, NodeLost.
    phase = str(
        get(
            pod,
            "status",
            "reason",
        )
        or get(pod, "status", "phase")
        or "Unknown"
    )
    states = rows(get(pod, "status", "containerStatuses"))
    word = _init_state(pod) or _waiting_reason(states) or phase
    if phase == "Succeeded":
        word = "Completed"
    if get(pod, "metadata", "deletionTimestamp"):
        # A node that does not answer cannot report whether the pod still runs.
        word = "Unknown" if phase == "NodeLost" else "Terminating"
    return word, _pod_severity(word, pod)


def _pod_severity(word: str, pod: Object) -> str:
    reason = word.removeprefix("Init:")
    if reason in BAD_REASONS or reason.startswith("ExitCode:"):
        return "bad"
    if word == "Running":
        ready_containers, total = ready(pod)
        return "good" if ready_containers >= total else "warn"
    if word == "Completed":
        return "idle"
    return "busy" if reason in BUSY_REASONS or word.startswith("Init:") else "warn"


def replicas(item: Object) -> tuple[int, int]:
    """(ready, desired) of a Deployment, StatefulSet, ReplicaSet or DaemonSet."""
    # A DaemonSet has no `spec.replicas`: its nodes decide.
    scheduled = get(item, "status", "desiredNumberScheduled")
    if scheduled is not None:
        return number(get(item, "status", "numberReady")), number(scheduled)
    ready_pods = number(get(item, "status", "readyReplicas"))
    desired = get(item, "spec", "replicas")
    return ready_pods, 1 if desired is None else number(desired)


def workload_health(item: Object) -> Health:
    """Ready, updating, short of pods, stopped or paused."""
    ready_pods, desired = replicas(item)
    updated = get(item, "status", "updatedReplicas") or get(
        item, "status", "updatedNumberScheduled"
    )
    if get(item, "spec", "paused"):
        return "Paused", "idle"
    if condition(item, "Progressing").get("reason") == "ProgressDeadlineExceeded":
        return "Failed", "bad"
    if desired == 0:
        return "Scaled to zero", "idle"
    if updated is not None and number(updated) < desired:
        return "Updating", "busy"
    if ready_pods >= desired:
        return "Ready", "good"
    return ("Degraded", "warn") if ready_pods else ("Unavailable", "bad")


def replicaset_health(item: Object) -> Health:
    """A ReplicaSet's own state; old ones are scaled to zero."""
    ready_pods, desired = replicas(item)
    if desired == 0:
        return "Scaled to zero", "idle"
    return ("Ready", "good") if ready_pods >= desired else ("Degraded", "warn")


def job_health(job: Object) -> Health:
    """Complete, failed, suspended or running."""
    if condition(job, "Complete").get("status") == "True":
        return "Complete", "idle"
    if condition(job, "Failed").get("status") == "True":
        return "Failed", "bad"
    return (
        ("Suspended", "idle")
        if get(
            job,
            "spec",
            "suspend",
        )
        else ("Running", "busy")
    )


def cronjob_health(item: Object) -> Health:
    """Suspended, running or waiting for its time."""
    if get(item, "spec", "suspend"):
        return "Suspended", "idle"
    return (
        ("Running", "busy")
        if get(
            item,
            "status",
            "active",
        )
        else ("Scheduled", "good")
    )


def node_health(node: Object) -> Health:
    """Ready or not, and whether pods may be put on it."""
    words = {"True": "Ready", "False": "NotReady"}
    word = words.get(str(condition(node, "Ready").get("status")), "Unknown")
    severity = "good" if word == "Ready" else "bad"
    if get(node, "spec", "unschedulable"):
        # A cordon is deliberate: a ready node is no more than a warning.
        return f"{word}, SchedulingDisabled", "warn" if severity == "good" else severity
    return word, severity


PHASES = {
    "Active": "good",
    "Bound": "good",
    "Available": "good",
    "Running": "good",
    "Succeeded": "idle",
    "Ready": "good",
    "Released": "warn",
    "Pending": "busy",
    "Terminating": "busy",
    "Failed": "bad",
    "Lost": "bad",
}


def phase_health(item: Object) -> Health:
    """`status.phase`, or the Ready condition, as custom kinds have it."""
    if get(item, "metadata", "deletionTimestamp"):
        return "Terminating", "busy"
    if phase := get(item, "status", "phase"):
        return str(phase), PHASES.get(str(phase), "idle")
    for kind in ("Ready", "Available"):
        if status := condition(item, kind).get("status"):
            return (kind, "good") if status == "True" else (f"Not{kind}", "bad")
    return "", "idle"


def problem_message(item: Object) -> str:
    """What the object says about its problem: a container's or a condition's message, or ""."""
    states = [
        *rows(get(item, "status", "initContainerStatuses")),
        *rows(get(item, "status", "containerStatuses")),
    ]
    ends = [
        (container.get("name"), get(container, state, "terminated"))
        for container in states
        for state in ("state", "lastState")
    ]
    for name, end in ends:
        if get(end, "message"):
            return f"{name}: {get(end, 'message')}"
    for name, end in ends:
        if get(end, "exitCode"):
            return f"{name}: {get(end, 'reason') or 'Error'}, exit code {get(end, 'exitCode')}"
    for container in states:
        if get(container, "state", "waiting", "message"):
            return str(get(container, "state", "waiting", "message"))
    if get(item, "status", "message"):
        return str(get(item, "status", "message"))
    for entry in rows(get(item, "status", "conditions")):
        if entry.get("message") and (entry.get("status") != "True") != (
            entry.get("type") in ("Failed", "ReplicaFailure")
        ):
            return str(entry["message"])
    return ""


HEALTH_BY_KIND: Mapping[str, Callable[[Object], Health]] = {
    "pods": pod_health,
    "deployments": workload_health,
    "statefulsets": workload_health,
    "daemonsets": workload_health,
    "replicasets": replicaset_health,
    "jobs": job_health,
    "cronjobs": cronjob_health,
    "nodes": node_health,
}


def for_kind(plural: str, item: Object) -> Health:
    """(word, severity) of an object of any kind; ("", "idle") when it has no state."""
    return HEALTH_BY_KIND.get(plural, phase_health)(item)
