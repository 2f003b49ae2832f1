"""Writing what the reflectors queued.

Each batch is one transaction with the positions that it reaches, under the lease's token.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

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
from storage_api.services.bulk import WriteRecord
from storage_api.services.events import EventReport
from storage_api.services.resources import Key
from storage_api.services.sync import WatchScope


@dataclass(frozen=True, slots=True)
class LeaseHolder:
    """The cluster that is written for: its id, the name its rows bear, and the lease's token."""

    cluster: int
    name: str
    token: int


def independent_keys(items: Sequence[QueueItem]) -> frozenset[Key]:
    """The keys of a batch that may be committed in any order with batches of other keys.

    Empty when it may not: when it holds anything but records, or one key twice. Records of a list
    need no order, as its position comes after them, and only when the list is complete.
    """
    record_keys = [item.key for item in items if isinstance(item, WriteRecord)]
    keys = frozenset(record_keys)
    return keys if len(keys) == len(items) else frozenset()


def write(holder: LeaseHolder, items: Sequence[QueueItem]) -> int:
    """Apply the items in order, all or nothing; how many documents the database refused.

    Fenced when another collector has taken over the lease.
    """
    try:
        _write_batch(holder, items, partial(bulk.write, savepoint=False))
        return 0
    except Invalid:
        # One document spoils the batch: write them one by one, and leave out those refused.
        refused: list[WriteRecord] = []
        _write_batch(
            holder,
            items,
            lambda records: _write_each(records, refused),
        )
        with transaction.atomic():
            sync.fence(holder.cluster, holder.token)
            refused_types = {record.key.resource_type for record in refused}
            sync.mark_types_lossy(holder.cluster, refused_types)
        return len(refused)


def _write_batch(
    holder: LeaseHolder,
    items: Sequence[QueueItem],
    write_records: Callable[[Sequence[WriteRecord]], object],
) -> None:
    with transaction.atomic():
        sync.fence(holder.cluster, holder.token)
        for part in _split_batch(items):
            if isinstance(part, list):
                write_records(part)
            else:
                _apply(holder, part)
        _save_positions(holder, items)


def _split_batch(
    items: Iterable[QueueItem],
) -> Iterator[list[WriteRecord] | QueueItem]:
    """Runs of records, and between them the other items, in order.

    No key comes twice in a run, so that every state of an object gets its line in the log.
    """
    run: dict[object, WriteRecord] = {}
    for item in items:
        if isinstance(item, WriteRecord):
            if item.key in run:
                yield list(run.values())
                run = {}
            run[item.key] = item
        elif not isinstance(item, Position) or item.listed:
            # Positions of a watch are saved at the end, by _save_positions: they end no run.
            if run:
                yield list(run.values())
                run = {}
            yield item
    if run:
        yield list(run.values())


def _apply(holder: LeaseHolder, item: QueueItem) -> None:
    match item:
        case EventReport():
            events.add_event(item)
        case KindLossy():
            sync.mark_lossy(holder.cluster, item.scope)
        case WatchLost():
            sync.invalidate_position(holder.cluster, item.scope, item.after)
        case KindRemoved():
            sync.sweep(holder.name, resource_type(item.kind))
            sync.forget_kind(holder.cluster, item.kind)
        case NamespaceRemoved():
            stored_as = resource_type(item.scope.kind)
            sync.sweep_namespace(holder.name, stored_as, item.scope.namespace)
            sync.forget_namespace(holder.cluster, item.scope)
        case ClusterWideWatch():
            sync.forget_namespaces(holder.cluster, item.kind)
        case Heartbeat():
            sync.save_heartbeat(
                holder.cluster,
                item.moment,
                revision=item.revision,
                identity=item.identity,
                phases=item.phases,
            )
        case Position():
            if item.skipped_after is not None:
                sync.mark_gap(
                    holder.cluster,
                    holder.name,
                    item.scope,
                    after=item.skipped_after,
                    upto=item.resource_version,
                )
            sync.save_list(
                holder.cluster,
                item.scope,
                item.resource_version,
                exact=item.exact,
            )


def _save_positions(holder: LeaseHolder, items: Iterable[QueueItem]) -> None:
    """Save the last position of each watch, and whether the batch changed anything it covers."""
    last: dict[WatchScope, str] = {}
    changed = set[tuple[str, str]]()
    for item in items:
        if isinstance(item, WriteRecord):
            # A watch of the whole cluster has the namespace "".
            changed.add((item.key.resource_type, ""))
            changed.add((item.key.resource_type, item.key.namespace))
        elif isinstance(item, Position):
            last[item.scope] = item.resource_version
        elif isinstance(item, WatchLost):
            # A position from before the loss must not bring the watch back.
            last.pop(item.scope, None)
    if last:
        of_changed = [
            scope for scope in last if (resource_type(scope.kind), scope.namespace) in changed
        ]
        sync.save_positions(holder.cluster, last, of_changed)


def _write_each(records: Sequence[WriteRecord], refused: list[WriteRecord]) -> None:
    """Write the records one by one; those that the database refuses are added to `refused`."""
    for record in records:
        try:
            bulk.write([record])
        except Invalid:
            refused.append(record)
