"""What nodes and namespaces hold, request and use: a part of their pages, loaded after them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from clusters.kinds import KINDS
from clusters.quantities import number
from console import navigation, permissions, stored_copy
from console.api_client import ApiRefusal, call
from console.locations import Location
from console.page import object_view, render_not_found, render_page, require_sign_in
from console.rendering import columns, html
from console.rendering.columns import RenderContext
from console.rendering.health import Object, get
from console.rendering.usage import FORMATS, read_side

RESOURCES = ("cpu", "memory")
MAX_PODS = 250


@require_GET
@require_sign_in
@object_view
def show(request: HttpRequest, location: Location) -> HttpResponse:
    """Allocatable, requested and used of a node with its pods; a namespace's kinds and quotas."""
    if location.plural == "nodes":
        return render_page(request, "console/parts/node_use.html", _node_context(request, location))
    if location.plural == "namespaces":
        context = _namespace_context(request, location)
        return render_page(request, "console/parts/namespace_use.html", context)
    return render_not_found(request)


def _read_sums(request: HttpRequest, cluster: int, **query: Any) -> dict[str, Any]:
    """What /metrics/usage says, by name; {} when it may not be read."""
    try:
        answer = call(request, "GET", "metrics/usage", query={"cluster_id": cluster, **query}).data
    except ApiRefusal:
        return {}
    return {row["name"]: row for row in answer["items"]}


def _node_context(request: HttpRequest, location: Location) -> dict[str, Any]:
    node, _copy = stored_copy.read_object(request, location)
    sums = _read_sums(request, location.cluster, by="nodes", names=location.name)
    usage = sums.get(location.name, {})
    allocatable = get(node, "status", "allocatable") or {}
    table_rows = [
        _amount_row(resource, usage, number(allocatable.get(resource))) for resource in RESOURCES
    ]
    query = {
        "cluster_id": location.cluster,
        "fieldSelector": f"spec.nodeName={location.name}",
        "pageSize": MAX_PODS,
    }
    pods, _refusal = stored_copy.read(request, "pods", query)
    return {
        "cluster_id": location.cluster,
        "location": location,
        "amounts": table_rows,
        "pod_capacity": allocatable.get("pods", ""),
        "pods": _pod_rows(request, location.cluster, pods["items"]),
        "total": pods["total"],
        "more": pods["total"] - len(pods["items"]),
    }


def _amount_row(resource: str, usage: Mapping[str, Any], allocatable: float) -> dict[str, Any]:
    """One resource: the four amounts, and each as a percentage of what is allocatable."""
    write = FORMATS[resource]
    cells = []
    for side in ("request", "limit", "used"):
        value = read_side(usage, resource, side)
        share = None if value is None or not allocatable else 100 * value / allocatable
        cells.append({"text": write(value), "share": share})
    title = _("CPU") if resource == "cpu" else _("Memory")
    return {"title": title, "allocatable": write(allocatable or None), "cells": cells}


def _pod_rows(
    request: HttpRequest,
    cluster: int,
    pods: Sequence[Object],
) -> list[dict[str, Any]]:
    if not pods:
        return []
    names = ",".join(columns.usage_key(pod) for pod in pods)
    query = {"cluster_id": cluster, "by": "pods", "names": names}
    try:
        items = call(request, "GET", "metrics/usage", query=query).data["items"]
    except ApiRefusal:
        items = []
    usage = {f"{row['namespace']}/{row['name']}": row for row in items}
    context = RenderContext(f"/clusters/{cluster}", html.zone_of(request), datetime.now(UTC), usage)
    return [
        {
            "item": pod,
            "cpu": html.mark_safe(columns.CPU.render(pod, context)),
            "memory": html.mark_safe(columns.MEMORY.render(pod, context)),
        }
        for pod in pods
    ]


def _namespace_context(request: HttpRequest, location: Location) -> dict[str, Any]:
    name = location.name
    usage = _read_sums(request, location.cluster, by="namespaces", namespace=name).get(name, {})
    may = permissions.summarise_access(request, location.cluster)
    hidden = may.hidden_kinds()
    return {
        "cluster_id": location.cluster,
        "location": location,
        "amounts": [_amount_row(resource, usage, 0.0) for resource in RESOURCES],
        "counts": _counts(request, location, hidden),
        "quotas": _quotas(request, location),
    }


def _counts(
    request: HttpRequest,
    location: Location,
    hidden: frozenset[str],
) -> list[tuple[str, int]]:
    """How many objects of each kind there are, in the menu's order of kinds."""
    counts = []
    for plural in (name for _title, group in navigation.GROUPS for name in group):
        kind = KINDS[plural]
        if not kind.namespaced or plural in hidden:
            continue
        count = _count(request, location, plural)
        if count is not None:
            counts.append((plural, count))
    return counts


def _count(request: HttpRequest, location: Location, plural: str) -> int | None:
    query = {"cluster_id": location.cluster, "namespace": location.name, "pageSize": 1}
    try:
        data, _refusal = stored_copy.read(request, plural, query)
        return int(data["total"])
    except ApiRefusal:
        # A kind that the person or the cluster's credentials may not list has no number.
        return None


def _quotas(request: HttpRequest, location: Location) -> list[dict[str, Any]]:
    query = {"cluster_id": location.cluster, "namespace": location.name, "pageSize": 100}
    try:
        data, _refusal = stored_copy.read(request, "resourcequotas", query)
    except ApiRefusal:
        return []
    rows = []
    for item in data["items"]:
        hard = get(item, "status", "hard") or get(item, "spec", "hard")
        # As with every object: an agent may have stored anything here.
        for resource, limit in hard.items() if isinstance(hard, dict) else ():
            taken = str(get(item, "status", "used", resource) or "0")
            ceiling = number(limit)
            rows.append(
                {
                    "quota": item["metadata"].get("name", ""),
                    "resource": resource,
                    "used": taken,
                    "hard": str(limit),
                    "share": 100 * number(taken) / ceiling if ceiling else None,
                }
            )
    return rows
