"""Writing what the followers found: batches, each one transaction with the positions that it reaches, under the lease's token."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from django.db import transaction

from clusters.resource_types import resource_type
from core.errors import Invalid
from storage_api.collector.queue import (
    ClusterWideWatch,
    Heartbeat,
    KindLossy,
    KindRemoved,
    NamespaceRemoved,
    Position,
    QueueItem,
    WatchLost,
)
from storage_api.services import bulk, events, sync
from storage_api.services.bulk import Record
from storage_api.services.events import EventReport
from storage_api.services.resources import Key
from storage_api.services.sync import WatchScope


@dataclass(frozen=True, slots=True)
class LeaseHolder:
    """For whom is written: the cluster, the name its rows stand under, and the lease's token."""

    cluster: int
    name: str
    token: int


def independent_keys(items: Sequence[QueueItem]) -> frozenset[Key]:
    """The keys of a batch that may be written beside others: records of distinct keys and nothing else. Empty when it may not.

    What a list found stands for itself; positions come after it, and only when it is complete.
    """
    records = [item.key for item in items if isinstance(item, Record)]
    keys = frozenset(records)
    return keys if len(keys) == len(items) else frozenset()


def write(owner: LeaseHolder, items: Sequence[QueueItem]) -> int:
    """Apply the items in order, all or nothing; how many documents were refused by the database. Fenced when the lease is lost."""
    try:
        _write(owner, items, bulk.write)
        return 0
    except Invalid:
        refused: list[Record] = []
        _write(owner, items, lambda records: _one_by_one(records, refused))
        with transaction.atomic():
            sync.fence(owner.cluster, owner.token)
            sync.mark_types_lossy(owner.cluster, {record.key.resource_type for record in refused})
        return len(refused)


def _write(
    owner: LeaseHolder, items: Sequence[QueueItem], put: Callable[[Sequence[Record]], object]
) -> None:
    with transaction.atomic():
        sync.fence(owner.cluster, owner.token)
        for part in _parts(items):
            if isinstance(part, list):
                put(part)
            else:
                _apply(owner, part)
        _advance(owner, items)


def _parts(items: Iterable[QueueItem]) -> Iterator[list[Record] | QueueItem]:
    """Records in runs in which no key comes twice, so that every state of an object gets its line in the log."""
    run: dict[object, Record] = {}
    for item in items:
        if isinstance(item, Record):
            if item.key in run:
                yield list(run.values())
                run = {}
            run[item.key] = item
        elif not isinstance(item, Position) or item.listed:
            if run:
                yield list(run.values())
                run = {}
            yield item
    if run:
        yield list(run.values())


def _apply(owner: LeaseHolder, item: QueueItem) -> None:
    match item:
        case EventReport():
            events.add_event(item)
        case KindLossy():
            sync.mark_lossy(owner.cluster, item.scope)
        case WatchLost():
            sync.mark_watch_lost(owner.cluster, item.scope, item.after)
        case KindRemoved():
            sync.sweep(owner.name, resource_type(item.kind))
            sync.forget_kind(owner.cluster, item.kind)
        case NamespaceRemoved():
            stored_as = resource_type(item.scope.kind)
            sync.sweep_namespace(owner.name, stored_as, item.scope.namespace)
            sync.forget_namespace(owner.cluster, item.scope)
        case ClusterWideWatch():
            sync.forget_namespaces(owner.cluster, item.kind)
        case Heartbeat():
            sync.save_heartbeat(
                owner.cluster, item.moment, item.revision, item.identity, item.phases
            )
        case Position():
            if item.skipped_after is not None:
                sync.mark_gap(
                    owner.cluster, owner.name, item.scope, item.skipped_after, item.resource_version
                )
            sync.save_list(owner.cluster, item.scope, item.resource_version, exact=item.exact)


def _advance(owner: LeaseHolder, items: Iterable[QueueItem]) -> None:
    """Save the last position of each watch; its kind has changed when a record that it covers is among the items."""
    last: dict[WatchScope, Position] = {}
    changed = set[tuple[str, str]]()
    for item in items:
        if isinstance(item, Record):
            changed |= {(item.key.resource_type, ""), (item.key.resource_type, item.key.namespace)}
        elif isinstance(item, Position):
            last[item.scope] = item
        elif isinstance(item, WatchLost):
            last.pop(item.scope, None)
    for scope, position in last.items():
        sync.save_position(
            owner.cluster,
            scope,
            position.resource_version,
            changed=(resource_type(scope.kind), scope.namespace) in changed,
        )


def _one_by_one(records: Sequence[Record], refused: list[Record]) -> None:
    for record in records:
        try:
            bulk.write([record])
        except Invalid:
            refused.append(record)
