"""What a pod says about its containers, as far as following their logs needs it. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from clusters.manifests import Object
from core.errors import Invalid

DEFAULT = "kubectl.kubernetes.io/default-container"
GROUPS = (
    ("containers", "containerStatuses"),
    ("initContainers", "initContainerStatuses"),
    ("ephemeralContainers", "ephemeralContainerStatuses"),
)


@dataclass(frozen=True, slots=True)
class Container:
    """One container of one pod, and what became of it: waiting, running, restarting, ended or absent."""

    pod: str
    name: str
    uid: str
    state: str
    restarts: int = 0
    reason: str = ""

    @property
    def source(self) -> str:
        """How frames name it."""
        return f"{self.pod}/{self.name}"


def _specs(pod: Object, *groups: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for group, _ in GROUPS:
        if not groups or group in groups:
            yield from ((group, spec) for spec in pod["spec"].get(group) or [])


def select_containers(pod: Object, names: list[str], *, every: bool = False) -> list[str]:
    """Names of the containers meant: those given, `*` for all, none given for the default one (`every`: all regular ones)."""
    known = [spec["name"] for _, spec in _specs(pod)]
    if "*" in names:
        return known
    regular: list[str] = [spec["name"] for _, spec in _specs(pod, "containers")]
    if not names:
        preferred = (pod["metadata"].get("annotations") or {}).get(DEFAULT)
        return regular if every else [str(preferred) if preferred in regular else regular[0]]
    if not every and (missing := [name for name in names if name not in known]):
        raise Invalid(
            f"container {missing[0][:100]!r} is not in pod {pod['metadata']['name']}, which has {', '.join(known)}",
            field="container",
        )
    return [name for name in names if name in known]


def container_status(pod: Object, name: str) -> Container:
    """How a container stands."""
    meta, status = pod["metadata"], pod.get("status") or {}
    for group, statuses in GROUPS:
        for each in status.get(statuses) or []:
            if each["name"] == name:
                state, reason = _state(pod, group, each)
                return Container(
                    meta["name"], name, meta["uid"], state, each.get("restartCount", 0), reason
                )
    over = status.get("phase") in {"Succeeded", "Failed"}
    return Container(
        meta["name"],
        name,
        meta["uid"],
        "ended" if over else "waiting",
        0,
        status.get("reason") or "",
    )


def _state(pod: Object, group: str, status: Mapping[str, Any]) -> tuple[str, str]:
    state = status.get("state") or {}
    if "running" in state:
        return "running", ""
    ended = state.get("terminated")
    if ended is None:
        waiting = state.get("waiting") or {}
        return ("restarting" if status.get("restartCount") else "waiting"), str(
            waiting.get("reason") or ""
        )
    reason = f"{ended.get('reason') or 'exited'} ({ended.get('exitCode', 0)})"
    return ("restarting" if _will_restart(pod, group, ended) else "ended"), reason


def _will_restart(pod: Object, group: str, ended: Mapping[str, Any]) -> bool:
    if pod["metadata"].get("deletionTimestamp") or (pod.get("status") or {}).get("phase") in {
        "Succeeded",
        "Failed",
    }:
        return False
    if group != "containers":
        return (
            group == "initContainers"
            and bool(ended.get("exitCode"))
            and pod["spec"].get("restartPolicy") != "Never"
        )
    policy = pod["spec"].get("restartPolicy", "Always")
    return policy == "Always" or (policy == "OnFailure" and bool(ended.get("exitCode")))
