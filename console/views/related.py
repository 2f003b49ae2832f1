"""What is related to an object: what it controls, uses, and is reached by, as groups of links."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from console import navigation, stored_copy
from console.api_client import UNREACHABLE, ApiRefusal
from console.locations import Location, collection_path
from console.rendering import health
from console.rendering.health import Object, get, rows
from console.views import summary

# Enough to see what is there; the group says how many more there are.
MAX_LINKS = 50


@dataclass(frozen=True, slots=True)
class RelatedLink:
    """One object: its kind, name and address, and how it is doing."""

    kind: str
    name: str
    address: str
    word: str = ""
    severity: str = "idle"
    created: str = ""


@dataclass(frozen=True, slots=True)
class RelatedGroup:
    """Objects under one title.

    `problem` says why they could not be read (`is_away`: the cluster does not answer), `more` how
    many are left out.
    """

    title: str | Promise
    links: list[RelatedLink] = field(default_factory=list)
    problem: str = ""
    more: int = 0
    is_away: bool = False


Reader = Callable[[HttpRequest, Location, Object], Iterator[RelatedGroup]]


def list_objects(
    request: HttpRequest,
    location: Location,
    plural: str,
    path: str = "",
    **query: Any,
) -> tuple[list[Object], int]:
    """Objects of a kind in the place's namespace, and how many there are."""
    where = {
        "cluster_id": location.cluster,
        "namespace": location.namespace,
        "pageSize": MAX_LINKS,
        **query,
    }
    data, _refusal = stored_copy.read(request, path or collection_path(plural), where)
    return data["items"], data["total"]


def object_link(
    location: Location,
    plural: str,
    item: Object,
) -> RelatedLink:
    metadata = item.get("metadata") or {}
    name = str(metadata.get("name", ""))
    target = location.other(plural, name, str(metadata.get("namespace") or location.namespace))
    return RelatedLink(
        navigation.kind_name(plural),
        name,
        target.address,
        *health.for_kind(plural, item),
        str(metadata.get("creationTimestamp", "")),
    )


def group_of_list(
    request: HttpRequest,
    location: Location,
    plural: str,
    title: str | Promise,
    *,
    path: str = "",
    **query: Any,
) -> Iterator[RelatedGroup]:
    """A group of what the API lists; nothing when there is nothing."""
    try:
        items, total = list_objects(request, location, plural, path, **query)
    except ApiRefusal as refusal:
        is_away = refusal.code == UNREACHABLE
        yield RelatedGroup(title, problem=refusal.message, is_away=is_away)
        return
    if items:
        yield RelatedGroup(
            title,
            [object_link(location, plural, item) for item in items],
            more=max(total - len(items), 0),
        )


def join_labels(labels: Any) -> str:
    if not isinstance(labels, Mapping):
        return ""
    return ",".join(f"{key}={value}" for key, value in labels.items())


def _group_of_controlled(
    request: HttpRequest,
    location: Location,
    plural: str,
    title: str | Promise,
    uid: str,
    selector: str,
) -> Iterator[RelatedGroup]:
    """What the object controls.

    The selector narrows the list; the uid decides, since another object's pods may match it too.
    """
    try:
        items, _total = list_objects(request, location, plural, labelSelector=selector)
    except ApiRefusal as refusal:
        yield RelatedGroup(title, problem=refusal.message)
        return
    controlled = []
    for item in items:
        references = rows(get(item, "metadata", "ownerReferences"))
        if uid in [reference.get("uid") for reference in references]:
            controlled.append(item)
    if controlled:
        yield RelatedGroup(title, [object_link(location, plural, item) for item in controlled])


def group_of_references(
    location: Location,
    title: str | Promise,
    references: list[tuple[str, str]],
) -> Iterator[RelatedGroup]:
    """What the object names, without looking whether it is there."""
    links = [
        RelatedLink(navigation.kind_name(plural), name, location.other(plural, name).address)
        # A pod often names the same Secret for several variables.
        for plural, name in dict.fromkeys(references)
        if name
    ]
    if links:
        yield RelatedGroup(title, links)


def _pod_references(spec: Any) -> Iterator[tuple[str, str]]:
    """What a pod's volumes and environment name: configuration, secrets, claims."""
    for volume in rows(get(spec, "volumes")):
        yield "configmaps", str(get(volume, "configMap", "name") or "")
        yield "secrets", str(get(volume, "secret", "secretName") or "")
        yield "persistentvolumeclaims", str(get(volume, "persistentVolumeClaim", "claimName") or "")
    for container in [*rows(get(spec, "initContainers")), *rows(get(spec, "containers"))]:
        for source in rows(container.get("envFrom")):
            yield "configmaps", str(get(source, "configMapRef", "name") or "")
            yield "secrets", str(get(source, "secretRef", "name") or "")
        for env in rows(container.get("env")):
            yield "configmaps", str(get(env, "valueFrom", "configMapKeyRef", "name") or "")
            yield "secrets", str(get(env, "valueFrom", "secretKeyRef", "name") or "")


def _group_of_services(
    request: HttpRequest,
    location: Location,
    labels: Any,
) -> Iterator[RelatedGroup]:
    """The Services whose selectors fit these labels."""
    if not isinstance(labels, Mapping) or not labels:
        return
    try:
        # Services cannot be listed by the labels that they select, so all of the namespace are
        # compared.
        items, _total = list_objects(request, location, "services", pageSize=500)
    except ApiRefusal:
        return
    selecting = [item for item in items if _selects(get(item, "spec", "selector"), labels)]
    if selecting:
        yield RelatedGroup(
            _("Reached through"), [object_link(location, "services", item) for item in selecting]
        )


def _selects(selector: Any, labels: Mapping[str, Any]) -> bool:
    """Whether a Service's selector matches the labels."""
    # A Service without a selector selects nothing: its endpoints are written by hand.
    if not isinstance(selector, Mapping) or not selector:
        return False
    return all(key in labels and labels[key] == value for key, value in selector.items())


def workload_groups(
    request: HttpRequest,
    location: Location,
    item: Object,
) -> Iterator[RelatedGroup]:
    uid = str(get(item, "metadata", "uid"))
    selector = join_labels(get(item, "spec", "selector", "matchLabels"))
    pods = f"{location.plural}/{location.name}/pods"
    groups = list(group_of_list(request, location, "pods", _("Pods"), path=pods))
    if selector and any(group.is_away for group in groups):
        # The cluster cannot say which pods are the workload's: of the store's, the selector does.
        groups = list(group_of_list(request, location, "pods", _("Pods"), labelSelector=selector))
    yield from groups
    if location.plural == "deployments":
        yield from _group_of_controlled(
            request,
            location,
            "replicasets",
            _("ReplicaSets"),
            uid,
            selector,
        )
    yield from _group_of_services(
        request,
        location,
        get(item, "spec", "template", "metadata", "labels"),
    )
    yield from group_of_references(
        location,
        _("Uses"),
        list(_pod_references(summary.pod_spec(item))),
    )


def replicaset_groups(
    request: HttpRequest,
    location: Location,
    item: Object,
) -> Iterator[RelatedGroup]:
    selector = join_labels(get(item, "spec", "selector", "matchLabels"))
    yield from _group_of_controlled(
        request,
        location,
        "pods",
        _("Pods"),
        str(get(item, "metadata", "uid")),
        selector,
    )


def cronjob_groups(
    request: HttpRequest,
    location: Location,
    item: Object,
) -> Iterator[RelatedGroup]:
    yield from _group_of_controlled(
        request,
        location,
        "jobs",
        _("Jobs"),
        str(get(item, "metadata", "uid")),
        "",
    )
    yield from group_of_references(
        location,
        _("Uses"),
        list(_pod_references(summary.pod_spec(item))),
    )


def pod_groups(
    request: HttpRequest,
    location: Location,
    item: Object,
) -> Iterator[RelatedGroup]:
    yield from _group_of_services(request, location, get(item, "metadata", "labels"))
    yield from group_of_references(
        location,
        _("Uses"),
        list(_pod_references(summary.pod_spec(item))),
    )


def service_groups(
    request: HttpRequest,
    location: Location,
    item: Object,
) -> Iterator[RelatedGroup]:
    if selector := join_labels(get(item, "spec", "selector")):
        yield from group_of_list(request, location, "pods", _("Pods"), labelSelector=selector)
    try:
        # No field selector of Ingresses knows their backends.
        items, _total = list_objects(request, location, "ingresses", pageSize=500)
    except ApiRefusal:
        return
    leading = [ingress for ingress in items if location.name in backends(ingress)]
    if leading:
        yield RelatedGroup(
            _("Reached through"),
            [object_link(location, "ingresses", ingress) for ingress in leading],
        )


def backends(ingress: Object) -> set[str]:
    paths = [
        path
        for rule in rows(get(ingress, "spec", "rules"))
        for path in rows(get(rule, "http", "paths"))
    ]
    return {str(get(path, "backend", "service", "name")) for path in paths} | {
        str(get(ingress, "spec", "defaultBackend", "service", "name"))
    }


def config_groups(
    request: HttpRequest,
    location: Location,
    item: Object,
) -> Iterator[RelatedGroup]:
    """The pods that mount or read a ConfigMap, a Secret or a claim."""
    try:
        # No selector finds pods by their volumes: the specs of the namespace are read.
        items, _total = list_objects(request, location, "pods", pageSize=500)
    except ApiRefusal as refusal:
        yield RelatedGroup(_("Used by"), problem=refusal.message)
        return
    using = [
        pod
        for pod in items
        if (location.plural, location.name) in set(_pod_references(get(pod, "spec")))
    ]
    if using:
        yield RelatedGroup(
            _("Used by"),
            [object_link(location, "pods", pod) for pod in using[:MAX_LINKS]],
            more=max(len(using) - MAX_LINKS, 0),
        )


def namespace_groups(
    request: HttpRequest,
    location: Location,
    item: Object,
) -> Iterator[RelatedGroup]:
    for plural in (
        "deployments",
        "statefulsets",
        "daemonsets",
        "cronjobs",
        "services",
        "ingresses",
        "resourcequotas",
    ):
        yield from group_of_list(
            request,
            location,
            plural,
            navigation.kind_title(plural),
            namespace=location.name,
        )
