"""Deletion: grace, finalizers, propagation, preconditions."""

from datetime import UTC, datetime, timedelta
from typing import Any

from simcluster import admission, clock
from simcluster.errors import ApiError, bad_request, conflict, success
from simcluster.objects import get_phase, is_terminating
from simcluster.resources import Object, Resource
from simcluster.store import Record, Store
from simcluster.write_options import WriteOptions

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
# Kinds whose deletion answers with the object and not with a Status.
_ANSWERS_OBJECT = {
    "pods",
    "services",
    "persistentvolumeclaims",
    "persistentvolumes",
    "podtemplates",
    "resourcequotas",
    "serviceaccounts",
}


def delete(
    store: Store,
    resource: Resource,
    record: Record,
    body: Object,
    options: WriteOptions,
) -> Object:
    """Delete one object as `DeleteOptions` ask; the answer is what the API server answers."""
    obj = record.obj
    _check_preconditions(resource, obj, body)
    admission.protect(resource, record.name)
    propagation = _propagation(body)
    before = dict(obj["metadata"])
    namespace = resource.storage == "namespaces"
    _mark(resource, obj, body, propagation)
    meta = obj["metadata"]
    waits = (
        bool(meta.get("finalizers"))
        or meta.get("deletionGracePeriodSeconds", 0) > 0
        # A namespace goes once it is finalized; the first time it is only marked.
        or (namespace and (not before.get("deletionTimestamp") or _finalizers(obj)))
    )
    # The answer of a dry run is that of the real deletion.
    if options.dry_run:
        return obj if waits or resource.storage in _ANSWERS_OBJECT else _deleted(resource, obj)
    if not waits:
        removed = store.remove(resource.storage, record.namespace, record.name)
        return removed.obj if resource.storage in _ANSWERS_OBJECT else _deleted(resource, obj)
    if meta != before:
        store.put(resource.storage, obj)
    return obj


def _deleted(resource: Resource, obj: Object) -> Object:
    group = {"group": resource.group} if resource.group else {}
    return success(
        details={
            "name": obj["metadata"]["name"],
            **group,
            "kind": resource.plural,
            "uid": obj["metadata"]["uid"],
        }
    )


def _check_preconditions(resource: Resource, obj: Object, body: Object) -> None:
    preconditions = body.get("preconditions") or {}
    meta = obj["metadata"]
    for key, label in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
        expected = preconditions.get(key)
        if expected and expected != meta[key]:
            message = (
                f"Precondition failed: {label} in precondition: {expected}, "
                f"{label} in object meta: {meta[key]}"
            )
            raise conflict(resource, meta["name"], message)


def _propagation(body: Object) -> str:
    policy = body.get("propagationPolicy")
    if policy not in (None, "Orphan", "Background", "Foreground"):
        message = (
            'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: '
            f'Unsupported value: "{policy}": '
            'supported values: "Foreground", "Background", "Orphan", "nil"'
        )
        raise ApiError(
            422,
            "Invalid",
            message,
            details={"group": "meta.k8s.io", "kind": "DeleteOptions"},
        )
    if policy is None:
        return "Orphan" if body.get("orphanDependents") else "Background"
    return str(policy)


def _mark(resource: Resource, obj: Object, body: Object, propagation: str) -> None:
    meta = obj["metadata"]
    # The policy of this request takes the place of an earlier one's.
    finalizers = [name for name in meta.get("finalizers") or () if name not in (FOREGROUND, ORPHAN)]
    if propagation != "Background":
        finalizers.append(FOREGROUND if propagation == "Foreground" else ORPHAN)
    grace = _grace(resource, obj, body)
    if meta.get("deletionTimestamp"):
        # A second deletion may only shorten the grace period.
        finalizers = meta.get("finalizers") or []
        grace = min(grace, meta.get("deletionGracePeriodSeconds", 0))
        if grace == meta.get("deletionGracePeriodSeconds", 0):
            return
    # Marking for deletion counts as a change of the desired state.
    elif "generation" in meta:
        meta["generation"] += 1
    meta["deletionTimestamp"] = clock.timestamp(datetime.now(UTC) + timedelta(seconds=grace))
    if finalizers:
        meta["finalizers"] = finalizers
    if resource.storage != "namespaces":
        meta["deletionGracePeriodSeconds"] = grace
    else:
        obj["status"] = {**obj.get("status", {}), "phase": "Terminating"}


def _grace(resource: Resource, obj: Object, body: Object) -> int:
    seconds: Any = body.get("gracePeriodSeconds")
    if seconds is not None and (not isinstance(seconds, int) or seconds < 0):
        raise bad_request("gracePeriodSeconds must be a non-negative integer")
    if resource.storage != "pods":
        return 0
    phase = get_phase(obj)
    if not obj["spec"].get("nodeName") or phase in ("Succeeded", "Failed"):
        # No kubelet has anything to stop: the pod is removed at once.
        return 0
    if seconds is None:
        seconds = obj["spec"].get("terminationGracePeriodSeconds", 30)
    return int(seconds)


def finish(store: Store, storage: str, obj: Object) -> None:
    """Remove an object whose deletion nothing holds up any more."""
    meta = obj["metadata"]
    if meta.get("finalizers") or meta.get("deletionGracePeriodSeconds", 0) > 0:
        return
    if storage == "namespaces" and _finalizers(obj):
        return
    namespace = meta.get("namespace", "")
    if store.get(storage, namespace, meta["name"]) is not None:
        store.remove(storage, namespace, meta["name"])


def finalize(store: Store, namespace: Object, finalizer: str) -> None:
    """Take one of the finalizers of a namespace away; one without any that is deleted goes."""
    left = [name for name in _finalizers(namespace) if name != finalizer]
    set_finalizers(store, namespace, left)


def set_finalizers(store: Store, namespace: Object, finalizers: list[str]) -> None:
    """Write the finalizers in the spec of a namespace, in place."""
    namespace["spec"] = {"finalizers": finalizers} if finalizers else {}
    store.put("namespaces", namespace)
    if is_terminating(namespace):
        finish(store, "namespaces", namespace)


def _finalizers(namespace: Object) -> list[str]:
    """The finalizers in the spec of a namespace, not those of its metadata."""
    return (namespace.get("spec") or {}).get("finalizers") or []
