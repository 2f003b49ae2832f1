"""A pod's containers, as far as following their logs needs them. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clusters.manifests import Object
from core.errors import Invalid

DEFAULT = "kubectl.kubernetes.io/default-container"
# The lists of a pod's spec, and those of its status that describe the same containers.
GROUPS = (
    ("containers", "containerStatuses"),
    ("initContainers", "initContainerStatuses"),
    ("ephemeralContainers", "ephemeralContainerStatuses"),
)
FINISHED = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, slots=True)
class LogContainer:
    """One container of one pod; `state` is waiting, running, restarting or ended."""

    pod: str
    name: str
    uid: str
    state: str
    restarts: int = 0
    reason: str = ""

    @property
    def source(self) -> str:
        """Its name in the frames of a stream: `pod/container`."""
        return f"{self.pod}/{self.name}"


def select_containers(pod: Object, names: list[str], *, every: bool = False) -> list[str]:
    """The names of the containers that a caller means.

    `*` is all of them; without names the default container, or with `every` all regular ones.
    Invalid for a name that the pod does not have, unless `every`: of many pods only some may.
    """
    spec = pod["spec"]
    regular = [container["name"] for container in spec.get("containers") or []]
    existing = [container["name"] for container in all_containers(pod)]
    if "*" in names:
        return existing
    if not names:
        return regular if every else [_default_container(pod, regular)]
    missing = [name for name in names if name not in existing]
    if missing and not every:
        raise Invalid(
            f"container {missing[0][:100]!r} is not in pod {pod['metadata']['name']}, "
            f"which has {', '.join(existing)}",
            field="container",
        )
    return [name for name in names if name in existing]


def all_containers(pod: Object) -> list[Object]:
    """The containers of the pod's spec: regular ones, init and ephemeral containers."""
    return [container for group, _ in GROUPS for container in pod["spec"].get(group) or []]


def _default_container(pod: Object, regular: list[str]) -> str:
    """kubectl's choice: the annotation's, else the first."""
    annotated = (pod["metadata"].get("annotations") or {}).get(DEFAULT)
    return str(annotated) if annotated in regular else regular[0]


def container_status(pod: Object, name: str) -> LogContainer:
    """The state of a container, from the pod's status."""
    metadata = pod["metadata"]
    status = pod.get("status") or {}
    for group, statuses in GROUPS:
        for entry in status.get(statuses) or []:
            if entry["name"] != name:
                continue
            state, reason = _state(pod, group, entry)
            restarts = entry.get("restartCount", 0)
            return LogContainer(
                metadata["name"],
                name,
                metadata["uid"],
                state,
                restarts,
                reason,
            )
    # Without an entry the kubelet has not seen the pod, or the pod ended before it started.
    state = "ended" if status.get("phase") in FINISHED else "waiting"
    reason = status.get("reason") or ""
    return LogContainer(metadata["name"], name, metadata["uid"], state, 0, reason)


def _state(pod: Object, group: str, status: Mapping[str, Any]) -> tuple[str, str]:
    """(state, reason) of a container's status."""
    state = status.get("state") or {}
    if "running" in state:
        return "running", ""
    terminated = state.get("terminated")
    if terminated is None:
        reason = str((state.get("waiting") or {}).get("reason") or "")
        # Waiting after a first run: CrashLoopBackOff.
        return "restarting" if status.get("restartCount") else "waiting", reason
    reason = f"{terminated.get('reason') or 'exited'} ({terminated.get('exitCode', 0)})"
    return "restarting" if _will_restart(pod, group, terminated) else "ended", reason


def _will_restart(pod: Object, group: str, terminated: Mapping[str, Any]) -> bool:
    """Whether the kubelet will start the container again, by its pod's restartPolicy."""
    phase = (pod.get("status") or {}).get("phase")
    if pod["metadata"].get("deletionTimestamp") or phase in FINISHED:
        return False
    has_failed = bool(terminated.get("exitCode"))
    policy = pod["spec"].get("restartPolicy", "Always")
    if group == "initContainers":
        # An init container that succeeded is done under every restart policy.
        return has_failed and policy != "Never"
    if group == "ephemeralContainers":
        return False
    return bool(policy == "Always" or (policy == "OnFailure" and has_failed))
