"""The store as clients of bcs-storage see it: documents, events, alarms, metrics, hosts."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import orjson
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET

from console import forms
from console.api_client import ApiRefusal, call
from console.page import render_page, require_sign_in
from console.rendering import diffs, html

BASE = "/bcsapi/v4/storage/"
SIZE = 50
# How both wire profiles call a document that is not there.
MISSING = frozenset({10004, 1405083, 1405087})
FAMILIES = {
    "events": _("Events"),
    "alarms": _("Alarms"),
    "metrics": _("Metrics"),
    "hosts": _("Hosts"),
}


def call_store(
    request: HttpRequest,
    path: str,
    **query: Any,
) -> tuple[list[dict[str, Any]], int | None]:
    """(documents, the total when the answer has one) of an address of the bcs-storage document."""
    try:
        answer = call(request, "GET", BASE + path, query=query)
    except ApiRefusal as refusal:
        if refusal.code in MISSING:
            # bcs-storage answers 200 with a code, for which pages have no status of their own.
            raise ApiRefusal(1002, refusal.message, refusal.details, 404) from refusal
        raise
    # bcs-storage's lists are streamed: they are read to their end here.
    response: Any = answer.response
    content = b"".join(response.streaming_content) if response.streaming else response.content
    envelope = orjson.loads(content)
    if envelope.get("code") != 0:
        raise ApiRefusal(1001, str(envelope.get("message", "")), {}, 400)
    data = envelope.get("data")
    documents = data if isinstance(data, list) else [data]
    return documents if data else [], envelope.get("total")


@require_GET
@require_sign_in
def index(request: HttpRequest) -> HttpResponse:
    """What the store holds, cluster by cluster."""
    contents = call(request, "GET", "store").data
    types_by_cluster: dict[str, list[dict[str, Any]]] = {name: [] for name in contents["clusters"]}
    for row in contents["types"]:
        types_by_cluster[row["cluster"]].append(row)
    return render_page(
        request,
        "console/store.html",
        {"contents": types_by_cluster.items(), "families": FAMILIES.items()},
    )


@require_GET
@require_sign_in
def documents(request: HttpRequest, name: str, kind: str) -> HttpResponse:
    """The documents of one type, oldest first."""
    offset = forms.query_number(request, "offset")
    fields = "resourceName,namespace,createTime,updateTime"
    rows, _total = call_store(
        request,
        f"k8s/dynamic/all_resources/clusters/{name}/{kind}",
        offset=offset,
        limit=SIZE + 1,
        field=fields,
    )
    context = {
        "store_cluster": name,
        "type": kind,
        "documents": [_with_moments(row) for row in rows[:SIZE]],
        "previous": max(offset - SIZE, 0) if offset else None,
        "next": offset + SIZE if len(rows) > SIZE else None,
        "first": offset + 1,
    }
    return render_page(request, "console/store_type.html", context)


def _with_moments(row: dict[str, Any]) -> dict[str, Any]:
    return row | {name: _to_utc(row.get(name)) for name in ("createTime", "updateTime")}


@require_GET
@require_sign_in
def document(
    request: HttpRequest,
    name: str,
    kind: str,
    namespace: str,
    resource: str,
) -> HttpResponse:
    """One document as it is stored, in the words of bcs-storage."""
    location = f"cluster_resources/clusters/{name}/{kind}/{resource}"
    if namespace != "-":
        location = f"namespace_resources/clusters/{name}/namespaces/{namespace}/{kind}/{resource}"
    rows, _total = call_store(request, f"k8s/dynamic/{location}")
    text = html.clean(diffs.as_yaml(rows[0])) if rows else ""
    return render_page(
        request,
        "console/store_document.html",
        {"store_cluster": name, "type": kind, "name": resource, "text": text},
    )


@require_GET
@require_sign_in
def family(request: HttpRequest, name: str) -> HttpResponse:
    """Events, alarms, metrics or hosts of a cluster."""
    cluster = request.GET.get("cluster", "")
    offset = forms.query_number(request, "offset")
    clusters = call(request, "GET", "store").data["clusters"]
    cluster = cluster or (clusters[0] if clusters else "")
    context: dict[str, Any] = {
        "family": name,
        "family_title": FAMILIES.get(name, name),
        "store_clusters": clusters,
        "chosen": cluster,
        "documents": [],
    }
    if cluster:
        stored, total = _list_family(request, name, cluster, offset)
        rows = [
            {
                "text": html.clean(diffs.as_yaml(document)),
                "head": html.clean(_document_heading(document)),
                "at": _document_time(document),
            }
            for document in stored[:SIZE]
        ]
        rest = urlencode({"cluster": cluster})
        following = offset + SIZE if (total or 0) > offset + SIZE else None
        context |= {
            "documents": rows,
            "total": total,
            "rest": rest,
            "next": following,
            "previous": max(offset - SIZE, 0) if offset else None,
        }
    return render_page(request, "console/store_family.html", context)


def _list_family(
    request: HttpRequest,
    name: str,
    cluster: str,
    offset: int,
) -> tuple[list[dict[str, Any]], int | None]:
    match name:
        case "events" | "alarms":
            return call_store(request, name, clusterId=cluster, offset=offset, length=SIZE)
        case "metrics":
            return call_store(request, f"metric/clusters/{cluster}", offset=offset, limit=SIZE)
        case "hosts":
            return call_store(request, f"host/clusters/{cluster}")
    raise ApiRefusal(1004, name, {}, 404)


def _document_heading(document: dict[str, Any]) -> str:
    """What tells documents apart at a glance."""
    parts = [
        document.get(key)
        for key in ("kind", "type", "module", "namespace", "name", "ip", "describe", "message")
    ]
    return " · ".join(str(part) for part in parts if part)[:200]


def _document_time(document: dict[str, Any]) -> str:
    moment = (
        document.get("eventTime")
        or document.get("receivedTime")
        or document.get("updateTime")
        or document.get("createTime")
    )
    return _to_utc(moment)


def _to_utc(moment: object) -> str:
    """A time of the store in UTC, which pages show in the viewer's zone; other text as it is."""
    text = str(moment or "")
    try:
        stamp = datetime.fromisoformat(text)
    except ValueError:
        return text
    # bcs-storage writes the wall clock of its own zone.
    zone = stamp.tzinfo or ZoneInfo(settings.STORAGE_TIME_ZONE)
    try:
        return stamp.replace(tzinfo=zone).astimezone(UTC).isoformat()
    except OverflowError:
        return text
