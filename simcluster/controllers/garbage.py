"""Garbage collection: dependents of what is gone; foreground and orphan deletion."""

from collections.abc import Iterable, Iterator

from simcluster.client import Client
from simcluster.cluster import Cluster
from simcluster.controllers.job import TRACKING
from simcluster.deletion import FOREGROUND, ORPHAN
from simcluster.objects import is_terminating
from simcluster.resources import Object
from simcluster.store import DELETED, Change, Record, Store

_AGAIN = 0.5


def keys(store: Store, change: Change) -> Iterable[str]:
    """The work of a change: a deleted owner, or one whose deletion waits for its dependents."""
    # Deleted owners: their dependents are released or deleted in the background.
    if change.type == DELETED:
        return (f"gone {change.record.uid}",) if any(_dependents(store, change.record.uid)) else ()
    if b'"finalizers"' in change.record.raw and b'"deletionTimestamp"' in change.record.raw:
        return (f"{change.storage} {change.record.key}",)
    return ()


def _dependents(store: Store, uid: str) -> Iterator[tuple[str, Record]]:
    for storage in store.storages():
        for record in store.owned(storage, uid):
            yield storage, record


def reconcile(cluster: Cluster, work: Object) -> float | None:
    """Work one key off; returns when to look again."""
    storage, _, rest = work["key"].partition(" ")
    client = Client(cluster, "garbage-collector")
    if storage == "gone":
        for kind, record in list(_dependents(cluster.store, rest)):
            _release(client, kind, record.obj, rest)
        return None
    owner = cluster.store.collection(storage).records.get(rest)
    return _finalize(client, storage, owner.obj) if owner else None


def _release(client: Client, storage: str, obj: Object, uid: str) -> None:
    others = [
        reference
        for reference in obj["metadata"].get("ownerReferences") or ()
        if reference["uid"] != uid
    ]
    # A job that is gone tracks its pods no more.
    if TRACKING in (obj["metadata"].get("finalizers") or ()):
        finalizers = obj["metadata"]["finalizers"]
        obj["metadata"]["finalizers"] = [name for name in finalizers if name != TRACKING]
        obj = client.update(storage, obj)
    # One owner of several is gone: the others keep the object.
    if others:
        obj["metadata"]["ownerReferences"] = others
        client.update(storage, obj)
    elif not is_terminating(obj):
        client.delete(storage, obj, propagationPolicy="Background")


def _finalize(client: Client, storage: str, obj: Object) -> float | None:
    meta = obj["metadata"]
    finalizers = meta.get("finalizers") or []
    dependents = list(_dependents(client.cluster.store, meta["uid"]))
    if ORPHAN in finalizers:
        for kind, record in dependents:
            child = record.obj
            child["metadata"]["ownerReferences"] = [
                reference
                for reference in child["metadata"]["ownerReferences"]
                if reference["uid"] != meta["uid"]
            ]
            client.update(kind, child)
        _drop(client, storage, obj, ORPHAN)
    elif FOREGROUND in finalizers:
        blocking = False
        for kind, record in dependents:
            child = record.obj
            mine = next(
                reference
                for reference in child["metadata"]["ownerReferences"]
                if reference["uid"] == meta["uid"]
            )
            # Only dependents with blockOwnerDeletion hold up a foreground deletion.
            blocking = blocking or bool(mine.get("blockOwnerDeletion"))
            if not is_terminating(child):
                client.delete(kind, child, propagationPolicy="Foreground")
        if blocking:
            return _AGAIN
        _drop(client, storage, obj, FOREGROUND)
    return None


def _drop(client: Client, storage: str, obj: Object, finalizer: str) -> None:
    obj["metadata"]["finalizers"] = [
        other for other in obj["metadata"]["finalizers"] if other != finalizer
    ]
    client.update(storage, obj)
