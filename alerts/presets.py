"""Rules that come with the product: conditions of the ordinary form, with a runbook."""

from typing import Any


def _state(kind: str, *where: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"kind": kind, "where": list(where), **more}


def _term(path: str, op: str, value: Any) -> dict[str, Any]:
    return {"path": path, "op": op, "value": value}


def _condition(type_name: str, status: str) -> dict[str, Any]:
    """The comparison of one of the conditions in an object's status."""
    return _term(f'status.conditions[?(@.type=="{type_name}")].status', "eq", status)


def _preset(
    key: str,
    name: str,
    severity: str,
    source: str,
    condition: dict[str, Any],
    after: str,
    summary: str,
    runbook: str,
) -> dict[str, Any]:
    return {
        "id": key,
        "name": name,
        "description": summary,
        "severity": severity,
        "source": source,
        "condition": condition,
        "for": after,
        "annotations": {"summary": summary, "runbook": runbook},
    }


_WAITING = "status.containerStatuses[*].state.waiting.reason"
_OBJECT = "{{ $labels.kind }} {{ $labels.namespace }}/{{ $labels.name }}"
PRESETS: tuple[dict[str, Any], ...] = (
    _preset(
        "crash-looping",
        "Pod is crash looping",
        "critical",
        "state",
        _state("Pod", _term(_WAITING, "eq", "CrashLoopBackOff")),
        "1m",
        f"{_OBJECT} ends again and again",
        "Read the log of the container before it ended, and its exit code.",
    ),
    _preset(
        "image-pull-failing",
        "Image cannot be pulled",
        "warning",
        "state",
        _state(
            "Pod",
            _term(_WAITING, "in", ["ImagePullBackOff", "ErrImagePull", "InvalidImageName"]),
        ),
        "2m",
        f"{_OBJECT} waits for an image",
        "Check the image's name and tag, the registry, and the pull secrets.",
    ),
    _preset(
        "init-container-failing",
        "Init container fails",
        "critical",
        "state",
        _state(
            "Pod",
            _term(
                "status.initContainerStatuses[*].state.waiting.reason",
                "in",
                ["CrashLoopBackOff", "ImagePullBackOff", "ErrImagePull", "InvalidImageName"],
            ),
        ),
        "1m",
        f"An init container of {_OBJECT} does not complete, so that its containers never start",
        "Read the log of the init container, its exit code, and its image.",
    ),
    _preset(
        "pending-too-long",
        "Pod is pending",
        "warning",
        "state",
        _state("Pod", _term("status.phase", "eq", "Pending")),
        "10m",
        f"{_OBJECT} is pending",
        "Its events say what the scheduler misses: resources, volumes, taints.",
    ),
    _preset(
        "oom-killed",
        "Container was out of memory",
        "warning",
        "state",
        _state(
            "Pod",
            _term("status.containerStatuses[*].lastState.terminated.reason", "eq", "OOMKilled"),
            changed={
                "path": "status.containerStatuses[*].restartCount",
                "by": 1,
                "within": "10m",
            },
        ),
        "0s",
        f"A container of {_OBJECT} was ended for its memory",
        "Compare its memory with its limit; raise the limit or find the leak.",
    ),
    _preset(
        "restarts-rate",
        "Containers restart often",
        "warning",
        "state",
        _state(
            "Pod",
            changed={
                "path": "status.containerStatuses[*].restartCount",
                "by": 5,
                "within": "1h",
            },
        ),
        "0s",
        f"Containers of {_OBJECT} restarted five times within an hour",
        "Read the log before the last restart, and the liveness probe.",
    ),
    _preset(
        "node-not-ready",
        "Node is not ready",
        "critical",
        "state",
        _state("Node", _term('status.conditions[?(@.type=="Ready")].status', "ne", "True")),
        "2m",
        "Node {{ $labels.name }} is not ready",
        "Look at the node's conditions and its kubelet; drain it if it stays away.",
    ),
    _preset(
        "node-pressure",
        "Node is under pressure",
        "warning",
        "state",
        _state(
            "Node",
            _term(
                'status.conditions[?(@.status=="True")].type',
                "in",
                ["MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable"],
            ),
        ),
        "5m",
        "Node {{ $labels.name }} is short of memory, disk, processes or network",
        "Find what uses it, and evict or move it.",
    ),
    _preset(
        "deployment-short-of-replicas",
        "Deployment is short of replicas",
        "warning",
        "state",
        _state("Deployment", _term("status.unavailableReplicas", "gt", 0)),
        "10m",
        f"{_OBJECT} has fewer replicas than it should",
        "Look at the pods of its newest ReplicaSet.",
    ),
    _preset(
        "rollout-stuck",
        "Rollout is stuck",
        "critical",
        "state",
        _state("Deployment", _condition("Progressing", "False")),
        "0s",
        f"The rollout of {_OBJECT} does not go on",
        "Look at the newest pods; roll back when they cannot become ready.",
    ),
    _preset(
        "job-failed",
        "Job failed",
        "warning",
        "state",
        _state("Job", _condition("Failed", "True")),
        "0s",
        f"{_OBJECT} failed",
        "Read the logs of its pods, then run it again.",
    ),
    _preset(
        "cronjob-missed",
        "CronJob missed its time",
        "warning",
        "event",
        _state(
            "Event",
            _term("involvedObject.kind", "eq", "CronJob"),
            _term("reason", "in", ["MissSchedule", "FailedNeedsStart", "TooManyMissedTimes"]),
        ),
        "0s",
        f"{_OBJECT} did not start in time",
        "Check its schedule, startingDeadlineSeconds and concurrencyPolicy.",
    ),
    _preset(
        "pvc-pending",
        "Volume claim is pending",
        "warning",
        "state",
        _state("PersistentVolumeClaim", _term("status.phase", "ne", "Bound")),
        "10m",
        f"{_OBJECT} is not bound",
        "Check its storage class and the provisioner's events.",
    ),
    _preset(
        "pvc-full",
        "Volume is almost full",
        "critical",
        "promql",
        {
            "query": "kubelet_volume_stats_used_bytes / kubelet_volume_stats_capacity_bytes > 0.9",
        },
        "5m",
        "Volume {{ $labels.namespace }}/{{ $labels.persistentvolumeclaim }} is over 90 % full",
        "Delete what is not needed, or make the claim larger.",
    ),
    _preset(
        "quota-over-90",
        "Quota is over 90 %",
        "warning",
        "metric",
        {"metric": "used_percent", "of": "quota", "op": "gt", "value": 90},
        "5m",
        "{{ $labels.resource }} of quota {{ $labels.namespace }}/{{ $labels.name }} is over 90 %",
        "Free something, or ask for a larger quota.",
    ),
    _preset(
        "tenant-over-quota",
        "Tenant is at its quota",
        "warning",
        "metric",
        {"metric": "used_percent", "of": "tenant", "op": "ge", "value": 100},
        "0s",
        "Tenant {{ $labels.namespace }} uses all of its {{ $labels.resource }}",
        "Free something, or give the tenant a larger plan.",
    ),
    _preset(
        "kubeconfig-expiring",
        "Credentials of a cluster expire",
        "warning",
        "metric",
        {
            "metric": "credentials_expire_seconds",
            "of": "cluster",
            "op": "lt",
            "value": 30 * 86_400,
        },
        "0s",
        "The credentials of cluster {{ $labels.cluster }} end within 30 days",
        "Give the cluster a new kubeconfig.",
    ),
    _preset(
        "certificate-expiring",
        "Certificate expires",
        "warning",
        "metric",
        {
            "metric": "certificate_expire_seconds",
            "of": "secret",
            "op": "lt",
            "value": 21 * 86_400,
        },
        "0s",
        "The certificate in Secret {{ $labels.namespace }}/{{ $labels.name }} ends within 21 days",
        "Renew it, or look at what should have renewed it.",
    ),
    _preset(
        "cluster-unreachable",
        "Cluster cannot be reached",
        "critical",
        "metric",
        {"metric": "up", "of": "cluster", "op": "eq", "value": 0},
        "1m",
        "Cluster {{ $labels.cluster }} does not answer",
        "Check its API server, the network to it, and its credentials.",
    ),
    _preset(
        "collector-behind",
        "Collector is behind",
        "warning",
        "metric",
        {"metric": "collector_lag_seconds", "of": "cluster", "op": "gt", "value": 60},
        "1m",
        "The copy of cluster {{ $labels.cluster }} is older than a minute",
        "Check that collectors run, and what they say about the cluster.",
    ),
    _preset(
        "hpa-at-maximum",
        "Autoscaler is at its maximum",
        "warning",
        "state",
        _state(
            "HorizontalPodAutoscaler",
            _condition("ScalingLimited", "True"),
            _term('status.conditions[?(@.type=="ScalingLimited")].reason', "eq", "TooManyReplicas"),
        ),
        "15m",
        f"{_OBJECT} would scale further than it may",
        "Raise maxReplicas, or find what the load is.",
    ),
    _preset(
        "pdb-blocking",
        "Disruption budget allows none",
        "info",
        "state",
        _state(
            "PodDisruptionBudget",
            _term("status.disruptionsAllowed", "eq", 0),
            _term("status.expectedPods", "gt", 0),
        ),
        "15m",
        f"{_OBJECT} lets no pod be evicted: drains will wait",
        "Add replicas, or loosen the budget.",
    ),
    _preset(
        "warning-events-burst",
        "Many warnings",
        "warning",
        "event",
        _state(
            "Event",
            _term("type", "eq", "Warning"),
            count={"op": "gt", "value": 50, "within": "5m"},
        ),
        "0s",
        "More than 50 warnings within five minutes in {{ $labels.namespace }}",
        "Look at the events: most of them will have one reason.",
    ),
)
KEYS = frozenset(preset["id"] for preset in PRESETS)
