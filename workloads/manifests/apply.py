"""Server-side apply of many objects to one cluster, in order, with pruning."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import orjson

from clusters import registry
from clusters.client import ClusterClient
from clusters.kinds import Kind
from clusters.lists import list_all
from clusters.manifest_text import Document, has_same_content
from clusters.manifests import Object
from clusters.models import Cluster
from core.errors import Conflict, DomainError, Forbidden, Invalid, NamespaceNotFound, NotFound
from workloads.actions.protection import protection_reason
from workloads.manifests.documents import (
    CRD,
    NAMESPACE,
    Manifest,
    PlannedObject,
    new_namespaces,
    printable,
    stands_on_new,
)
from workloads.manifests.export import is_generated
from workloads.manifests.masking import without_values
from workloads.manifests.order import in_apply_order
from workloads.objects import lists, writes
from workloads.objects.object_ref import ObjectRef

FIELD_MANAGER = "kubegale"
# The label that marks the objects of a template's deployment, with a value of its own each.
DEPLOYMENT_LABEL = "kubegale.io/deployment"
# How long a CustomResourceDefinition may take until its kind is served.
ESTABLISH_SECONDS = 30.0
POLL_SECONDS = 0.2
NOT_CHECKED = "not checked: what it stands on is created by this text too"
NOT_SENT = "not sent: an object before it failed"


@dataclass(frozen=True, slots=True)
class ApplyOptions:
    """How to apply.

    `unbounded` is the caller's right to give rights (`writes.create_object`). Only with
    `prune_confirmed` are protected objects pruned. `deployment` is the label's value of the
    deployment whose objects these are: objects of another one are left alone.
    """

    dry_run: bool = False
    field_manager: str = FIELD_MANAGER
    force_conflicts: bool = False
    stop_at_failure: bool = True
    prune_selector: str = ""
    prune_confirmed: bool = False
    unbounded: bool = False
    deployment: str = ""


# A kind, and the namespace ("" for cluster-wide kinds) in which it is looked for.
Place: TypeAlias = tuple[Kind, str]


@dataclass(frozen=True, slots=True)
class ApplyResult:
    """What became of one object.

    `action` is created, configured, unchanged, pruned, failed or skipped. `before` and `after` are
    the object's JSON, for the audit trail.
    """

    planned: PlannedObject
    action: str
    message: str = "success"
    error: DomainError | None = None
    before: bytes | None = field(default=None, repr=False)
    after: bytes | None = field(default=None, repr=False)

    def summary(self) -> dict[str, Any]:
        """{"index","kind","namespace","name","action","msg"}: never a value of the object."""
        return {
            **self.planned.identity(),
            "action": self.action,
            "msg": printable(self.message),
        }


def check_field_manager(name: object) -> str:
    """The field manager's name, FIELD_MANAGER for none; Invalid as the API server judges it."""
    if name in (None, ""):
        return FIELD_MANAGER
    if not isinstance(name, str) or len(name) > 128 or not name.isprintable():
        raise Invalid(
            "field_manager must be printable text of at most 128 characters", field="field_manager"
        )
    return name


def apply_objects(
    cluster: Cluster,
    planned: Sequence[PlannedObject],
    options: ApplyOptions,
    *,
    places: Iterable[Place] = (),
    hidden: Sequence[str] = (),
    beat: Callable[[], None] = lambda: None,
) -> Iterator[ApplyResult]:
    """Apply the objects one after the other; a result for each, then for each pruned object.

    An object without a place in the cluster fails by itself. After another failure nothing more is
    sent, unless `stop_at_failure` is False, and nothing is pruned. `places` are looked at by
    pruning besides those of the text. Texts of `hidden` are masked in messages. `beat` is called
    before each object and may raise.
    """
    ordered = in_apply_order(planned)
    run = _ApplyRun(cluster, options, ordered, hidden)
    for item in ordered:
        beat()
        yield run.apply(item)
    if options.prune_selector and not run.failures:
        for stale in prunable(
            cluster,
            ordered,
            options.prune_selector,
            places,
        ):
            beat()
            yield _prune(cluster, stale, options)


class _ApplyRun:
    """What objects of one call need to know of each other."""

    def __init__(
        self,
        cluster: Cluster,
        options: ApplyOptions,
        planned: Sequence[PlannedObject],
        hidden: Sequence[str],
    ) -> None:
        self.failures = 0
        self._hidden = hidden
        self._cluster = cluster
        self._options = options
        self._stopped = False
        self._new_namespaces = new_namespaces(planned)

    def apply(self, item: PlannedObject) -> ApplyResult:
        if item.kind is None:
            self.failures += 1
            error = item.error or NotFound("the object has no kind")
            return ApplyResult(
                item,
                "failed",
                error.message,
                error,
            )
        if self._stopped:
            return ApplyResult(item, "skipped", NOT_SENT)
        try:
            return self._send(item, item.kind)
        except DomainError as error:
            if self._options.dry_run and stands_on_new(
                item,
                error,
                self._new_namespaces,
            ):
                return ApplyResult(item, "created", NOT_CHECKED)
            self.failures += 1
            self._stopped = self._options.stop_at_failure
            message = without_values(
                error.message,
                item.obj,
                self._hidden,
            )
            return ApplyResult(item, "failed", message, error)

    def _send(self, item: PlannedObject, kind: Kind) -> ApplyResult:
        before = lists.peek(
            self._cluster,
            kind,
            item.name,
            namespace=item.namespace,
        )
        if self._options.deployment and before is not None:
            item = _check_owner(
                item,
                before,
                self._options.deployment,
            )
        after = send_apply(
            self._cluster,
            item,
            self._options,
            dry_run=self._options.dry_run,
        )
        if kind == CRD and not self._options.dry_run:
            wait_until_established(registry.client(self._cluster), item.name)
        return ApplyResult(
            item,
            action_of(before, after),
            before=before,
            after=after,
        )


def deployment_of(obj: Mapping[str, Any]) -> str:
    """The value of DEPLOYMENT_LABEL that an object carries, "" for none."""
    metadata = obj.get("metadata")
    labels = metadata.get("labels") if isinstance(metadata, dict) else None
    return str(labels.get(DEPLOYMENT_LABEL) or "") if isinstance(labels, dict) else ""


def _check_owner(item: PlannedObject, before: bytes, deployment: str) -> PlannedObject:
    """The object to send over one that is there; Conflict when it is another deployment's."""
    owner = deployment_of(orjson.loads(before))
    if owner not in ("", deployment):
        raise Conflict(
            f"{item.kind_name} {item.name} belongs to another deployment ({owner})",
            reason="OtherDeployment",
        )
    if owner or item.kind != NAMESPACE:
        return item
    # A namespace that was there before stays unmarked: undeploying would delete all that is in it.
    metadata = item.obj["metadata"]
    labels = {name: value for name, value in metadata["labels"].items() if name != DEPLOYMENT_LABEL}
    return replace(item, obj={**item.obj, "metadata": {**metadata, "labels": labels}})


def action_of(before: bytes | None, after: bytes) -> str:
    """created, configured or unchanged.

    The resourceVersion says nothing: a dry run leaves it as it is, and a controller may have
    written the status between the two.
    """
    if before is None:
        return "created"
    old = orjson.loads(before)
    new = orjson.loads(after)
    is_same = has_same_content(old, new) and _applied_fields(old) == _applied_fields(new)
    return "unchanged" if is_same else "configured"


def _applied_fields(obj: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """(manager, its fields) of all who have applied the object."""
    entries = obj["metadata"].get("managedFields") or []
    fields = [
        (entry.get("manager", ""), entry.get("fieldsV1"))
        for entry in entries
        if entry.get("operation") == "Apply" and not entry.get("subresource")
    ]
    return sorted(fields, key=lambda field: field[0])


def send_apply(
    cluster: Cluster, item: PlannedObject, options: ApplyOptions, *, dry_run: bool
) -> bytes:
    """The applied object's JSON; raises what the API server refuses, conflicts of fields too."""
    assert item.kind is not None  # noqa: S101  # callers send only what has a place
    metadata = {
        # Server-side apply refuses a manifest that says who manages its fields.
        name: value
        for name, value in item.obj["metadata"].items()
        if name != "managedFields"
    }
    body = orjson.dumps({**item.obj, "metadata": metadata})
    query = {
        "dryRun": "All" if dry_run else "",
        "fieldManager": options.field_manager,
        "force": "true" if options.force_conflicts else "",
        # As kubectl: a misspelt field is an error, not something that is dropped in silence.
        "fieldValidation": "Strict",
    }

    def send() -> bytes:
        assert item.kind is not None  # noqa: S101  # as above
        return writes.patch_object(
            cluster,
            item.kind,
            item.name,
            body,
            patch="apply",
            namespace=item.namespace,
            options=query,
            unbounded=options.unbounded,
        )

    if not item.is_defined_here or dry_run:
        return send()
    return _until_served(send)


def _until_served(send: Callable[[], bytes]) -> bytes:
    """A new kind is established a moment before its path is answered."""
    deadline = time.monotonic() + ESTABLISH_SECONDS
    while True:
        try:
            return send()
        except NamespaceNotFound:
            raise
        except NotFound:
            if time.monotonic() > deadline:
                raise
        time.sleep(POLL_SECONDS)


def wait_until_established(client: ClusterClient, name: str) -> None:
    """Return when the cluster serves a CustomResourceDefinition's kind.

    Invalid, with the cluster's own sentence, when it does not within ESTABLISH_SECONDS.
    """
    deadline = time.monotonic() + ESTABLISH_SECONDS
    while True:
        definition = orjson.loads(client.get(CRD, name))
        conditions = {
            str(condition.get("type")): condition
            for condition in (definition.get("status") or {}).get("conditions") or []
        }
        if conditions.get("Established", {}).get("status") == "True":
            return
        if time.monotonic() > deadline:
            reason = conditions.get("NamesAccepted", {}).get("message") or "no reason"
            raise Invalid(f"the kind of {name} is not served yet: {reason}")
        time.sleep(POLL_SECONDS)


# --- pruning --------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class StaleObject:
    """An object of the selector that the text does not have any more."""

    kind: Kind
    item: Object

    @property
    def namespace(self) -> str:
        """Its namespace, "" for a cluster-wide kind."""
        return str(self.item["metadata"].get("namespace") or "") if self.kind.namespaced else ""

    @property
    def name(self) -> str:
        """metadata.name."""
        return str(self.item["metadata"]["name"])


def pruned_places(
    planned: Sequence[PlannedObject], more: Iterable[Place] = ()
) -> dict[Place, None]:
    """(kind, namespace) of every place that pruning looks at: where the text has objects.

    `more` places come after those.
    """
    namespaces = {item.namespace for item in planned if item.kind and item.kind.namespaced}
    places: dict[Place, None] = {}
    for item in planned:
        if item.kind is None:
            continue
        for namespace in sorted(namespaces) if item.kind.namespaced else [""]:
            places[item.kind, namespace] = None
    return places | dict.fromkeys(more)


def prunable(
    cluster: Cluster,
    planned: Sequence[PlannedObject],
    selector: str,
    places: Iterable[Place] = (),
) -> list[StaleObject]:
    """The objects that match the selector but are not in the text, last applied kinds first.

    Objects that another object owns, or that Kubernetes makes in every namespace, are never among
    them: their controllers decide.
    """
    current = {(item.kind, item.namespace, item.name) for item in planned}
    client = registry.client(cluster)
    stale = []
    for kind, namespace in pruned_places(planned, places):
        for item in _labelled(client, kind, namespace, selector):
            candidate = StaleObject(kind, {"kind": kind.name, **item})
            is_gone = (kind, candidate.namespace, candidate.name) not in current
            if is_gone and not is_generated(candidate.item):
                stale.append(candidate)
    # What was applied last goes first, so that nothing loses what it stands on.
    return stale[::-1]


def _labelled(client: ClusterClient, kind: Kind, namespace: str, selector: str) -> Iterable[Object]:
    try:
        return list_all(
            client,
            kind,
            namespace,
            labelSelector=selector,
        )
    except NotFound:
        # A custom kind that the cluster no longer serves has no objects.
        return []


def _prune(cluster: Cluster, stale: StaleObject, options: ApplyOptions) -> ApplyResult:
    planned = _as_planned(stale)
    ref = ObjectRef(
        cluster,
        stale.kind,
        stale.namespace,
        stale.name,
    )
    reason = "" if options.prune_confirmed else protection_reason(ref, stale.item)
    if reason:
        # Deleting a protected object was not confirmed.
        error = Forbidden(f"{stale.kind.name} {stale.name} {reason}: delete it by itself")
        return ApplyResult(
            planned,
            "failed",
            error.message,
            error,
        )
    try:
        registry.client(cluster).delete(
            stale.kind,
            stale.name,
            namespace=stale.namespace or None,
            options=_delete_options(stale, dry_run=options.dry_run),
        )
    except NotFound:
        return ApplyResult(
            planned,
            "pruned",
            "deleted already",
        )
    except DomainError as error:
        return ApplyResult(
            planned,
            "failed",
            error.message,
            error,
        )
    return ApplyResult(
        planned,
        "pruned",
        before=orjson.dumps(stale.item),
    )


def _as_planned(stale: StaleObject) -> PlannedObject:
    """A pruned object stands in no document: its index is -1."""
    source = Manifest(
        -1,
        Document("", 0, None, stale.item),
        stale.item,
    )
    return PlannedObject(
        source,
        stale.item,
        stale.kind,
        stale.namespace,
        stale.name,
    )


def _delete_options(stale: StaleObject, *, dry_run: bool) -> dict[str, Any]:
    options: dict[str, Any] = {
        "kind": "DeleteOptions",
        "apiVersion": "v1",
        "propagationPolicy": "Background",
        # Only the object that was judged, not a new one of its name.
        "preconditions": {"uid": stale.item["metadata"]["uid"]},
    }
    if dry_run:
        options["dryRun"] = ["All"]
    return options
