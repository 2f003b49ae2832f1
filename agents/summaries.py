"""Objects in few words: the fields that matter when many of them are listed."""

from collections.abc import Mapping
from typing import Any

from clusters import event_series
from clusters.kinds import Kind
from clusters.tables.values import INVALID
from core.errors import SHAPE_ERRORS
from insights import causes
from insights.causes import describe_pod
from storage_api.query.problems import PROBLEM_RULES

LONGEST_MESSAGE = 400


def summarise(kind: Kind, item: Mapping[str, Any]) -> dict[str, Any]:
    """{"name","namespace","created","status","problem",…} of a Kubernetes object."""
    try:
        return _summarise(kind, item)
    except SHAPE_ERRORS:
        # Programs may store any JSON under a kind; the rest of the list is worth an answer.
        metadata = item.get("metadata")
        name = metadata.get("name", "") if isinstance(metadata, Mapping) else ""
        return {"name": name, "status": INVALID}


def _summarise(kind: Kind, item: Mapping[str, Any]) -> dict[str, Any]:
    metadata = item.get("metadata") or {}
    spec = item.get("spec") or {}
    summary: dict[str, Any] = {"name": metadata.get("name", "")}
    if metadata.get("namespace"):
        summary["namespace"] = metadata["namespace"]
    summary["created"] = metadata.get("creationTimestamp")
    if status := causes.status_line(kind, item):
        summary["status"] = status
    rule = PROBLEM_RULES.get(kind.plural)
    if rule is not None:
        summary["problem"] = rule.holds(item)
    if "deletionTimestamp" in metadata:
        summary["deleting"] = True
    match kind.plural:
        case "pods":
            summary |= _pod_fields(item)
        case "deployments" | "statefulsets" | "daemonsets" | "jobs" | "replicasets":
            template = (spec.get("template") or {}).get("spec") or {}
            containers = template.get("containers") or []
            summary["images"] = [str(entry.get("image", "")) for entry in containers]
        case "services":
            summary["type"] = spec.get("type", "")
            summary["selector"] = spec.get("selector") or {}
        case "configmaps" | "secrets":
            summary["keys"] = sorted(item.get("data") or {})
    return summary


def _pod_fields(item: Mapping[str, Any]) -> dict[str, Any]:
    described = describe_pod(dict(item))
    containers = described["containers"]
    reasons = [entry["reason"] for entry in containers if entry["reason"]]
    return {
        "node": described["node"],
        "ready": f"{sum(entry['ready'] for entry in containers)}/{len(containers)}",
        "restarts": sum(entry["restarts"] for entry in containers),
        "reasons": reasons,
    }


def summarise_event(event: Mapping[str, Any]) -> dict[str, Any]:
    """An Event as {"at","type","reason","message","count","object","namespace"}."""
    involved = event.get("involvedObject")
    if not isinstance(involved, Mapping):
        involved = {}
    return {
        "at": event_series.last_time(event),
        "type": event.get("type", ""),
        "reason": event.get("reason", ""),
        "message": str(event.get("message", ""))[:LONGEST_MESSAGE],
        "count": event_series.count(event),
        "object": f"{involved.get('kind', '')} {involved.get('name', '')}".strip(),
        "namespace": involved.get("namespace", ""),
    }
