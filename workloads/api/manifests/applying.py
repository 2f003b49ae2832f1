"""/manifests/apply: one text to one target at once, or to several as an operation."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from rest_framework.request import Request

from core.api.audit import AuditEvent
from core.api.auth import authorise
from core.api.confirmation import ConfirmationRequest, require_confirmation
from core.api.parsing import boolean, dry_run
from core.api.schema import (
    BOOLEAN,
    INTEGER,
    TEXT,
    OperationSchema,
    array,
)
from core.api.schema import record as schema
from core.errors import DomainError, Invalid
from operations import tasks
from workloads.actions import protection
from workloads.api.actions import caller
from workloads.api.manifests.base import (
    CONTENT,
    DOCUMENT,
    AuthorisedObject,
    ManifestView,
    bad_selector,
    may_give_any_right,
    object_act,
)
from workloads.api.manifests.targets import TARGETS, read_targets
from workloads.manifests import operation
from workloads.manifests.apply import (
    ApplyOptions,
    ApplyResult,
    StaleObject,
    apply_objects,
    check_field_manager,
    prunable,
    pruned_places,
)
from workloads.manifests.documents import (
    Manifest,
    PlannedObject,
    content_text,
    plan,
    read_manifests,
    require_readable,
)
from workloads.manifests.operation import ApplyTarget
from workloads.objects.object_ref import ObjectRef

# Objects times targets: each is asked of the policy before the first is sent.
MAX_WRITES = 5000
ON_FAILURE = ("stop", "continue")
APPLY_ANSWER = schema(
    required=(),
    documents=array(
        schema(
            **DOCUMENT,
            action={
                "type": "string",
                "enum": [
                    "created",
                    "configured",
                    "unchanged",
                    "pruned",
                    "failed",
                    "skipped",
                ],
            },
            code=INTEGER,
            msg=TEXT,
        )
    ),
    operation_id=INTEGER,
)


# A target, and its objects with their lines for the audit trail.
AdmittedTarget: TypeAlias = tuple[ApplyTarget, list[AuthorisedObject]]


class ApplyView(ManifestView):
    """What applying a text and copying an object share."""

    def apply_to(
        self,
        request: Request,
        text: str,
        targets: Sequence[ApplyTarget],
        options: ApplyOptions,
        *,
        wait: bool = False,
    ) -> Any:
        """Apply at once to a single target, else as an operation."""
        manifests = read_manifests(text)
        require_readable(manifests)
        allowed, options = self.admit(request, manifests, targets, options)
        details: dict[str, Any] = {"dry_run": True} if options.dry_run else {}
        if len(targets) == 1 and not wait:
            return self.apply_now(*allowed[0], options, details)
        _require_storable_names(allowed)
        row = operation.create(
            text,
            [target for target, _rows in allowed],
            options,
            wait=wait,
            requested_by=caller(request),
        )
        for _target, rows in allowed:
            for item in rows:
                annotate(item.event, details={**details, "operation_id": row.pk})
        tasks.enqueue(row)
        return {"operation_id": row.pk}

    def admit(
        self,
        request: Request,
        manifests: Sequence[Manifest],
        targets: Sequence[ApplyTarget],
        options: ApplyOptions,
        *,
        action: str = "prune",
        subject: tuple[str, str] = ("objects", ""),
    ) -> tuple[list[AdmittedTarget], ApplyOptions]:
        """Each target with its objects, once every right was asked, and pruning was confirmed.

        `action` and `subject` (kind, name) say what a confirmation is about; the selector is the
        name of none. ClusterUnavailable where a cluster's objects to prune cannot be read.
        """
        if len(manifests) * len(targets) > MAX_WRITES:
            raise Invalid(
                f"more than {MAX_WRITES} objects over all targets; apply them in parts",
                field="targets",
            )
        allowed: list[AdmittedTarget] = []
        for target in targets:
            planned = plan(
                target.cluster, manifests, namespace=target.namespace, patch=target.patch
            )
            rows = self.authorise_objects(request, target.cluster, planned, "apply")
            if options.prune_selector:
                self._authorise_pruning(request, target, planned)
            # Without objects nothing is written, so no right to give rights is handed on.
            unbounded = bool(rows) and may_give_any_right(rows)
            namespaces = {item.namespace for item in planned if item.kind is not None}
            namespaces |= {namespace for _kind, namespace in target.places}
            target = replace(target, unbounded=unbounded, namespaces=sorted(namespaces))
            allowed.append((target, rows))
        if options.prune_selector:
            # Read before anything is sent, so that a selector that is none changes nothing.
            stale = [
                (target, item)
                for target, rows in allowed
                for item in _prunable(target, rows, options.prune_selector)
            ]
            if not options.dry_run:
                kind, name = subject
                guarded = _pruning_request(stale, action, kind, name or options.prune_selector)
                if guarded is not None:
                    require_confirmation(request, guarded)
                options = replace(options, prune_confirmed=True)
        return allowed, options

    def apply_now(
        self,
        target: ApplyTarget,
        rows: Sequence[AuthorisedObject],
        options: ApplyOptions,
        details: Mapping[str, Any],
    ) -> dict[str, Any]:
        """{"documents"} of an admitted target; `details` go into the audit lines."""
        events = {row.planned.manifest.index: row.event for row in rows}
        options = replace(options, unbounded=target.unbounded)
        documents = []
        for result in apply_objects(target.cluster, [row.planned for row in rows], options):
            event = events.get(result.planned.manifest.index)
            annotate(event, details={**details, "action": result.action})
            if result.error is not None:
                annotate(event, error=result.error)
            if result.after is not None and not options.dry_run:
                annotate(event, before=result.before, after=result.after)
            documents.append({**result.summary(), "code": self._code(result)})
        return {"documents": sorted(documents, key=_document_place)}

    def _code(self, result: ApplyResult) -> int:
        """0, or the dialect's code for the failure."""
        if result.error is None:
            return 0
        _status, body = self.dialect.error(result.error, "PATCH")
        return int(body["code"]) if isinstance(body, dict) else -1

    def _authorise_pruning(
        self, request: Request, target: ApplyTarget, planned: Sequence[PlannedObject]
    ) -> None:
        for kind, namespace in pruned_places(planned, target.places):
            authorise(self, request, object_act("list", target.cluster, kind, namespace))
            authorise(self, request, object_act("delete", target.cluster, kind, namespace))


def _require_storable_names(allowed: Iterable[AdmittedTarget]) -> None:
    """Invalid for names with NUL characters, which no row of an operation can hold."""
    for _target, rows in allowed:
        for row in rows:
            item = row.planned
            if "\x00" in item.name or "\x00" in item.namespace:
                raise Invalid(
                    f"document {item.manifest.index}: its name contains a NUL character",
                    field="content",
                )


def _pruning_request(
    stale: Sequence[tuple[ApplyTarget, StaleObject]], action: str, kind: str, name: str
) -> ConfirmationRequest | None:
    """The deletion of exactly these objects, to be confirmed; None without objects."""
    if not stale:
        return None
    names: list[str] = []
    uids: list[str] = []
    reasons: list[str] = []
    for target, item in stale:
        ref = ObjectRef(target.cluster, item.kind, item.namespace, item.name)
        names.append(f"{item.kind.plural}/{item.name}")
        uids.append(str(item.item["metadata"]["uid"]))
        reasons.append(protection.protection_reason(ref, item.item))
    return ConfirmationRequest(
        action,
        kind,
        name,
        stale[0][0].namespace,
        # The confirmation is void when the selector matches other objects by then.
        identity=hashlib.sha256("".join(sorted(uids)).encode()).hexdigest(),
        protected=next(filter(None, reasons), ""),
        impact=lambda: {"children": len(names), "warnings": names[:20]},
    )


def _prunable(
    target: ApplyTarget, rows: Sequence[AuthorisedObject], selector: str
) -> list[StaleObject]:
    planned = [row.planned for row in rows]
    try:
        return prunable(target.cluster, planned, selector, target.places)
    except DomainError as error:
        raise bad_selector(error, "prune_selector") from None


def annotate(
    event: AuditEvent | None, *, details: Mapping[str, Any] | None = None, **facts: Any
) -> None:
    """Add facts to the line of one object; the latest line may be another's."""
    if event is None:
        return
    event.facts |= facts
    if details:
        event.facts["details"] = {**(event.facts.get("details") or {}), **details}


def _document_place(document: Mapping[str, Any]) -> tuple[bool, int]:
    """In the order of the text, what was pruned last."""
    return document["index"] < 0, int(document["index"])


class ApplyManifests(ApplyView):
    """POST /manifests/apply."""

    operations = {
        "post": OperationSchema(
            "Apply manifests to one or many clusters",
            APPLY_ANSWER,
            guarded=True,
            body=schema(
                required=("content",),
                **CONTENT,
                targets=TARGETS,
                dry_run=BOOLEAN,
                field_manager=TEXT,
                force_conflicts=BOOLEAN,
                prune_selector=TEXT,
                wait=BOOLEAN,
                on_failure={"type": "string", "enum": list(ON_FAILURE)},
            ),
            answer_name="ApplyResult",
            body_name="ManifestsToApply",
        )
    }

    def post(self, request: Request) -> Any:
        """{"documents"} of one target, or {"operation_id"} for several or with `wait`."""
        target = self.begin(request, "apply")
        body = target.body
        targets = read_targets(self, request, body, target.namespace)
        if "content" not in body:
            raise Invalid("content is required", field="content")
        options = ApplyOptions(
            dry_run=dry_run(body.get("dry_run", False)),
            field_manager=check_field_manager(body.get("field_manager")),
            force_conflicts=boolean(body.get("force_conflicts", False), "force_conflicts"),
            stop_at_failure=_on_failure(body) == "stop",
            prune_selector=_prune_selector(body),
        )
        wait = boolean(body.get("wait", False), "wait")
        return self.apply_to(request, content_text(body["content"]), targets, options, wait=wait)


def _on_failure(body: Mapping[str, Any]) -> str:
    value = body.get("on_failure", "stop")
    if value not in ON_FAILURE:
        raise Invalid("on_failure must be stop or continue", field="on_failure")
    return str(value)


def _prune_selector(body: Mapping[str, Any]) -> str:
    """The selector, "" when absent; Invalid for a blank one, which would select everything."""
    if "prune_selector" not in body:
        return ""
    value = body["prune_selector"]
    if not isinstance(value, str) or not value.strip(" \t\r\n,"):
        raise Invalid("prune_selector must select something", field="prune_selector")
    return value
