"""What is to be written so that an object is again as it was: the old version without what belongs to the server or to the live object."""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from clusters.kinds import KINDS, Kind
from clusters.manifests import LAST_APPLIED, Object, pruned

SERVER_OWNED = (
    *("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "selfLink"),
    *("deletionTimestamp", "deletionGracePeriodSeconds"),
)
# Of a live object these stay as they are: its owners and finalizers are kept by controllers, and so are these annotations.
LIVE_METADATA = ("ownerReferences", "finalizers")
LIVE_ANNOTATIONS = (
    LAST_APPLIED,
    "deployment.kubernetes.io/revision",
    "deprecated.daemonset.template.generation",
)
LIVE_SERVICE = ("clusterIP", "clusterIPs", "healthCheckNodePort")
# The deletion's own, which would delete the new object too.
DELETING = frozenset({"foregroundDeletion", "orphan"})
BINDING = ("pv.kubernetes.io/bind-completed", "pv.kubernetes.io/bound-by-controller")
JOB_LABELS = ("controller-uid", "batch.kubernetes.io/controller-uid")


@dataclass(frozen=True, slots=True)
class Plan:
    """`body` is what to send; `left_out` names, as dotted paths, what of the old version could not be taken over."""

    body: Object
    left_out: tuple[str, ...]


def plan(old: Object, live: Object | None, kind: Kind) -> Plan:
    """How an old version is written over the live object, or made anew where there is none."""
    body = deepcopy(old)
    body.pop("status", None)
    body["apiVersion"], body["kind"] = kind.api_version, kind.name
    metadata = body.setdefault("metadata", {})
    for member in SERVER_OWNED:
        metadata.pop(member, None)
    left_out = _over(body, live, kind) if live is not None else _anew(body, kind)
    return Plan(body, tuple(left_out))


def _over(body: Object, live: Object, kind: Kind) -> list[str]:
    metadata, now = body["metadata"], live["metadata"]
    metadata["resourceVersion"] = now["resourceVersion"]
    left_out = [
        f"metadata.{member}" for member in LIVE_METADATA if metadata.get(member) != now.get(member)
    ]
    _take(metadata, now, LIVE_METADATA)
    annotations = metadata.setdefault("annotations", {})
    _take(annotations, now.get("annotations") or {}, LIVE_ANNOTATIONS)
    if not annotations:
        del metadata["annotations"]
    if kind == KINDS["services"]:
        _take(body.setdefault("spec", {}), live.get("spec") or {}, LIVE_SERVICE)
    if "status" in live:
        # Where status is no subresource, a replacement without it would wipe it out.
        body["status"] = live["status"]
    return left_out


def _take(target: Object, source: Object, members: tuple[str, ...]) -> None:
    for member in members:
        target.pop(member, None)
        if member in source:
            target[member] = source[member]


def _anew(body: Object, kind: Kind) -> list[str]:
    """Take out what an object that is made anew must not have; the owners of then may be gone, and it would be collected at once."""
    metadata, spec = body["metadata"], body.get("spec") or {}
    left_out = ["metadata.ownerReferences"] if metadata.pop("ownerReferences", None) else []
    if kept := [name for name in metadata.pop("finalizers", None) or [] if name not in DELETING]:
        metadata["finalizers"] = kept
    if kind == KINDS["pods"] and spec.pop("nodeName", None):
        left_out.append("spec.nodeName")
    if kind == KINDS["services"] and spec.get("clusterIP") not in (None, "", "None"):
        for member in LIVE_SERVICE:
            spec.pop(member, None)
        left_out.append("spec.clusterIP")
    if kind == KINDS["persistentvolumeclaims"]:
        annotations = metadata.get("annotations") or {}
        left_out += [
            f"metadata.annotations.{name}" for name in BINDING if annotations.pop(name, None)
        ]
    if kind == KINDS["jobs"] and not spec.get("manualSelector"):
        left_out += _unbound(body, spec)
    return left_out


def _unbound(body: Object, spec: Object) -> list[str]:
    """A Job's selector is made out of its uid."""
    template = (spec.get("template") or {}).get("metadata") or {}
    for labels in (body["metadata"].get("labels") or {}, template.get("labels") or {}):
        for name in JOB_LABELS:
            labels.pop(name, None)
    return ["spec.selector"] if spec.pop("selector", None) else []


def comparable(obj: Object | None) -> Object:
    """What a restored object and the live one are compared by: all but status and what the server keeps."""
    found = pruned(deepcopy(obj or {}))
    found.pop("status", None)
    metadata: dict[str, Any] = found.get("metadata") or {}
    for member in SERVER_OWNED:
        metadata.pop(member, None)
    return found
