"""The store as bcs-storage's clients see it: documents by cluster and type, events, alarms, metrics, hosts."""

from typing import Any
from urllib.parse import urlencode

import orjson
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET

from console import forms
from console.api_client import Refused, call
from console.page import page, signed_in
from console.rendering import diffs, html

BASE = "/bcsapi/v4/storage/"
SIZE = 50
FAMILIES = {
    "events": _("Events"),
    "alarms": _("Alarms"),
    "metrics": _("Metrics"),
    "hosts": _("Hosts"),
}


def ask(request: HttpRequest, path: str, **query: Any) -> tuple[list[dict[str, Any]], int | None]:
    """(documents, how many in all if that is said) of an address of the bcs-storage document."""
    answer = call(request, "GET", BASE + path, query=query)
    response: Any = answer.response
    content = b"".join(response.streaming_content) if response.streaming else response.content
    envelope = orjson.loads(content)
    if envelope.get("code") != 0:
        raise Refused(1001, str(envelope.get("message", "")), {}, 400)
    data = envelope.get("data")
    return data if isinstance(data, list) else [data] if data else [], envelope.get("total")


@require_GET
@signed_in
def room(request: HttpRequest) -> HttpResponse:
    """What the store holds, cluster by cluster."""
    held = call(request, "GET", "store").data
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in held["clusters"]}
    for one in held["types"]:
        found[one["cluster"]].append(one)
    return page(
        request, "console/store.html", {"held": found.items(), "families": FAMILIES.items()}
    )


@require_GET
@signed_in
def documents(request: HttpRequest, name: str, kind: str) -> HttpResponse:
    """The documents of one type, oldest first."""
    offset = forms.whole(request, "offset")
    fields = "resourceName,namespace,createTime,updateTime"
    found, _total = ask(
        request,
        f"k8s/dynamic/all_resources/clusters/{name}/{kind}",
        offset=offset,
        limit=SIZE + 1,
        field=fields,
    )
    context = {
        "store_cluster": name,
        "type": kind,
        "documents": found[:SIZE],
        "previous": max(offset - SIZE, 0) if offset else None,
        "next": offset + SIZE if len(found) > SIZE else None,
        "first": offset + 1,
    }
    return page(request, "console/store_type.html", context)


@require_GET
@signed_in
def document(
    request: HttpRequest, name: str, kind: str, namespace: str, resource: str
) -> HttpResponse:
    """One document as it is stored, in the words of bcs-storage."""
    place = f"cluster_resources/clusters/{name}/{kind}/{resource}"
    if namespace != "-":
        place = f"namespace_resources/clusters/{name}/namespaces/{namespace}/{kind}/{resource}"
    found, _total = ask(request, f"k8s/dynamic/{place}")
    text = html.clean(diffs.as_yaml(found[0])) if found else ""
    return page(
        request,
        "console/store_document.html",
        {"store_cluster": name, "type": kind, "name": resource, "text": text},
    )


@require_GET
@signed_in
def family(request: HttpRequest, name: str) -> HttpResponse:
    """Events, alarms, metrics or hosts of a cluster."""
    cluster = request.GET.get("cluster", "")
    offset = forms.whole(request, "offset")
    held = call(request, "GET", "store").data["clusters"]
    cluster = cluster or (held[0] if held else "")
    context: dict[str, Any] = {
        "family": name,
        "family_title": FAMILIES.get(name, name),
        "held": held,
        "chosen": cluster,
        "documents": [],
    }
    if cluster:
        found, total = _family(request, name, cluster, offset)
        rows = [
            {
                "text": html.clean(diffs.as_yaml(one)),
                "head": html.clean(_head(one)),
                "at": _when(one),
            }
            for one in found[:SIZE]
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
    return page(request, "console/store_family.html", context)


def _family(
    request: HttpRequest, name: str, cluster: str, offset: int
) -> tuple[list[dict[str, Any]], int | None]:
    match name:
        case "events" | "alarms":
            return ask(request, name, clusterId=cluster, offset=offset, length=SIZE)
        case "metrics":
            return ask(request, f"metric/clusters/{cluster}", offset=offset, limit=SIZE)
        case "hosts":
            return ask(request, f"host/clusters/{cluster}")
    raise Refused(1004, name, {}, 404)


def _head(one: dict[str, Any]) -> str:
    """What tells documents apart at a glance."""
    parts = [
        one.get(key)
        for key in ("kind", "type", "module", "namespace", "name", "ip", "describe", "message")
    ]
    return " · ".join(str(part) for part in parts if part)[:200]


def _when(one: dict[str, Any]) -> str:
    found = (
        one.get("eventTime")
        or one.get("receivedTime")
        or one.get("updateTime")
        or one.get("createTime")
    )
    return str(found or "")
