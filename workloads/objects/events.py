"""Kubernetes Events: listed newest first, of a whole namespace or about certain objects."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import msgspec

from clusters import event_series, registry
from clusters.accessible_namespaces import read_each
from clusters.client import ClusterClient
from clusters.kinds import KINDS, lookup_kind
from clusters.lists import ListQuery, ObjectPage
from clusters.models import Cluster
from clusters.wire import CHUNK_SIZE, Chunk
from core.errors import Forbidden, Invalid, NotFound
from storage_api.services import multicluster
from workloads.objects.lists import item_matcher, prune_item

MAX_EVENTS = 20_000


def list_events(
    cluster: Cluster,
    query: ListQuery,
    *,
    involved_kind: str = "",
    involved_name: str = "",
    message: str = "",
    uids: frozenset[str] | None = None,
) -> ObjectPage:
    """One page of Events, newest first; beyond 20,000 Events some are left out.

    `involved_kind` and `involved_name` narrow them to a kind or an object, `uids` to the objects
    with these uids (None is no restriction), `message` to those whose text has it in any case.
    """
    # The API server lists Events in name order: to show the newest first, all have to be read.
    selector = involved_selector(cluster, query, involved_kind, involved_name)
    full_query = replace(query, field_selector=selector, offset=0, size=CHUNK_SIZE)
    client = registry.client(cluster)
    is_about = partial(_is_about, uids, message.lower())
    try:
        events = _read_events(client, full_query, is_about)
    except Forbidden:
        # Credentials for some namespaces only may not list the whole cluster.
        if query.namespace or not cluster.namespaces:
            raise
        parts = read_each(
            cluster.namespaces,
            lambda namespace: _read_events(
                client,
                replace(full_query, namespace=namespace),
                is_about,
            ),
        )
        events = [event for part in parts for event in part]
    events.sort(key=event_series.raw_moment, reverse=True)
    page = events[query.offset : query.offset + query.size]
    items = [prune_item(event_series.with_count(item)) for item in page]
    return ObjectPage(items, len(events))


def _read_events(
    client: ClusterClient,
    query: ListQuery,
    is_about: Callable[[msgspec.Raw], bool],
) -> list[bytes]:
    matches = item_matcher(KINDS["events"], query)

    def read(chunks: Iterator[Chunk]) -> list[bytes]:
        events: list[bytes] = []
        for chunk in chunks:
            items = chunk.items or []
            if matches is not None:
                items = [item for item in items if matches(item)]
            events += [bytes(item) for item in items if is_about(item)]
            if len(events) >= MAX_EVENTS:
                break
        return events

    return client.read_list(
        read,
        KINDS["events"],
        namespace=query.namespace or None,
        query={
            "labelSelector": query.label_selector,
            "fieldSelector": query.field_selector,
        },
    )


def involved_selector(
    cluster: Cluster,
    query: ListQuery,
    involved_kind: str,
    involved_name: str,
) -> str:
    """The query's field selector, narrowed to Events about a kind or an object.

    Invalid for a kind whose name cannot stand in a selector.
    """
    requirements = {
        "involvedObject.kind": _kind_name(involved_kind, str(cluster.pk)),
        "involvedObject.name": involved_name,
    }
    selectors = [query.field_selector]
    for path, value in requirements.items():
        if value:
            selectors.append(f"{path}={_escape_selector(value)}")
    return ",".join(filter(None, selectors))


class _InvolvedObject(msgspec.Struct):
    uid: str = ""


class _EventHead(msgspec.Struct, rename="camel"):
    involved_object: _InvolvedObject = msgspec.field(default_factory=_InvolvedObject)
    message: str | None = None


# Decodes the two fields that are needed and skips the rest of each Event.
_EVENT_HEADS = msgspec.json.Decoder(_EventHead)


def _is_about(uids: frozenset[str] | None, text: str, item: msgspec.Raw) -> bool:
    """Whether an Event is about one of the objects and says the text, which is in lower case."""
    if uids is None and not text:
        return True
    head = _EVENT_HEADS.decode(item)
    is_involved = uids is None or head.involved_object.uid in uids
    return is_involved and text in (head.message or "").lower()


def _escape_selector(value: str) -> str:
    """A field selector's value, escaped so that it cannot start another requirement."""
    return value.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")


def _kind_name(text: str, cluster: str) -> str:
    """`Pod` for Pod, pod, pods or po; a custom kind by any of its names when the store has it.

    Any other word is passed on unchanged; Invalid when it is not alphanumeric.
    """
    if not text:
        return ""
    if kind := lookup_kind(text):
        return kind.name
    try:
        return str(multicluster.find_kind(text, cluster=cluster).name)
    except (NotFound, Invalid):
        if not text.isalnum():
            raise Invalid(
                "resource_type must be the name of a kind",
                field="resource_type",
            ) from None
    return text
