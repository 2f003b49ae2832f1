"""List, read, create, change and delete objects of any kind in any registered cluster."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

import msgspec
import orjson
from django.conf import settings

from clusters import escalation, event_series, registry
from clusters.accessible_namespaces import read_each
from clusters.client import CHUNK, HEADS, PATCH_TYPES, Chunk, ClusterClient
from clusters.kinds import KINDS, Kind, custom, known_kind
from clusters.lists import ListQuery, ObjectPage
from clusters.manifests import Object, pruned
from clusters.models import Cluster
from core.errors import Expired, Forbidden, Invalid, NotFound
from core.retry import retry_on_conflict
from storage_api.history import as_of, past_events
from storage_api.query import problems, sorting
from storage_api.services import multicluster, snapshot
from workloads.objects.manifests import complete, is_secret, manifest, masked_secret, patch_body
from workloads.objects.subject import call_with_namespace_check

T = TypeVar("T")
MAX_EVENTS = 20_000
PROPAGATION = {"background": "Background", "foreground": "Foreground", "orphan": "Orphan"}


# --- reading --------------------------------------------------------------------------------------------------------
def list_objects(
    cluster: Cluster, kind: Kind, query: ListQuery, *, live: bool = False
) -> ObjectPage:
    """One page of a kind: from the store when its copy is fresh, else (and if `live`) from the cluster. Both give the same objects in the
    same order, without managedFields and what kubectl last applied. Always live: Secrets, and clusters that judge each caller."""
    if settings.LISTS_FROM_STORE and not (live or is_secret(kind) or cluster.impersonate):
        page = snapshot.page(cluster, kind, query)
        if page is not None:
            return page
    return _live(cluster, kind, query)


def _check_past(query: ListQuery) -> None:
    if query.order or query.troubled:
        raise Invalid("orderby and troubled cannot be combined with at", field="at")


def list_past(cluster: Cluster, kind: Kind, query: ListQuery, at: datetime) -> ObjectPage:
    """One page of a kind as it was at a moment, out of the store's log; Expired before the log begins."""
    _check_past(query)
    listing = as_of.page(cluster, kind, query, at)
    return (
        ObjectPage([masked_secret(item) for item in listing.items], listing.total)
        if is_secret(kind)
        else listing
    )


def get_past(cluster: Cluster, kind: Kind, name: str, *, namespace: str, at: datetime) -> bytes:
    """One object as it was at a moment; a Secret without its values, which the store does not have."""
    if kind == KINDS["events"]:
        return past_events.get(cluster, name, namespace=namespace, at=at)
    content = as_of.get(cluster, kind, name, namespace=namespace, at=at)
    return masked_secret(content) if is_secret(kind) else content


def _live(cluster: Cluster, kind: Kind, query: ListQuery) -> ObjectPage:
    """Read from the cluster in chunks of which only the page is kept."""
    client = registry.client(cluster)
    try:
        listing = _read(client, kind, query)
    except Forbidden:
        if query.namespace or not cluster.namespaces:
            raise
        listing = _read_by_namespace(client, kind, query, cluster.namespaces)
    if is_secret(kind):
        return ObjectPage([masked_secret(item) for item in listing.items], listing.total)
    return ObjectPage([_pruned(item) for item in listing.items], listing.total)


def _read(client: ClusterClient, kind: Kind, query: ListQuery) -> ObjectPage:
    read = _read_chosen if query.order or query.troubled else _read_page
    try:
        return read(client, kind, query, CHUNK)
    except Expired:
        # The list went stale between two chunks; one answer without a limit cannot.
        return read(client, kind, query, 0)


def _read_by_namespace(
    client: ClusterClient, kind: Kind, query: ListQuery, namespaces: Sequence[str]
) -> ObjectPage:
    """A list out of those namespaces that the credentials may look into, in the order of a list of the whole cluster; Forbidden when it
    is none of them."""
    namespaces = sorted(namespaces, key=lambda name: f"{name}/")
    end = query.offset + query.size
    if kind == KINDS["namespaces"]:
        listings = [_known_namespaces(client, query, namespaces)]
    else:
        first = replace(query, offset=0, size=end)
        listings = read_each(
            namespaces, lambda namespace: _read(client, kind, replace(first, namespace=namespace))
        )
    items = [item for listing in listings for item in listing.items]
    if query.order:
        objects = sorting.sorted_objects([orjson.loads(item) for item in items], query.order)
        items = [orjson.dumps(item) for item in objects]
    return ObjectPage(items[query.offset : end], sum(listing.total for listing in listings))


def _known_namespaces(
    client: ClusterClient, query: ListQuery, namespaces: Sequence[str]
) -> ObjectPage:
    """The namespaces themselves; of one that may be used but not read only its name is known."""
    kind = KINDS["namespaces"]
    matches = _matcher(kind, query)
    items = []
    for name in namespaces:
        try:
            item = client.get(kind, name)
        except Forbidden:
            item = orjson.dumps({"metadata": {"name": name}, "status": {}})
        except NotFound:
            continue
        if matches is None or matches(msgspec.Raw(item)):
            items.append(item)
    return ObjectPage(items, len(items))


def _pruned(item: bytes) -> bytes:
    return (
        orjson.dumps(pruned(orjson.loads(item)))
        if b"managedFields" in item or b"last-applied-configuration" in item
        else item
    )


def _chunks(client: ClusterClient, kind: Kind, query: ListQuery, limit: int) -> Iterator[Chunk]:
    """The list's chunks; the first is cut to what the page needs when that is little."""
    whole = _filters(query) or query.order or query.troubled
    first = limit if whole else min(limit, query.offset + query.size)
    selectors = {"labelSelector": query.label_selector, "fieldSelector": query.field_selector}
    return client.chunks(
        kind, namespace=query.namespace or None, limit=limit, first=first, query=selectors
    )


def _filters(query: ListQuery) -> bool:
    return bool(query.keyword) or query.namespaces is not None


def _matcher(kind: Kind, query: ListQuery) -> Callable[[msgspec.Raw], bool] | None:
    if not _filters(query):
        return None
    keyword, namespaces, are_namespaces = (
        query.keyword.lower(),
        query.namespaces,
        kind == KINDS["namespaces"],
    )

    def matches(item: msgspec.Raw) -> bool:
        meta = HEADS.decode(item).metadata
        return keyword in meta.name.lower() and (
            namespaces is None or (meta.name if are_namespaces else meta.namespace) in namespaces
        )

    return matches


def _read_page(client: ClusterClient, kind: Kind, query: ListQuery, limit: int) -> ObjectPage:
    kept: list[bytes] = []
    seen, matches, end = 0, _matcher(kind, query), query.offset + query.size
    for chunk in _chunks(client, kind, query, limit):
        found = chunk.items or []
        if matches is not None:
            found = [item for item in found if matches(item)]
        kept += [bytes(item) for item in found[max(query.offset - seen, 0) : max(end - seen, 0)]]
        seen += len(found)
        rest = chunk.metadata.remaining_item_count
        if matches is None and seen >= end and rest is not None:
            return ObjectPage(kept, seen + rest)
    return ObjectPage(kept, seen)


def _read_chosen(client: ClusterClient, kind: Kind, query: ListQuery, limit: int) -> ObjectPage:
    """The same in another order, or of what is in trouble alone: for that every object has to be looked into."""
    matches, holds = _matcher(kind, query), problems.of(kind).holds if query.troubled else None
    found = [
        item
        for chunk in _chunks(client, kind, query, limit)
        for item in chunk.items or []
        if matches is None or matches(item)
    ]
    items: list[Mapping[str, Any]] = [orjson.loads(bytes(item)) for item in found]
    if holds is not None:
        items = [item for item in items if holds(item)]
    if query.order:
        items = sorting.sorted_objects(items, query.order)
    return ObjectPage(
        [orjson.dumps(item) for item in items[query.offset : query.offset + query.size]], len(items)
    )


def get_object(cluster: Cluster, kind: Kind, name: str, *, namespace: str = "") -> bytes:
    """One object's bytes; NamespaceNotFound when it is the namespace that is missing."""
    client = registry.client(cluster)
    return call_with_namespace_check(
        client, kind, namespace, lambda: client.get(kind, name, namespace=namespace or None)
    )


def peek(cluster: Cluster, kind: Kind, name: str, *, namespace: str = "") -> bytes | None:
    """An object as it stands before a change, for the audit trail; None when it is not there or the address makes no sense."""
    try:
        return registry.client(cluster).get(kind, name, namespace=namespace or None)
    except (NotFound, Invalid):
        return None


def name_of(raw: bytes) -> str:
    """metadata.name of an object's bytes."""
    return HEADS.decode(raw).metadata.name


# --- writing --------------------------------------------------------------------------------------------------------
VALIDATIONS = ("Strict", "Warn", "Ignore")


def check_validation(validation: str) -> str:
    """What the API server does with fields that it does not know: one of VALIDATIONS, or nothing; Invalid otherwise."""
    if validation and validation not in VALIDATIONS:
        raise Invalid(
            f"field_validation must be one of {', '.join(VALIDATIONS)}", field="field_validation"
        )
    return validation


def _options(dry_run: bool, validation: str) -> dict[str, object]:
    """The API server's query of a write."""
    check_validation(validation)
    return {
        **({"dryRun": "All"} if dry_run else {}),
        **({"fieldValidation": validation} if validation else {}),
    }


def create_object(
    cluster: Cluster,
    kind: Kind,
    content: object,
    *,
    namespace: str = "",
    dry_run: bool = False,
    validation: str = "",
    unbounded: bool = False,
) -> bytes:
    """The created object's bytes; `unbounded` for who may give rights beyond those of a namespace's admin."""
    options = _options(dry_run, validation)
    body = complete(manifest(content), kind, namespace=namespace)
    namespace = _namespace_of(kind, body, namespace)
    client = registry.client(cluster)
    if not unbounded:
        escalation.check(client, kind, body, namespace)
    return client.create(kind, body, namespace=namespace or None, **options)


def _namespace_of(kind: Kind, body: Object, namespace: str) -> str:
    if not kind.namespaced:
        return ""
    found = namespace or body["metadata"].get("namespace") or ""
    if not isinstance(found, str) or not found:
        raise Invalid("namespace is required", field="namespace")
    return found


def update_object(
    cluster: Cluster,
    kind: Kind,
    name: str,
    content: object,
    *,
    namespace: str = "",
    dry_run: bool = False,
    validation: str = "",
    unbounded: bool = False,
) -> bytes:
    """Replace an object. A resourceVersion in the content must still be current (Conflict); without one the latest is replaced."""
    options = _options(dry_run, validation)
    body = complete(manifest(content), kind, namespace=namespace, name=name)
    namespace = _namespace_of(kind, body, namespace)
    client = registry.client(cluster)
    if not unbounded:
        escalation.check(client, kind, body, namespace)

    def put() -> bytes:
        return client.replace(kind, name, body, namespace=namespace or None, **options)

    if body["metadata"].get("resourceVersion"):
        return call_with_namespace_check(client, kind, namespace, put)
    return call_with_namespace_check(
        client, kind, namespace, lambda: _put_over_latest(client, kind, body, put)
    )


def _put_over_latest(
    client: ClusterClient, kind: Kind, body: Object, put: Callable[[], bytes]
) -> bytes:
    metadata = body["metadata"]

    def write() -> bytes:
        current = orjson.loads(
            client.get(kind, metadata["name"], namespace=metadata.get("namespace"))
        )
        metadata["resourceVersion"] = current["metadata"]["resourceVersion"]
        return put()

    return retry_on_conflict(write)


def patch_object(
    cluster: Cluster,
    kind: Kind,
    name: str,
    body: bytes,
    *,
    patch: str,
    namespace: str = "",
    options: Mapping[str, object] | None = None,
    unbounded: bool = False,
) -> bytes:
    """The patched object's bytes; `patch` is json, merge, strategic or apply, `options` dryRun, fieldManager and force."""
    if patch not in PATCH_TYPES:
        raise Invalid(f"the patch must be one of {', '.join(PATCH_TYPES)}")
    body = patch_body(body, patch)
    client = registry.client(cluster)
    query = {name: value for name, value in (options or {}).items() if value}
    if patch == "apply":
        query.setdefault("fieldManager", "kubegale")

    def send(sent: bytes, dry_run: bool) -> bytes:
        asked = {**query, "dryRun": "All"} if dry_run else query
        return client.patch(kind, name, sent, patch=patch, namespace=namespace or None, query=asked)

    if unbounded:
        return call_with_namespace_check(client, kind, namespace, lambda: send(body, False))
    return call_with_namespace_check(
        client,
        kind,
        namespace,
        lambda: escalation.checked_patch(
            client, kind, name, namespace, body, patch=patch, send=send
        ),
    )


def delete_object(
    cluster: Cluster,
    kind: Kind,
    name: str,
    *,
    namespace: str = "",
    propagation: str = "background",
    dry_run: bool = False,
    grace: int | None = None,
) -> bytes:
    """The API server's answer; dependants go too unless `propagation` is orphan."""
    if propagation.lower() not in PROPAGATION:
        raise Invalid("propagation must be background, foreground or orphan", field="propagation")
    options: Object = {
        "kind": "DeleteOptions",
        "apiVersion": "v1",
        "propagationPolicy": PROPAGATION[propagation.lower()],
    }
    if dry_run:
        options["dryRun"] = ["All"]
    if grace is not None:
        options["gracePeriodSeconds"] = grace
    client = registry.client(cluster)
    return call_with_namespace_check(
        client,
        kind,
        namespace,
        lambda: client.delete(kind, name, namespace=namespace or None, options=options),
    )


# --- kinds that are not in the table --------------------------------------------------------------------------------
def discover(cluster: Cluster, group: str, version: str, plural: str) -> Kind:
    """The kind a cluster serves under that address, by its plural or any other name; NotFound when it serves none."""
    group = "" if group == "core" else group
    known = KINDS.get(plural)
    if known and (known.group, known.version) == (group, version):
        return known
    kind = custom(group, version, plural.lower())
    served = orjson.loads(registry.client(cluster).request("GET", kind.path().rpartition("/")[0]))
    resources = [
        resource for resource in served.get("resources") or [] if "/" not in resource["name"]
    ]
    named = [resource for resource in resources if resource["name"] == plural] or [
        resource for resource in resources if plural.lower() in _served_names(resource)
    ]
    for resource in named:
        return custom(
            group,
            version,
            resource["name"],
            name=resource["kind"],
            namespaced=bool(resource["namespaced"]),
        )
    raise NotFound(
        f"the cluster serves no {plural} in {group or 'core'}/{version}", reason="NotFound"
    )


def _served_names(resource: Mapping[str, Any]) -> set[str]:
    """Every name of a resource in discovery, in lower case."""
    names = [resource["name"], resource["kind"], resource.get("singularName")]
    return {str(name).lower() for name in [*names, *(resource.get("shortNames") or [])] if name}


# --- events ---------------------------------------------------------------------------------------------------------
def list_events(
    cluster: Cluster,
    query: ListQuery,
    *,
    involved_kind: str = "",
    involved_name: str = "",
    uids: frozenset[str] | None = None,
) -> ObjectPage:
    """Events, newest first; of one object or kind when it is named, or of objects by uid. Beyond 20,000 the oldest are left out."""
    whole = replace(
        query,
        field_selector=_about_selector(cluster, query, involved_kind, involved_name),
        offset=0,
        size=CHUNK,
    )
    client = registry.client(cluster)
    try:
        events = _read_events(client, whole, uids)
    except Forbidden:
        if query.namespace or not cluster.namespaces:
            raise
        parts = read_each(
            cluster.namespaces,
            lambda namespace: _read_events(client, replace(whole, namespace=namespace), uids),
        )
        events = [event for part in parts for event in part]
    events.sort(key=event_series.raw_moment, reverse=True)
    page = events[query.offset : query.offset + query.size]
    return ObjectPage([event_series.with_count(item) for item in page], len(events))


def _read_events(
    client: ClusterClient, query: ListQuery, uids: frozenset[str] | None
) -> list[bytes]:
    matches = _matcher(KINDS["events"], query)

    def read(chunks: Iterator[Chunk]) -> list[bytes]:
        events: list[bytes] = []
        for chunk in chunks:
            events += [
                bytes(item)
                for item in chunk.items or []
                if (matches is None or matches(item)) and _about(item, uids)
            ]
            if len(events) >= MAX_EVENTS:
                break
        return events

    return client.read_list(
        read,
        KINDS["events"],
        namespace=query.namespace or None,
        query={"labelSelector": query.label_selector, "fieldSelector": query.field_selector},
    )


def list_past_events(
    cluster: Cluster,
    query: ListQuery,
    at: datetime,
    *,
    involved_kind: str = "",
    involved_name: str = "",
    uids: frozenset[str] | None = None,
) -> ObjectPage:
    """The Events that were there at a moment, out of the store; Expired before the first that is kept."""
    _check_past(query)
    selector = _about_selector(cluster, query, involved_kind, involved_name)
    page = past_events.page(cluster, replace(query, field_selector=selector), at, uids=uids)
    return ObjectPage([event_series.with_count(item) for item in page.items], page.total)


def _about_selector(
    cluster: Cluster, query: ListQuery, involved_kind: str, involved_name: str
) -> str:
    """The query's field selector, narrowed to Events about an object or a kind."""
    wanted = {
        "involvedObject.kind": _kind_name(involved_kind, str(cluster.pk)),
        "involvedObject.name": involved_name,
    }
    selectors = [
        query.field_selector,
        *(f"{path}={_escaped(value)}" for path, value in wanted.items() if value),
    ]
    return ",".join(filter(None, selectors))


class _Involved(msgspec.Struct):
    uid: str = ""


class _EventSubject(msgspec.Struct, rename="camel"):
    involved_object: _Involved = msgspec.field(default_factory=_Involved)


_EVENT_SUBJECTS = msgspec.json.Decoder(_EventSubject)


def _about(item: msgspec.Raw, uids: frozenset[str] | None) -> bool:
    """Whether an event is about one of the objects."""
    return uids is None or _EVENT_SUBJECTS.decode(item).involved_object.uid in uids


def _escaped(value: str) -> str:
    """A value that cannot end its requirement and begin another."""
    return value.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")


def _kind_name(text: str, cluster: str) -> str:
    """`Pod` for Pod, pod, pods or po; custom kinds under any name, as far as they are collected; else as it was given."""
    if not text:
        return ""
    if kind := known_kind(text):
        return kind.name
    try:
        return str(multicluster.find_kind(text, cluster=cluster).name)
    except (NotFound, Invalid):
        if not text.isalnum():
            raise Invalid(
                "resource_type must be the name of a kind", field="resource_type"
            ) from None
    return text
