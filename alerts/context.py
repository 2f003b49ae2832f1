"""What the store knew when an alert fired: conditions, Events, the changes before it, the owner."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import orjson
from django.db import connection

from access import policy
from alerts import presets
from alerts.conditions import find_kind
from alerts.models import Alert
from clusters.kinds import Kind
from clusters.resource_types import resource_type
from core.errors import DomainError
from core.times import rfc3339
from storage_api.history import as_of, descriptions
from storage_api.history.as_of import VersionQuery
from storage_api.protection import mask_sealed_value

_BEFORE = timedelta(hours=24)
_MAX_CHANGES = 5
_MAX_EVENTS = 10
# The digits of an int32, as counts of Events are.
_MAX_DIGITS = 10
_DOCUMENT = """
SELECT data FROM storage_resource
WHERE cluster_id = %s AND resource_type = %s AND namespace = %s AND resource_name = %s
"""
# By the object's uid where it is known: an object of the same name may have been another one.
_EVENTS = """
SELECT e.event_time, e.data ->> 'type', e.data ->> 'reason', left(e.data ->> 'message', 500),
       e.data ->> 'count'
FROM storage_event e
WHERE e.cluster_id = %s AND e.event_time > %s
  AND e.data #>> '{involvedObject,kind}' = %s AND e.data #>> '{involvedObject,name}' = %s
  AND coalesce(e.data #>> '{involvedObject,namespace}', '') IN (%s, '')
ORDER BY e.event_time DESC, e.id DESC LIMIT %s
"""
_RUNBOOKS = {preset["id"]: preset["annotations"]["runbook"] for preset in presets.PRESETS}


def gather_missing(limit: int) -> int:
    """Gather the context of alerts that fire and have none yet; how many."""
    rows = Alert.objects.filter(
        state=Alert.State.FIRING,
        context={},
        rule__isnull=False,
    )
    alerts = list(rows.select_related("rule", "cluster").order_by("pk")[:limit])
    for alert in alerts:
        Alert.objects.filter(pk=alert.pk).update(context=gather(alert))
    return len(alerts)


def gather(alert: Alert) -> dict[str, Any]:
    """The context as JSON data; what cannot be had is absent, and no error.

    {"conditions", "events", "changes", "owner", "node", "links", "runbook", "gathered_at"}.
    """
    context: dict[str, Any] = {"gathered_at": rfc3339(alert.fired_at or alert.started_at)}
    if alert.rule and (runbook := _RUNBOOKS.get(alert.rule.preset)):
        context["runbook"] = runbook
    if alert.cluster is None or not alert.name:
        return context
    try:
        kind = find_kind(alert.kind)
        return context | _of_object(alert, kind)
    except DomainError:
        # A kind of ours, or one that is not collected any more.
        return context


def _of_object(alert: Alert, kind: Kind) -> dict[str, Any]:
    cluster = alert.cluster
    if cluster is None or policy.is_access_row(resource_type(kind)):
        return {}
    place = (cluster.name, resource_type(kind), alert.namespace, alert.name)
    document = _document(place)
    context = _of_document(document)
    context["events"] = _events(
        alert,
        cluster.name,
        alert.started_at - timedelta(hours=1),
    )
    context["changes"] = _changes(alert, kind)
    links = _links(alert, kind)
    if links:
        context["links"] = links
    return context


def _document(place: tuple[str, str, str, str]) -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute(_DOCUMENT, place)
        row = cursor.fetchone()
    if row is None:
        return {}
    data = row[0] if isinstance(row[0], dict) else orjson.loads(row[0])
    return mask_sealed_value(data) if isinstance(data, dict) else {}


def _of_document(document: Mapping[str, Any]) -> dict[str, Any]:
    context: dict[str, Any] = {}
    status = document.get("status")
    conditions = status.get("conditions") if isinstance(status, dict) else None
    if isinstance(conditions, list):
        context["conditions"] = conditions[:20]
    containers = status.get("containerStatuses") if isinstance(status, dict) else None
    if isinstance(containers, list):
        members = ("name", "ready", "restartCount", "state", "lastState")
        context["containers"] = [
            {name: container[name] for name in members if name in container}
            for container in containers[:20]
            if isinstance(container, dict)
        ]
    metadata = document.get("metadata")
    owners = metadata.get("ownerReferences") if isinstance(metadata, dict) else None
    if isinstance(owners, list) and owners and isinstance(owners[0], dict):
        context["owner"] = {
            name: owners[0].get(
                name,
                "",
            )
            for name in ("kind", "name", "uid")
        }
    spec = document.get("spec")
    node = spec.get("nodeName") if isinstance(spec, dict) else None
    if node:
        context["node"] = node
    return context


def _events(
    alert: Alert,
    cluster: str,
    since: datetime,
) -> list[dict[str, Any]]:
    params: list[Any] = [cluster, since, alert.kind, alert.name, alert.namespace, _MAX_EVENTS]
    with connection.cursor() as cursor:
        cursor.execute(_EVENTS, params)
        rows = cursor.fetchall()
    return [
        {
            "at": rfc3339(at),
            "type": type_name or "",
            "reason": reason or "",
            "message": message or "",
            "count": _event_count(count),
        }
        for at, type_name, reason, message, count in rows
    ]


def _event_count(text: str | None) -> int:
    """How often an Event occurred; 1 for what is no such number."""
    if not text or not text.isascii() or not text.isdigit() or len(text) > _MAX_DIGITS:
        return 1
    return int(text)


def _changes(alert: Alert, kind: Kind) -> list[dict[str, Any]]:
    """The last changes before the condition began, newest first: when, what, who."""
    if alert.cluster is None:
        return []
    query = VersionQuery(
        namespace=alert.namespace,
        name=alert.name,
        since=alert.started_at - _BEFORE,
        # The change that began it is the one that people look for.
        until=alert.started_at + timedelta(seconds=1),
        size=_MAX_CHANGES,
    )
    versions = as_of.versions(alert.cluster, kind, query)
    writes = descriptions.audited_writes(alert.cluster, kind, versions)
    return [
        {
            name: value[:20] if name == "changes" and value else value
            for name, value in descriptions.describe_version(
                version,
                kind,
                writes,
            ).items()
            if name in ("seq", "at", "op", "who", "changes")
        }
        for version in versions
    ]


def _links(alert: Alert, kind: Kind) -> dict[str, str]:
    """Paths under the API: the object, and the end of its log where it has one."""
    if kind.group or kind.plural != "pods":
        return {}
    query = f"cluster_id={alert.cluster_id}&namespace={quote(alert.namespace)}"
    pod = f"/api/v1/kubernetes/pods/{quote(alert.name)}"
    return {"object": f"{pod}?{query}", "logs": f"{pod}/logs?{query}&tail=100"}
