"""The columns of pods."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from clusters.manifests import Object
from clusters.tables.columns import AGE, NAME, Column, text_column
from clusters.tables.values import (
    NONE,
    conditions_by_type,
    format_age,
    get,
    is_true,
    mappings_at,
    parse_time,
    text_at,
)

# The reason of a pod whose node no longer answers.
NODE_LOST = "NodeLost"
ENDED_PHASES = frozenset({"Succeeded", "Failed"})


class PodSummary(NamedTuple):
    """What a table says about a pod's containers; `restarted_at` is when one was last restarted."""

    ready: int
    total: int
    status: str
    restarts: int
    restarted_at: datetime | None


class _Restarts:
    """Counts restarts, and when the last one was."""

    def __init__(self) -> None:
        self.count = 0
        self.last: datetime | None = None

    def add(self, container: Mapping[str, Any]) -> None:
        self.count += int(container.get("restartCount") or 0)
        moment = parse_time(
            get(
                container,
                "lastState.terminated.finishedAt",
            )
        )
        if moment is not None and (self.last is None or moment > self.last):
            self.last = moment


class _ContainerSummary(NamedTuple):
    """`status` is "" where the containers do not change what the phase says."""

    ready: int
    status: str


def summarize(pod: Object) -> PodSummary:
    """The pod's containers as the API server summarizes them."""
    sidecars = {
        container.get("name")
        for container in mappings_at(pod, "spec.initContainers")
        if container.get("restartPolicy") == "Always"
    }
    all_inits = _Restarts()
    sidecar_restarts = _Restarts()
    for container in mappings_at(pod, "status.initContainerStatuses"):
        all_inits.add(container)
        if container.get("name") in sidecars:
            sidecar_restarts.add(container)
        if _init_status(container, 0, 0, sidecars):
            # Like the API server: nobody counts the containers behind the one that is running.
            break
    inits = _summarize_inits(pod, sidecars)
    status = inits.status or _phase_status(pod)
    ready = inits.ready
    restarts = all_inits
    if not inits.status or is_true(
        conditions_by_type(pod),
        "Initialized",
    ):
        restarts = sidecar_restarts
        containers = _summarize_containers(pod, status)
        status = containers.status
        ready += containers.ready
        for container in mappings_at(pod, "status.containerStatuses"):
            restarts.add(container)
    total = len(mappings_at(pod, "spec.containers")) + len(sidecars)
    return PodSummary(
        ready,
        total,
        _status_of_deleted(pod, status),
        restarts.count,
        restarts.last,
    )


def _phase_status(pod: Object) -> str:
    scheduled = conditions_by_type(pod).get("PodScheduled", {})
    if scheduled.get("reason") == "SchedulingGated":
        return "SchedulingGated"
    return text_at(
        pod,
        "status.reason",
    ) or text_at(pod, "status.phase")


def _status_of_deleted(pod: Object, status: str) -> str:
    if not get(pod, "metadata.deletionTimestamp"):
        return status
    if get(pod, "status.reason") == NODE_LOST:
        return "Unknown"
    return (
        status
        if get(
            pod,
            "status.phase",
        )
        in ENDED_PHASES
        else "Terminating"
    )


def _summarize_inits(
    pod: Object,
    sidecars: set[Any],
) -> _ContainerSummary:
    ready = 0
    total = len(mappings_at(pod, "spec.initContainers"))
    for number, container in enumerate(
        mappings_at(
            pod,
            "status.initContainerStatuses",
        )
    ):
        status = _init_status(container, number, total, sidecars)
        if status:
            return _ContainerSummary(ready, status)
        has_ended = get(container, "state.terminated") is not None
        ready += bool(container.get("ready")) and not has_ended
    return _ContainerSummary(ready, "")


def _init_status(
    container: Mapping[str, Any],
    number: int,
    total: int,
    sidecars: set[Any],
) -> str:
    """The pod's status while this init container has not done its part; "" once it has."""
    ended = get(container, "state.terminated")
    waiting = text_at(dict(container), "state.waiting.reason")
    if ended is not None and not ended.get("exitCode"):
        return ""
    if container.get("name") in sidecars and container.get("started"):
        return ""
    if ended is not None:
        return f"Init:{_end_reason(ended)}"
    if waiting and waiting != "PodInitializing":
        return f"Init:{waiting}"
    return f"Init:{number}/{total}"


def _end_reason(ended: Mapping[str, Any]) -> str:
    if ended.get("reason"):
        return str(ended["reason"])
    if ended.get("signal"):
        return f"Signal:{ended['signal']}"
    return f"ExitCode:{ended.get('exitCode', 0)}"


def _summarize_containers(
    pod: Object,
    status: str,
) -> _ContainerSummary:
    ready = 0
    # Of several reasons the first container's is shown.
    for container in reversed(
        mappings_at(
            pod,
            "status.containerStatuses",
        )
    ):
        waiting = get(container, "state.waiting.reason")
        ended = get(container, "state.terminated")
        if waiting:
            status = str(waiting)
        elif ended is not None:
            status = _end_reason(ended)
        elif (
            container.get("ready")
            and get(
                container,
                "state.running",
            )
            is not None
        ):
            ready += 1
    if status == "Completed" and ready:
        is_ready = is_true(conditions_by_type(pod), "Ready")
        status = "Running" if is_ready else "NotReady"
    return _ContainerSummary(ready, status)


def _ready(pod: Object, now: datetime) -> str:
    summary = summarize(pod)
    return f"{summary.ready}/{summary.total}"


def _restarts(pod: Object, now: datetime) -> str:
    summary = summarize(pod)
    if not summary.restarts or summary.restarted_at is None:
        return str(summary.restarts)
    return f"{summary.restarts} ({format_age(summary.restarted_at.isoformat(), now)} ago)"


def _pod_ip(pod: Object, now: datetime) -> str:
    addresses = mappings_at(pod, "status.podIPs")
    first = (
        addresses[0].get("ip")
        if addresses
        else get(
            pod,
            "status.podIP",
        )
    )
    return str(first or NONE)


def _readiness_gates(pod: Object, now: datetime) -> str:
    gates = mappings_at(pod, "spec.readinessGates")
    if not gates:
        return NONE
    conditions = conditions_by_type(pod)
    passed = sum(
        is_true(
            conditions,
            str(gate.get("conditionType")),
        )
        for gate in gates
    )
    return f"{passed}/{len(gates)}"


PODS = (
    NAME,
    Column(
        "Ready",
        _ready,
        description="The aggregate readiness state of this pod for accepting traffic.",
    ),
    Column(
        "Status",
        lambda pod, now: summarize(pod).status,
        description="The aggregate status of the containers in this pod.",
    ),
    Column(
        "Restarts",
        _restarts,
        description="The number of times the containers in this pod have been restarted and when "
        "the last container in this pod has restarted.",
    ),
    AGE,
    Column("IP", _pod_ip, priority=1),
    text_column("Node", "spec.nodeName", NONE, wide=True),
    text_column(
        "Nominated Node",
        "status.nominatedNodeName",
        NONE,
        wide=True,
    ),
    Column("Readiness Gates", _readiness_gates, priority=1),
)
_COMPLETED = {
    "Succeeded": "The pod has completed successfully.",
    "Failed": "The pod failed.",
}


def row_conditions(pod: Object) -> list[dict[str, str]]:
    """The conditions of a pod's row: that it has ended, if it has."""
    phase = text_at(pod, "status.phase")
    if phase not in _COMPLETED:
        return []
    return [
        {
            "type": "Completed",
            "status": "True",
            "reason": phase,
            "message": _COMPLETED[phase],
        }
    ]
