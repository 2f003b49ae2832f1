"""What belongs to an object: what it made, what it uses, what leads to it; each a group of links."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from console import navigation
from console.api_client import Refused, call
from console.locations import Place, collection
from console.rendering import health
from console.rendering.health import Object, get, rows
from console.views import summary

MOST = 50


@dataclass(frozen=True, slots=True)
class Link:
    """One object: its kind, name and address, and how it is doing."""

    kind: str
    name: str
    address: str
    word: str = ""
    tone: str = "idle"
    created: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """Objects under one title; `problem` says why they could not be read, `more` how many are left out."""

    title: str | Promise
    links: list[Link] = field(default_factory=list)
    problem: str = ""
    more: int = 0


Reader = Callable[[HttpRequest, Place, Object], Iterator[Group]]


def _list(
    request: HttpRequest, place: Place, plural: str, path: str = "", **query: Any
) -> tuple[list[Object], int]:
    """Objects of a kind in the place's namespace, and how many there are."""
    where = {"cluster_id": place.cluster, "namespace": place.namespace, "pageSize": MOST, **query}
    data = call(request, "GET", path or collection(plural), query=where).data
    return data["items"], data["total"]


def _link(place: Place, plural: str, item: Object) -> Link:
    metadata = item.get("metadata") or {}
    name = str(metadata.get("name", ""))
    target = place.other(plural, name, str(metadata.get("namespace") or place.namespace))
    return Link(
        navigation.kind_name(plural),
        name,
        target.address,
        *health.of(plural, item),
        str(metadata.get("creationTimestamp", "")),
    )


def _found(
    request: HttpRequest,
    place: Place,
    plural: str,
    title: str | Promise,
    *,
    path: str = "",
    **query: Any,
) -> Iterator[Group]:
    """A group of what the API lists; nothing when there is nothing."""
    try:
        items, total = _list(request, place, plural, path, **query)
    except Refused as refused:
        yield Group(title, problem=refused.message)
        return
    if items:
        yield Group(
            title, [_link(place, plural, item) for item in items], more=max(total - len(items), 0)
        )


def _selector(labels: Any) -> str:
    return (
        ",".join(f"{key}={value}" for key, value in labels.items())
        if isinstance(labels, Mapping)
        else ""
    )


def _owned(
    request: HttpRequest, place: Place, plural: str, title: str | Promise, uid: str, selector: str
) -> Iterator[Group]:
    """What the object controls, found by its selector and told by its uid."""
    try:
        items, _total = _list(request, place, plural, labelSelector=selector)
    except Refused as refused:
        yield Group(title, problem=refused.message)
        return
    mine = [
        item
        for item in items
        if any(one.get("uid") == uid for one in rows(get(item, "metadata", "ownerReferences")))
    ]
    if mine:
        yield Group(title, [_link(place, plural, item) for item in mine])


def _used(place: Place, title: str | Promise, wanted: list[tuple[str, str]]) -> Iterator[Group]:
    """What the object names, without looking whether it is there."""
    links = [
        Link(navigation.kind_name(plural), name, place.other(plural, name).address)
        for plural, name in dict.fromkeys(wanted)
        if name
    ]
    if links:
        yield Group(title, links)


def _mounted(spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a pod's volumes and environment name: configuration, secrets, claims."""
    for volume in rows(spec.get("volumes")):
        yield "configmaps", str(get(volume, "configMap", "name") or "")
        yield "secrets", str(get(volume, "secret", "secretName") or "")
        yield "persistentvolumeclaims", str(get(volume, "persistentVolumeClaim", "claimName") or "")
    for container in [*rows(spec.get("initContainers")), *rows(spec.get("containers"))]:
        for source in rows(container.get("envFrom")):
            yield "configmaps", str(get(source, "configMapRef", "name") or "")
            yield "secrets", str(get(source, "secretRef", "name") or "")
        for env in rows(container.get("env")):
            yield "configmaps", str(get(env, "valueFrom", "configMapKeyRef", "name") or "")
            yield "secrets", str(get(env, "valueFrom", "secretKeyRef", "name") or "")


def _exposing(request: HttpRequest, place: Place, labels: Any) -> Iterator[Group]:
    """The Services whose selectors fit these labels."""
    if not isinstance(labels, Mapping) or not labels:
        return
    try:
        items, _total = _list(request, place, "services", pageSize=500)
    except Refused:
        return
    fitting = [
        item
        for item in items
        if (wanted := get(item, "spec", "selector")) and wanted.items() <= labels.items()
    ]
    if fitting:
        yield Group(_("Reached through"), [_link(place, "services", item) for item in fitting])


def _workload(request: HttpRequest, place: Place, item: Object) -> Iterator[Group]:
    uid, selector = (
        str(get(item, "metadata", "uid")),
        _selector(get(item, "spec", "selector", "matchLabels")),
    )
    yield from _found(request, place, "pods", _("Pods"), path=f"{place.plural}/{place.name}/pods")
    if place.plural == "deployments":
        yield from _owned(request, place, "replicasets", _("ReplicaSets"), uid, selector)
    yield from _exposing(request, place, get(item, "spec", "template", "metadata", "labels"))
    yield from _used(place, _("Uses"), list(_mounted(summary.template(item))))


def _replicaset(request: HttpRequest, place: Place, item: Object) -> Iterator[Group]:
    selector = _selector(get(item, "spec", "selector", "matchLabels"))
    yield from _owned(
        request, place, "pods", _("Pods"), str(get(item, "metadata", "uid")), selector
    )


def _cronjob(request: HttpRequest, place: Place, item: Object) -> Iterator[Group]:
    yield from _owned(request, place, "jobs", _("Jobs"), str(get(item, "metadata", "uid")), "")
    yield from _used(place, _("Uses"), list(_mounted(summary.template(item))))


def _pod(request: HttpRequest, place: Place, item: Object) -> Iterator[Group]:
    yield from _exposing(request, place, get(item, "metadata", "labels"))
    yield from _used(place, _("Uses"), list(_mounted(summary.template(item))))


def _service(request: HttpRequest, place: Place, item: Object) -> Iterator[Group]:
    if selector := _selector(get(item, "spec", "selector")):
        yield from _found(request, place, "pods", _("Pods"), labelSelector=selector)
    try:
        items, _total = _list(request, place, "ingresses", pageSize=500)
    except Refused:
        return
    leading = [one for one in items if place.name in _backends(one)]
    if leading:
        yield Group(_("Reached through"), [_link(place, "ingresses", one) for one in leading])


def _backends(ingress: Object) -> set[str]:
    paths = [
        one
        for rule in rows(get(ingress, "spec", "rules"))
        for one in rows(get(rule, "http", "paths"))
    ]
    return {str(get(one, "backend", "service", "name")) for one in paths} | {
        str(get(ingress, "spec", "defaultBackend", "service", "name"))
    }


def _node(request: HttpRequest, place: Place, item: Object) -> Iterator[Group]:
    yield from _found(
        request, place, "pods", _("Pods"), namespace="", fieldSelector=f"spec.nodeName={place.name}"
    )


def _config(request: HttpRequest, place: Place, item: Object) -> Iterator[Group]:
    """The pods that mount or read a ConfigMap, a Secret or a claim."""
    try:
        items, _total = _list(request, place, "pods", pageSize=500)
    except Refused as refused:
        yield Group(_("Used by"), problem=refused.message)
        return
    using = [
        one for one in items if (place.plural, place.name) in set(_mounted(get(one, "spec") or {}))
    ]
    if using:
        yield Group(
            _("Used by"),
            [_link(place, "pods", one) for one in using[:MOST]],
            more=max(len(using) - MOST, 0),
        )


def _namespace(request: HttpRequest, place: Place, item: Object) -> Iterator[Group]:
    for plural in (
        "deployments",
        "statefulsets",
        "daemonsets",
        "cronjobs",
        "services",
        "ingresses",
        "resourcequotas",
    ):
        yield from _found(request, place, plural, navigation.title(plural), namespace=place.name)


OF: Mapping[str, Reader] = {
    "deployments": _workload,
    "statefulsets": _workload,
    "daemonsets": _workload,
    "jobs": _workload,
    "cronjobs": _cronjob,
    "replicasets": _replicaset,
    "pods": _pod,
    "services": _service,
    "nodes": _node,
    "configmaps": _config,
    "secrets": _config,
    "persistentvolumeclaims": _config,
    "namespaces": _namespace,
}


def of(request: HttpRequest, place: Place, item: Object) -> list[Group]:
    """The groups of what belongs to the object."""
    reader = OF.get(place.plural)
    return list(reader(request, place, item)) if reader else []
