"""Kinds served in a second version: HorizontalPodAutoscaler, Event and custom resources."""

from typing import Any

from simcluster.resources import Object, Resource
from simcluster.store import Record

_CPU_METRIC = {"type": "Resource", "resource": {"name": "cpu"}}
# events.k8s.io/v1 name -> v1 name
_EVENT_NAMES = {
    "regarding": "involvedObject",
    "note": "message",
    "reportingController": "reportingComponent",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
}


def to_storage(resource: Resource, obj: Object) -> Object:
    """The object in the version that is stored."""
    if (resource.group, resource.version) == ("events.k8s.io", "v1"):
        return {**_renamed(obj, _EVENT_NAMES), "apiVersion": "v1"}
    if (resource.group, resource.version, resource.kind) == (
        "autoscaling",
        "v1",
        "HorizontalPodAutoscaler",
    ):
        return _autoscaler_v2(obj)
    return obj


def from_storage(resource: Resource, obj: Object) -> Object:
    """The stored object in the version that was asked for."""
    if obj["apiVersion"] == resource.group_version:
        return obj
    if (resource.group, resource.version) == ("events.k8s.io", "v1"):
        return {
            **_renamed(obj, {old: new for new, old in _EVENT_NAMES.items()}),
            "apiVersion": "events.k8s.io/v1",
        }
    if (resource.group, resource.version, resource.kind) == (
        "autoscaling",
        "v1",
        "HorizontalPodAutoscaler",
    ):
        return _autoscaler_v1(obj)
    return {**obj, "apiVersion": resource.group_version}


def item_bytes(resource: Resource, record: Record) -> bytes | None:
    """The stored bytes as an item of a list, when no conversion is needed; else None."""
    version = f'"apiVersion":"{resource.group_version}"'.encode()
    # Looking at the first bytes is far cheaper than parsing 10,000 objects of a list.
    if version not in record.raw[: record.prefix]:
        return None
    return record.raw if resource.custom else record.item


def _renamed(obj: Object, names: dict[str, str]) -> Object:
    return {names.get(key, key): value for key, value in obj.items()}


def _autoscaler_v2(obj: Object) -> Object:
    spec = dict(obj.get("spec") or {})
    target = spec.pop("targetCPUUtilizationPercentage", None)
    # autoscaling/v1 knows one metric, and 80 % is its default.
    spec["metrics"] = [_utilization(80 if target is None else target)]
    status = dict(obj.get("status") or {})
    status.pop("currentCPUUtilizationPercentage", None)
    return {**obj, "apiVersion": "autoscaling/v2", "spec": spec, "status": status}


def _utilization(percent: int) -> Object:
    return {
        **_CPU_METRIC,
        "resource": {
            "name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": percent},
        },
    }


def _autoscaler_v1(obj: Object) -> Object:
    spec: dict[str, Any] = {
        key: value
        for key, value in (obj.get("spec") or {}).items()
        if key not in ("metrics", "behavior")
    }
    for metric in (obj.get("spec") or {}).get("metrics") or ():
        if metric.get("type") == "Resource" and metric["resource"]["name"] == "cpu":
            percent = metric["resource"].get("target", {}).get("averageUtilization")
            if percent is not None:
                spec["targetCPUUtilizationPercentage"] = percent
    old = obj.get("status") or {}
    status = {
        key: old[key]
        for key in (
            "observedGeneration",
            "lastScaleTime",
            "currentReplicas",
            "desiredReplicas",
        )
        if key in old
    }
    return {
        **obj,
        "apiVersion": "autoscaling/v1",
        "spec": spec,
        "status": {"currentReplicas": 0, "desiredReplicas": 0, **status},
    }
