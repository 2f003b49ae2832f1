"""What is written to restore an object: an old version, adapted to the live object.

The old version loses what belongs to the API server, and takes over from the live object what
belongs to controllers.
"""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from clusters.kinds import KINDS, Kind
from clusters.manifests import LAST_APPLIED, Object, prune

SERVER_OWNED = (
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "generation",
    "managedFields",
    "selfLink",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)
# A live object keeps these: controllers own its owners, finalizers and these annotations.
LIVE_METADATA = ("ownerReferences", "finalizers")
LIVE_ANNOTATIONS = (
    LAST_APPLIED,
    "deployment.kubernetes.io/revision",
    "deprecated.daemonset.template.generation",
)
# Immutable, or allocated by the API server.
LIVE_SERVICE = ("clusterIP", "clusterIPs", "healthCheckNodePort")
# The finalizers of a deletion by propagation policy: they would delete the new object, too.
DELETING = frozenset({"foregroundDeletion", "orphan"})
BINDING = ("pv.kubernetes.io/bind-completed", "pv.kubernetes.io/bound-by-controller")
JOB_LABELS = ("controller-uid", "batch.kubernetes.io/controller-uid")


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """`body` is the manifest to send.

    `left_out` names, as dotted paths, what of the old version could not be taken over.
    """

    body: Object
    left_out: tuple[str, ...]


def build_plan(
    old: Object,
    live: Object | None,
    kind: Kind,
) -> RestorePlan:
    """How an old version replaces the live object, or is created where there is none."""
    body = deepcopy(old)
    body.pop("status", None)
    # The old version may have been stored in another version of its API.
    body["apiVersion"] = kind.api_version
    body["kind"] = kind.name
    metadata = body.setdefault("metadata", {})
    for member in SERVER_OWNED:
        metadata.pop(member, None)
    left_out = _adapt_to_create(body, kind) if live is None else _adapt_to_live(body, live, kind)
    return RestorePlan(body, tuple(left_out))


def _adapt_to_live(body: Object, live: Object, kind: Kind) -> list[str]:
    """Take over what the live object keeps; the paths that differed there."""
    metadata = body["metadata"]
    live_metadata = live["metadata"]
    # The replacement fails when another write comes in between.
    metadata["resourceVersion"] = live_metadata["resourceVersion"]
    left_out = [
        f"metadata.{member}"
        for member in LIVE_METADATA
        if metadata.get(member) != live_metadata.get(member)
    ]
    _copy_members(live_metadata, metadata, LIVE_METADATA)
    annotations = metadata.setdefault("annotations", {})
    _copy_members(
        live_metadata.get("annotations") or {},
        annotations,
        LIVE_ANNOTATIONS,
    )
    if not annotations:
        del metadata["annotations"]
    if kind == KINDS["services"]:
        _copy_members(
            live.get("spec") or {},
            body.setdefault("spec", {}),
            LIVE_SERVICE,
        )
    if "status" in live:
        # Where status is no subresource, a replacement without it would wipe it out.
        body["status"] = live["status"]
    return left_out


def _copy_members(
    source: Object,
    target: Object,
    members: tuple[str, ...],
) -> None:
    """Make these members of the target what they are in the source, absent ones too."""
    for member in members:
        target.pop(member, None)
        if member in source:
            target[member] = source[member]


def _adapt_to_create(body: Object, kind: Kind) -> list[str]:
    """Remove what a new object must not have; the paths of what was removed."""
    metadata = body["metadata"]
    spec = body.get("spec") or {}
    left_out = []
    # Its owners may be gone: the garbage collector would then delete the new object at once.
    if metadata.pop("ownerReferences", None):
        left_out.append("metadata.ownerReferences")
    finalizers = metadata.pop("finalizers", None) or []
    finalizers = [name for name in finalizers if name not in DELETING]
    if finalizers:
        metadata["finalizers"] = finalizers
    if kind == KINDS["pods"] and spec.pop("nodeName", None):
        left_out.append("spec.nodeName")
    if kind == KINDS["services"] and spec.get("clusterIP") not in (None, "", "None"):
        # The address may belong to another Service by now. "None" is a headless Service's.
        for member in LIVE_SERVICE:
            spec.pop(member, None)
        left_out.append("spec.clusterIP")
    if kind == KINDS["persistentvolumeclaims"]:
        annotations = metadata.get("annotations") or {}
        removed = [name for name in BINDING if annotations.pop(name, None)]
        left_out += [f"metadata.annotations.{name}" for name in removed]
    if kind == KINDS["jobs"] and not spec.get("manualSelector"):
        left_out += _remove_job_selector(body, spec)
    return left_out


def _remove_job_selector(body: Object, spec: Object) -> list[str]:
    """The API server generates a Job's selector, and the labels for it, from the Job's uid."""
    template = (spec.get("template") or {}).get("metadata") or {}
    for labels in (body["metadata"].get("labels") or {}, template.get("labels") or {}):
        for name in JOB_LABELS:
            labels.pop(name, None)
    return ["spec.selector"] if spec.pop("selector", None) else []


def comparable(manifest: Object | None) -> Object:
    """What a restored object and the live one are compared by.

    All but the status and what the API server owns; {} for None.
    """
    content = prune(deepcopy(manifest or {}))
    content.pop("status", None)
    metadata: dict[str, Any] = content.get("metadata") or {}
    for member in SERVER_OWNED:
        metadata.pop(member, None)
    return content
