"""How the objects of a deployment differ from what was rendered, by the store's copies of them.

No cluster is asked. What counts are the fields that were applied: what an API server or a
controller adds to them does not, nor another spelling of the same quantity.
"""

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from django.conf import settings

from clusters import quantities
from clusters.differences import ABSENT, Path, changes
from clusters.kinds import Kind
from clusters.manifests import Object
from clusters.models import Cluster
from clusters.resource_types import resource_type
from core.errors import DomainError
from manifest_templates.deployments import label_patch
from manifest_templates.models import DeploymentTarget
from storage_api import protection
from storage_api.collector.documents import keyed_hash
from storage_api.history.as_of import refuse_impersonated
from storage_api.services import snapshot, sync
from workloads.manifests.apply import DEPLOYMENT_LABEL
from workloads.manifests.documents import (
    BUILT_IN,
    NAMESPACE,
    Manifest,
    PlannedObject,
    as_text,
    merge_patch,
    read_manifests,
)
from workloads.manifests.masking import is_secret_object, mask_texts, mask_values

NOT_FRESH = "the store's copy is not fresh"
NO_COPY = "the store has no such kind of this cluster"
NOT_READABLE = "no key opens the store's copy"
OTHER_VERSION = "the store has it in another version of its API"
MayRead = Callable[[Cluster, PlannedObject], bool]


@dataclass(slots=True)
class Drift:
    """`items`: [{"cluster_id","kind","namespace","name","state","changes"}]; state is missing or
    changed, `changes` go from what was rendered to what there is.

    `unknown`: [{"cluster_id","cluster","kind","reason"}] where the store cannot say.
    """

    items: list[dict[str, Any]] = field(default_factory=list)
    unknown: list[dict[str, Any]] = field(default_factory=list)


def find_drift(
    text: str,
    targets: Iterable[DeploymentTarget],
    *,
    label: str,
    may_read: MayRead,
    hidden: Sequence[str],
) -> Drift:
    """The drift in some targets from what was rendered for them.

    `label` marks the deployment's objects. Only of objects that the caller `may_read`; values of
    Secrets and `hidden` texts are masked.
    """
    manifests = read_manifests(text)
    drift = Drift()
    # A cluster-wide object belongs to every target in its cluster, and is shown once.
    seen: set[tuple[int, str, str, str]] = set()
    for target in targets:
        cluster = target.cluster
        if cluster.deleted_at:
            drift.unknown.append(
                _unknown(
                    cluster,
                    "",
                    "the cluster was removed",
                )
            )
            continue
        planned = []
        for item in _plan(target, manifests, label):
            key = (cluster.pk, item.kind_name, item.namespace, item.name)
            if item.kind is not None and key not in seen and may_read(cluster, item):
                seen.add(key)
                planned.append(item)
        _compare_target(
            drift,
            cluster,
            planned,
            hidden,
        )
    return drift


def _plan(
    target: DeploymentTarget, manifests: Sequence[Manifest], label: str
) -> list[PlannedObject]:
    """Where the objects are, by the kinds that were resolved when they were sent."""
    resolved = [Kind(*data) for data in target.kinds]
    kinds = {**BUILT_IN, **{(kind.api_version, kind.name): kind for kind in resolved}}
    planned = []
    for manifest in manifests:
        obj = merge_patch(manifest.obj or {}, label_patch(label))
        metadata = obj.get("metadata")
        metadata = metadata if isinstance(metadata, dict) else {}
        if obj.get("kind") == NAMESPACE.name:
            # One that was there before was not marked.
            metadata["labels"].pop(DEPLOYMENT_LABEL)
        kind = kinds.get((as_text(obj.get("apiVersion")), as_text(obj.get("kind"))))
        namespace = target.namespace if kind and kind.namespaced else ""
        planned.append(
            PlannedObject(
                manifest,
                obj,
                kind,
                namespace,
                as_text(metadata.get("name")),
            )
        )
    return planned


def _compare_target(
    drift: Drift, cluster: Cluster, planned: Sequence[PlannedObject], hidden: Sequence[str]
) -> None:
    try:
        refuse_impersonated(cluster)
    except DomainError as error:
        drift.unknown.append(_unknown(cluster, "", error.message))
        return
    # First: what is read afterwards is at least as fresh as that.
    reasons = _Reasons(cluster)
    stored = snapshot.read_sealed(cluster, [_key(item) for item in planned])
    for item in planned:
        assert item.kind is not None  # noqa: S101  # others were left out
        reason = reasons.of(item.kind, item.namespace)
        text = stored.get(_key(item))
        live: Object | None = None
        try:
            live = orjson.loads(protection.unseal_all(text)) if text else None
        except ValueError:
            reason = NOT_READABLE
        if not reason and live and live.get("apiVersion") not in (None, item.obj["apiVersion"]):
            reason = OTHER_VERSION
        if reason:
            row = _unknown(cluster, item.kind_name, reason)
            if row not in drift.unknown:
                drift.unknown.append(row)
            continue
        found = []
        if live is not None:
            place = (cluster.name, item.namespace, item.name)
            found = object_changes(
                item.obj,
                live,
                place=place,
                hidden=hidden,
            )
        if live is None or found:
            drift.items.append(
                {
                    "cluster_id": cluster.pk,
                    "kind": item.kind_name,
                    "namespace": item.namespace,
                    "name": item.name,
                    "state": "changed" if live else "missing",
                    "changes": found,
                }
            )


def _key(item: PlannedObject) -> tuple[str, str, str]:
    assert item.kind is not None  # noqa: S101  # others were left out
    return resource_type(item.kind), item.namespace, item.name


class _Reasons:
    """Why the store cannot say anything of a kind in a cluster; read once for each kind."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        copies = sync.list_freshness(cluster)
        self._copies: dict[Kind, list[sync.Freshness]] = {}
        for copy in copies:
            self._copies.setdefault(copy.kind, []).append(copy)

    def of(self, kind: Kind, namespace: str) -> str:
        """The reason, "" when the copy is fresh."""
        copies = [
            copy
            for known, rows in self._copies.items()
            if (known.group, known.name) == (kind.group, kind.name)
            for copy in rows
        ]
        if not copies:
            return NO_COPY
        coverage = sync.coverage_of_copies(
            copies, self._cluster.namespaces, settings.STORE_FRESH_SECONDS, namespace=namespace
        )
        return "" if coverage is not None else NOT_FRESH


def _unknown(cluster: Cluster, kind: str, reason: str) -> dict[str, Any]:
    return {"cluster_id": cluster.pk, "cluster": cluster.name, "kind": kind, "reason": reason}


# --- one object -----------------------------------------------------------------------------------
def object_changes(
    applied: Object,
    live: Object,
    *,
    place: tuple[str, str, str] = ("", "", ""),
    hidden: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """[{"path","before","after"}] where the live object has other values than were applied.

    `place`: cluster, namespace and name of a Secret whose values are hashed in the live object.
    """
    before = _applied_fields(applied)
    live = _with_plain_data(live)
    if is_secret_object(applied):
        live = {
            **live,
            "data": _recognised(
                before["data"],
                live.get("data") or {},
                place,
            ),
        }
    after: Any = _projected((), before, live)
    if not is_secret_object(applied):
        return changes(mask_texts(before, hidden), mask_texts(after, hidden))
    old, new = mask_values(before, after)
    return changes(mask_texts(old, hidden), mask_texts(new, hidden))


def _applied_fields(applied: Object) -> Object:
    """What of a manifest is compared: not its identity, which is the same, nor its status."""
    document = _with_plain_data(applied)
    metadata = document.get("metadata") or {}
    document["metadata"] = {
        name: metadata[name] for name in ("labels", "annotations") if metadata.get(name)
    }
    for name in ("status", "apiVersion", "kind"):
        document.pop(name, None)
    return document


def _with_plain_data(obj: Object) -> Object:
    """A Secret as an API server keeps it, with its base64 in one spelling; others as they are."""
    document = dict(obj)
    if not is_secret_object(obj):
        return document
    data = {name: _canonical(value) for name, value in (obj.get("data") or {}).items()}
    for name, value in (document.pop("stringData", None) or {}).items():
        data[name] = base64.b64encode(str(value).encode()).decode()
    return {**document, "data": data}


def _recognised(
    applied: Mapping[str, Any], live: Mapping[str, Any], place: tuple[str, str, str]
) -> dict[str, Any]:
    """Hashed values as they were applied where they are the same."""
    return {
        name: applied[name]
        if name in applied and value == keyed_hash(applied[name], *place, "data", name)
        else value
        for name, value in live.items()
    }


def _canonical(value: Any) -> Any:
    try:
        return base64.b64encode(base64.b64decode(value)).decode()
    except (binascii.Error, TypeError, ValueError):
        return value


def _projected(path: Path, applied: Any, live: Any) -> Any:
    """The live value cut down to the fields of the applied one.

    What counts as the same is spelled as it was applied, so that it is no change.
    """
    if isinstance(applied, dict) and isinstance(live, dict):
        projected = {}
        for name, value in applied.items():
            part = _projected(
                (*path, name),
                value,
                live.get(name, ABSENT),
            )
            if part is not ABSENT:
                projected[name] = part
        return projected
    if isinstance(applied, list) and isinstance(live, list):
        return _projected_list(path, applied, live)
    if live is ABSENT:
        # The API server leaves out what says nothing.
        return applied if applied in (None, "", [], {}, False, 0) else ABSENT
    return applied if _is_same(path, applied, live) else live


def _is_same(path: Path, applied: Any, live: Any) -> bool:
    if applied is None:
        # null in a manifest asks for nothing.
        return True
    if isinstance(applied, bool) or isinstance(live, bool):
        return applied is live
    if applied == live:
        return True
    if not _is_quantity(path):
        return False
    number = quantities.parse(applied)
    return number is not None and number == quantities.parse(live)


# Members whose values are quantities, and members that are one.
QUANTITY_PARENTS = frozenset(
    {
        "limits",
        "requests",
        "hard",
        "capacity",
        "overhead",
        "min",
        "max",
        "default",
        "defaultRequest",
        "maxLimitRequestRatio",
        "podFixed",
    }
)
QUANTITIES = frozenset({"sizeLimit", "divisor", "averageValue"})


def _is_quantity(path: Path) -> bool:
    if len(path) < 2 or path[0] != "spec":
        return False
    parent, last = path[-2:]
    return parent in QUANTITY_PARENTS or last in QUANTITIES or (parent, last) == ("target", "value")


# Lists that Kubernetes merges by a key, so that others may add to them. Every other list is one
# value: an element more is a change.
MERGE_KEYS: Mapping[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "env": ("name",),
    "volumes": ("name",),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "imagePullSecrets": ("name",),
    "hostAliases": ("ip",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "secrets": ("name",),
}
CONTAINER_PORTS = ("containerPort", "protocol")
SERVICE_PORTS = ("port", "protocol")
# What a key has that a manifest leaves out.
KEY_DEFAULTS = {"protocol": "TCP"}


def _merge_keys(path: Path) -> tuple[str, ...]:
    """The members that name an element of the list at a path; none for a list that is one value."""
    last = str(path[-1]) if path else ""
    if last == "ports":
        if path == ("spec", "ports"):
            return SERVICE_PORTS
        return (
            CONTAINER_PORTS
            if len(path) > 2 and path[-3] in ("containers", "initContainers")
            else ()
        )
    return MERGE_KEYS.get(last, ())


def _projected_list(path: Path, applied: list[Any], live: list[Any]) -> list[Any]:
    names = _merge_keys(path)
    if names:
        by_key = {_key_of(element, names): element for element in live}
        keys = [_key_of(element, names) for element in applied]
        if None not in keys and len(set(keys)) == len(keys):
            return [
                _projected(
                    (*path, place),
                    element,
                    by_key[key],
                )
                for place, (key, element) in enumerate(zip(keys, applied, strict=True))
                if key in by_key
            ]
    if len(applied) != len(live):
        return live
    return [
        _projected(
            (*path, place),
            element,
            live[place],
        )
        for place, element in enumerate(applied)
    ]


def _key_of(element: Any, names: Sequence[str]) -> tuple[Any, ...] | None:
    if not isinstance(element, dict):
        return None
    key = tuple(element.get(name, KEY_DEFAULTS.get(name)) for name in names)
    return None if None in key else key
