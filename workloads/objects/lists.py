"""Lists and single objects of any kind in any registered cluster, from the store or live."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import orjson
from django.conf import settings

from clusters import registry
from clusters.accessible_namespaces import read_each
from clusters.client import ClusterClient
from clusters.kinds import KINDS, Kind
from clusters.lists import ListQuery, ObjectPage
from clusters.manifests import prune
from clusters.models import Cluster
from clusters.wire import CHUNK_SIZE, HEAD_DECODER, Chunk
from core.errors import Expired, Forbidden, Invalid, NotFound
from storage_api.query import problems, sorting
from storage_api.services import snapshot
from workloads.objects.manifests import is_secret, masked_secret
from workloads.objects.object_ref import call_with_namespace_check

ItemMatcher = Callable[[msgspec.Raw], bool]


def list_objects(
    cluster: Cluster, kind: Kind, query: ListQuery, *, live: bool = False
) -> ObjectPage:
    """One page of a kind: from the store when its copy is fresh, else (and if `live`) the cluster.

    Both give the same objects in the same order, without managedFields and without kubectl's
    last-applied-configuration. Always live: Secrets, and clusters that check each caller's rights
    themselves. Forbidden when the cluster's credentials may not list the kind.
    """
    if settings.LISTS_FROM_STORE and not (live or is_secret(kind) or cluster.impersonate):
        page = snapshot.page(cluster, kind, query)
        if page is not None:
            return page
    return _list_live(cluster, kind, query)


def _list_live(cluster: Cluster, kind: Kind, query: ListQuery) -> ObjectPage:
    """Read from the cluster in chunks; only the page's items stay in memory."""
    client = registry.client(cluster)
    try:
        listing = _read_list(client, kind, query)
    except Forbidden:
        # Credentials for some namespaces only may not list the whole cluster.
        if query.namespace or not cluster.namespaces:
            raise
        listing = _read_by_namespace(client, kind, query, cluster.namespaces)
    strip = masked_secret if is_secret(kind) else prune_item
    return ObjectPage([strip(item) for item in listing.items], listing.total)


def _read_list(client: ClusterClient, kind: Kind, query: ListQuery) -> ObjectPage:
    read = _read_sorted if query.order or query.troubled else _read_page
    try:
        return read(client, kind, query, CHUNK_SIZE)
    except Expired:
        # The continue token expired between two chunks (410). One unlimited list cannot expire:
        # that is what client-go's pager falls back to.
        return read(client, kind, query, 0)


def _read_by_namespace(
    client: ClusterClient,
    kind: Kind,
    query: ListQuery,
    namespaces: Sequence[str],
) -> ObjectPage:
    """A list over the namespaces that the credentials may read, ordered like a cluster-wide list.

    Forbidden when they may read none of them.
    """
    # etcd orders by "namespace/name", so "a-b/" comes before "a/".
    namespaces = sorted(namespaces, key=lambda name: f"{name}/")
    end = query.offset + query.size
    if kind == KINDS["namespaces"]:
        listings = [_accessible_namespaces(client, query, namespaces)]
    else:
        # Any namespace may fill the whole page, so each is read up to the page's end.
        first_items = replace(query, offset=0, size=end)
        listings = read_each(
            namespaces,
            lambda namespace: _read_list(client, kind, replace(first_items, namespace=namespace)),
        )
    items = [item for listing in listings for item in listing.items]
    if query.order:
        loaded = [orjson.loads(item) for item in items]
        objects = sorting.sorted_objects(loaded, query.order, query.ranks)
        items = [orjson.dumps(item) for item in objects]
    total = sum(listing.total for listing in listings)
    return ObjectPage(items[query.offset : end], total)


def _accessible_namespaces(
    client: ClusterClient, query: ListQuery, namespaces: Sequence[str]
) -> ObjectPage:
    """The Namespace objects themselves, name by name."""
    kind = KINDS["namespaces"]
    matches = item_matcher(kind, query)
    items = []
    for name in namespaces:
        try:
            item = client.get(kind, name)
        except Forbidden:
            # Using a namespace does not include the right to read its object: only the name shows.
            item = orjson.dumps({"metadata": {"name": name}, "status": {}})
        except NotFound:
            continue
        if matches is None or matches(msgspec.Raw(item)):
            items.append(item)
    return ObjectPage(items, len(items))


def prune_item(item: bytes) -> bytes:
    """An object's JSON as lists give it: without managedFields and what kubectl last applied."""
    # Most items have neither; looking for the text is much cheaper than parsing each.
    if b"managedFields" in item or b"last-applied-configuration" in item:
        return orjson.dumps(prune(orjson.loads(item)))
    return item


def _list_chunks(
    client: ClusterClient, kind: Kind, query: ListQuery, limit: int
) -> Iterator[Chunk]:
    """The list's chunks; the first is no larger than the page needs."""
    first = limit
    if not (_filters_items(query) or query.order or query.troubled):
        first = min(limit, query.offset + query.size)
    selectors = {
        "labelSelector": query.label_selector,
        "fieldSelector": query.field_selector,
    }
    return client.chunks(
        kind,
        namespace=query.namespace or None,
        limit=limit,
        first=first,
        query=selectors,
    )


def _filters_items(query: ListQuery) -> bool:
    """Whether the query narrows the list beyond what the API server can do."""
    return bool(query.keyword) or query.namespaces is not None


def item_matcher(kind: Kind, query: ListQuery) -> ItemMatcher | None:
    """Whether a raw item passes the keyword and the caller's namespaces; None when all pass."""
    if not _filters_items(query):
        return None
    keyword = query.keyword.lower()
    namespaces = query.namespaces
    are_namespaces = kind == KINDS["namespaces"]

    def matches(item: msgspec.Raw) -> bool:
        metadata = HEAD_DECODER.decode(item).metadata
        if keyword not in metadata.name.lower():
            return False
        if namespaces is None:
            return True
        # A Namespace has no metadata.namespace: it stands for itself.
        namespace = metadata.name if are_namespaces else metadata.namespace
        return namespace in namespaces

    return matches


def _read_page(client: ClusterClient, kind: Kind, query: ListQuery, limit: int) -> ObjectPage:
    """The page in the API server's order; stops reading once the total is clear."""
    matches = item_matcher(kind, query)
    end = query.offset + query.size
    page: list[bytes] = []
    count = 0
    for chunk in _list_chunks(client, kind, query, limit):
        items = chunk.items or []
        if matches is not None:
            items = [item for item in items if matches(item)]
        start_in_chunk = max(query.offset - count, 0)
        end_in_chunk = max(end - count, 0)
        page += [bytes(item) for item in items[start_in_chunk:end_in_chunk]]
        count += len(items)
        remaining = chunk.metadata.remaining_item_count
        # The server omits remainingItemCount for lists with a selector: those are read to the end.
        if matches is None and count >= end and remaining is not None:
            return ObjectPage(page, count + remaining)
    return ObjectPage(page, count)


def _read_sorted(client: ClusterClient, kind: Kind, query: ListQuery, limit: int) -> ObjectPage:
    """The page in another order, or of objects with problems: every object has to be parsed."""
    matches = item_matcher(kind, query)
    # Invalid for a kind without a rule, before anything is read.
    has_problem = problems.problem_rule(kind).holds if query.troubled else None
    objects: list[Mapping[str, Any]] = []
    for chunk in _list_chunks(client, kind, query, limit):
        items = chunk.items or []
        if matches is not None:
            items = [item for item in items if matches(item)]
        objects += [orjson.loads(bytes(item)) for item in items]
    if has_problem is not None:
        objects = [item for item in objects if has_problem(item)]
    if query.order:
        objects = sorting.sorted_objects(objects, query.order, query.ranks)
    page = objects[query.offset : query.offset + query.size]
    return ObjectPage([orjson.dumps(item) for item in page], len(objects))


def get_object(cluster: Cluster, kind: Kind, name: str, *, namespace: str = "") -> bytes:
    """One object's JSON bytes.

    NotFound without it, NamespaceNotFound when it is the namespace that does not exist.
    """
    client = registry.client(cluster)
    return call_with_namespace_check(
        client,
        kind,
        namespace,
        lambda: client.get(kind, name, namespace=namespace or None),
    )


def read_object(
    cluster: Cluster, kind: Kind, name: str, *, namespace: str = "", live: bool = False
) -> tuple[bytes, float | None]:
    """(one object's JSON, its age in seconds): as `list_objects`, from the store or the cluster.

    Both give the object whole. The age is None when the cluster was asked; raises as `get_object`.
    """
    if settings.LISTS_FROM_STORE and not (live or is_secret(kind) or cluster.impersonate):
        stored = snapshot.get(cluster, kind, name, namespace=namespace)
        if stored is not None:
            return stored.raw, stored.age
    return get_object(cluster, kind, name, namespace=namespace), None


def peek(cluster: Cluster, kind: Kind, name: str, *, namespace: str = "") -> bytes | None:
    """An object's JSON before a change, for the audit trail.

    None when there is no such object or its address is invalid: the change itself reports that.
    """
    try:
        return registry.client(cluster).get(kind, name, namespace=namespace or None)
    except (NotFound, Invalid):
        return None


def name_of(raw: bytes) -> str:
    """metadata.name of an object's JSON."""
    return HEAD_DECODER.decode(raw).metadata.name
