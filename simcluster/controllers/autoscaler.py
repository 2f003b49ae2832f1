"""HorizontalPodAutoscaler: replicas by the CPU and memory that the metrics API shows."""

import math
from decimal import Decimal

from simcluster import clock, quantity
from simcluster.client import Client
from simcluster.cluster import Cluster
from simcluster.controllers import pods
from simcluster.load import container_use
from simcluster.resources import Object
from simcluster.selectors import selector_test

_EVERY = 15.0
_TOLERANCE = 0.1
_STABLE = 300.0
_SCALED = {
    "Deployment": "deployments.apps",
    "StatefulSet": "statefulsets.apps",
    "ReplicaSet": "replicasets.apps",
}


def reconcile(cluster: Cluster, obj: Object) -> float | None:
    """Measure, decide, scale, report."""
    client = Client(cluster, "horizontal-pod-autoscaler")
    reference = obj["spec"]["scaleTargetRef"]
    storage = _SCALED.get(reference["kind"], "")
    target = (
        cluster.object(storage, obj["metadata"]["namespace"], reference["name"])
        if storage
        else None
    )
    status: Object = {
        key: value
        for key, value in obj.get("status", {}).items()
        if key in ("lastScaleTime", "conditions")
    }
    if target is None:
        missing = f'{reference["kind"].lower()}s.apps "{reference["name"]}" not found'
        message = f"the HPA controller was unable to get the target's current scale: {missing}"
        pods.set_condition(
            status,
            "AbleToScale",
            "False",
            reason="FailedGetScale",
            message=message,
        )
        _write(
            client,
            obj,
            {
                **status,
                "currentReplicas": 0,
                "desiredReplicas": 0,
                "currentMetrics": None,
            },
        )
        return _EVERY
    have = target["spec"].get("replicas", 1)
    results = [
        _measure(cluster, target, metric, have) for metric in obj["spec"].get("metrics") or ()
    ]
    measurements = [result for result in results if result is not None]
    desired = max((replicas for replicas, _ in measurements), default=have)
    # The bounds win over every metric.
    desired = min(
        max(desired, obj["spec"].get("minReplicas", 1)),
        obj["spec"]["maxReplicas"],
    )
    pods.set_condition(
        status,
        "AbleToScale",
        "True",
        reason="ReadyForNewScale",
        message="recommended size matches current size",
    )
    active = (
        (
            "True",
            "ValidMetricFound",
            "the HPA was able to compute the replica count",
        )
        if measurements
        else ("False", "FailedGetResourceMetric", "no metrics returned")
    )
    pods.set_condition(status, "ScalingActive", active[0], reason=active[1], message=active[2])
    # Scaling down waits for the stabilization window, scaling up does not.
    waited = (
        cluster.clock.since(status["lastScaleTime"]) if status.get("lastScaleTime") else _STABLE
    )
    if have and desired != have and (desired > have or waited >= _STABLE):
        target["spec"]["replicas"] = desired
        client.update(storage, target)
        status["lastScaleTime"] = clock.timestamp()
        client.event(
            obj,
            "SuccessfulRescale",
            f"New size: {desired}; reason: resource utilization "
            f"{'above' if desired > have else 'below'} target",
        )
    current = [metric_status for _, metric_status in measurements] or None
    status |= {
        "currentReplicas": have,
        "desiredReplicas": desired if have else 0,
        "currentMetrics": current,
        "observedGeneration": obj["metadata"].get("generation", 1),
    }
    _write(client, obj, status)
    return _EVERY


def _measure(
    cluster: Cluster, target: Object, metric: Object, have: int
) -> tuple[int, Object] | None:
    resource = metric.get("resource") or {}
    name = resource.get("name")
    goal = (resource.get("target") or {}).get("averageUtilization")
    test = selector_test(target["spec"]["selector"])
    selected = [
        record.obj
        for record in cluster.store.list("pods", target["metadata"]["namespace"])
        if test(record.labels)
    ]
    # Pods that are not ready use little and would pull the mean down.
    running = [pod for pod in selected if pods.is_ready(pod)]
    if metric.get("type") != "Resource" or not goal or not running or name not in ("cpu", "memory"):
        return None
    used = sum(
        (
            container_use(pod, container)[name]
            for pod in running
            for container in pod["spec"]["containers"]
        ),
        Decimal(0),
    )
    requested = sum(
        (
            quantity.parse(
                ((container.get("resources") or {}).get("requests") or {}).get(name, "0")
            )
            for pod in running
            for container in pod["spec"]["containers"]
        ),
        Decimal(0),
    )
    # Utilization is relative to requests: without any there is none.
    if not requested:
        return None
    percent = int(used * 100 / requested)
    average = quantity.canonical(name, Decimal(int(used * 1000 / len(running))) / 1000)
    metric_status = {
        "type": "Resource",
        "resource": {
            "name": name,
            "current": {"averageUtilization": percent, "averageValue": average},
        },
    }
    # Within a tenth of the target nothing is scaled, so that it does not swing.
    ratio = percent / goal
    return (
        have if abs(ratio - 1) <= _TOLERANCE else math.ceil(ratio * len(running))
    ), metric_status


def _write(client: Client, obj: Object, status: Object) -> None:
    if status != obj.get("status"):
        client.update_status("horizontalpodautoscalers.autoscaling", {**obj, "status": status})
