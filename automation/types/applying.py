"""`apply_manifests`: a text of manifests applied to targets, and undone where a run is."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import orjson

from automation.context import RunContext
from automation.types.base import HIDDEN, Again, Step, StepResult, TaskType
from clusters.kinds import Kind
from clusters.manifest_text import has_same_content
from clusters.manifests import Object
from clusters.models import Cluster
from core import crypto
from core.api.attributes import AccessAttributes
from core.errors import ClusterUnavailable, DomainError, Invalid, NotFound, Rejected
from workloads.manifests import preview
from workloads.manifests.apply import (
    ApplyOptions,
    ApplyResult,
    apply_objects,
    check_field_manager,
)
from workloads.manifests.documents import (
    Manifest,
    PlannedObject,
    content_text,
    plan,
    read_manifests,
    require_readable,
)
from workloads.manifests.masking import is_secret_object
from workloads.manifests.operation import objects_to_wait_for, pending_sentence
from workloads.objects import lists, writes

# Between two looks at what a step waits for.
POLL_SECONDS = 2.0
MAX_NAMED = 5


class ApplyManifests(TaskType):
    """Server-side apply of one text to each cluster, and namespace, of the targets."""

    name = "apply_manifests"
    title = "Apply manifests"
    description = "A text of manifests, applied to every cluster and namespace of the targets."
    supports_rollback = True
    params_schema: ClassVar[Mapping[str, Any]] = {
        "type": "object",
        "additionalProperties": False,
        "required": ["content"],
        "properties": {
            "content": {
                "title": "Manifests",
                "description": "YAML or JSON, of many documents.",
                "type": ["string", "object", "array"],
            },
            "field_manager": {"title": "Field manager", "type": "string", "maxLength": 128},
            "force_conflicts": {
                "title": "Take over fields of other managers",
                "type": "boolean",
                "default": False,
            },
            "wait": {
                "title": "Wait until workloads are ready",
                "type": "boolean",
                "default": False,
            },
        },
    }

    def check(self, params: Mapping[str, Any]) -> None:
        """Invalid, with line and column, for a text that cannot be read."""
        try:
            _manifests(params)
            check_field_manager(params.get("field_manager"))
        except Invalid as error:
            field = error.details.get("field", "content")
            details = {**error.details, "field": f"params.{field}"}
            raise Invalid(error.message, **details) from None

    def acts(self, params: Mapping[str, Any]) -> list[AccessAttributes]:
        """Each object is asked for besides, when the run chooses and when it acts."""
        return [AccessAttributes("apply", "manifests")]

    def shown(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """A text with Secrets in it is not shown."""
        rows = super().shown(params)
        if any(is_secret_object(manifest.obj or {}) for manifest in _manifests(params)):
            rows["content"] = HIDDEN
        return rows

    def plan(self, context: RunContext) -> list[Step]:
        """A step for each target, whose message names each object and what happens to it."""
        manifests = _manifests(context.params)
        steps = []
        for cluster, namespace in targets_of(context):
            context.beat()
            try:
                planned = _planned(
                    context,
                    cluster,
                    namespace,
                    manifests,
                )
                rows = preview.compare_with_cluster(
                    cluster, planned, _options(context), reveals=False
                )
            except ClusterUnavailable as error:
                context.problems[cluster.pk] = error.message
                continue
            steps.append(
                Step(
                    cluster.pk,
                    namespace,
                    cluster.name,
                    "Manifests",
                    describe_changes(rows),
                    data={"documents": _without_values(rows)},
                )
            )
        return steps

    def execute(
        self,
        context: RunContext,
        step: Step,
    ) -> StepResult | Again:
        """First what is there is kept, then all is applied, then it is waited for."""
        cluster = context.cluster(step.cluster_id)
        if "before" not in step.data:
            planned = _planned(
                context,
                cluster,
                step.namespace,
                _manifests(context.params),
            )
            text = orjson.dumps(_present_objects(cluster, planned)).decode()
            return Again(
                0,
                "what is there now is kept",
                {"before": crypto.encrypt(text)},
            )
        if "pending" not in step.data:
            planned = _planned(
                context,
                cluster,
                step.namespace,
                _manifests(context.params),
            )
            results = apply_planned(
                context,
                cluster,
                planned,
                _options(context),
            )
            done = describe_results(results)
            if not context.params.get("wait"):
                return StepResult(done)
            pending = objects_to_wait_for(results)
            return Again(
                0,
                "waiting",
                {"pending": pending, "done": done},
            )
        return wait_for(context, cluster, step)

    def rollback(
        self,
        context: RunContext,
        step: Step,
    ) -> StepResult:
        """Objects that were not there are deleted, the others replaced by what they were."""
        if "before" not in step.data:
            return StepResult("nothing was applied")
        cluster = context.cluster(step.cluster_id)
        rows = orjson.loads(crypto.decrypt(step.data["before"]))
        counts = {"deleted": 0, "put back": 0, "unchanged": 0}
        # What was applied last goes first.
        for row in reversed(rows):
            context.beat()
            counts[_put_back(context, cluster, row)] += 1
        texts = [f"{count} {what}" for what, count in counts.items() if count]
        return StepResult(f"rolled back: {', '.join(texts) or 'no objects'}")


def targets_of(context: RunContext) -> list[tuple[Cluster, str]]:
    """Each cluster with each namespace of the targets, "" where they name none."""
    namespaces: Sequence[str] = context.targets.namespaces or ("",)
    return [(cluster, namespace) for cluster in context.clusters() for namespace in namespaces]


def _manifests(params: Mapping[str, Any]) -> list[Manifest]:
    manifests = read_manifests(content_text(params["content"]))
    require_readable(manifests)
    return manifests


def _options(context: RunContext) -> ApplyOptions:
    return ApplyOptions(
        field_manager=check_field_manager(context.params.get("field_manager")),
        force_conflicts=bool(context.params.get("force_conflicts", False)),
    )


def _planned(
    context: RunContext,
    cluster: Cluster,
    namespace: str,
    manifests: Sequence[Manifest],
) -> list[PlannedObject]:
    planned = plan(cluster, manifests, namespace=namespace)
    require_objects(context, cluster, planned)
    return planned


def require_objects(
    context: RunContext,
    cluster: Cluster,
    planned: Sequence[PlannedObject],
) -> None:
    """Forbidden unless the owner may apply every object, before the first is sent."""
    for item in planned:
        if item.kind is not None:
            context.require(
                "apply",
                item.kind,
                cluster,
                item.namespace,
                item.name,
            )


def is_unbounded(
    context: RunContext,
    cluster: Cluster,
    planned: Sequence[PlannedObject],
) -> bool:
    """Whether the owner may give rights beyond those of a namespace's administrator."""
    return all(
        context.require(
            "apply",
            item.kind,
            cluster,
            item.namespace,
            item.name,
        ).unbounded
        for item in planned
        if item.kind is not None
    )


def apply_planned(
    context: RunContext,
    cluster: Cluster,
    planned: Sequence[PlannedObject],
    options: ApplyOptions,
) -> list[ApplyResult]:
    """Apply all, a line of the audit trail for each; Rejected, naming each, when some failed."""
    options = ApplyOptions(
        field_manager=options.field_manager,
        force_conflicts=options.force_conflicts,
        unbounded=is_unbounded(context, cluster, planned),
    )
    results = []
    for result in apply_objects(
        cluster,
        planned,
        options,
        beat=context.beat,
    ):
        if isinstance(result.error, ClusterUnavailable):
            # All of it is tried again: what was applied stays unchanged then.
            raise result.error
        results.append(result)
        _audit(context, cluster, result)
    failed = [result for result in results if result.action == "failed"]
    if failed:
        sentences = [
            f"{result.planned.kind_name} {result.planned.name}: {result.message}"
            for result in failed
        ]
        raise Rejected("; ".join(sentences), reason="SomeFailed")
    return results


def _audit(
    context: RunContext,
    cluster: Cluster,
    result: ApplyResult,
) -> None:
    item = result.planned
    if item.kind is None or result.action == "skipped":
        return
    try:
        with context.acting(
            "apply",
            item.kind,
            cluster,
            item.namespace,
            item.name,
        ) as facts:
            facts["details"] = {**facts.get("details", {}), "action": result.action}
            if result.error is not None:
                raise result.error
            facts["before"] = result.before
            facts["after"] = result.after
    except DomainError:
        # The result says it; here it only had to reach the trail.
        return


def describe_results(results: Sequence[ApplyResult]) -> str:
    """`2 created, 1 unchanged`."""
    counts: dict[str, int] = {}
    for result in results:
        counts[result.action] = counts.get(result.action, 0) + 1
    return ", ".join(f"{count} {action}" for action, count in counts.items())


def describe_changes(rows: Sequence[Mapping[str, Any]]) -> str:
    """`create Deployment web; configure Service web; 3 unchanged`, of what a comparison gives."""
    texts: list[str] = []
    unchanged = 0
    for row in rows:
        if row["action"] == "unchanged":
            unchanged += 1
            continue
        text = f"{row['action']} {row['kind']} {row['name']}"
        if row.get("error"):
            text += f": {row['error']}"
        texts.append(text)
    if len(texts) > MAX_NAMED * 10:
        texts = [*texts[: MAX_NAMED * 10], f"{len(texts) - MAX_NAMED * 10} more"]
    if unchanged:
        texts.append(f"{unchanged} unchanged")
    return "; ".join(texts) or "no objects"


def _without_values(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The comparison's rows without what changes: a step names objects only."""
    members = ("index", "kind", "namespace", "name", "action")
    return [{name: row[name] for name in members} for row in rows]


def wait_for(
    context: RunContext,
    cluster: Cluster,
    step: Step,
) -> StepResult | Again:
    """Look once at what the step waits for; Rejected for what will never be ready."""
    client = context.client(cluster.pk)
    pending = []
    sentences = []
    for address in step.data["pending"]:
        context.beat()
        if sentence := pending_sentence(client, address):
            pending.append(address)
            sentences.append(f"{address['name']}: {sentence}")
    if not pending:
        return StepResult(str(step.data["done"]))
    return Again(
        POLL_SECONDS,
        "; ".join(sentences),
        {"pending": pending},
    )


# --- rolling back ---------------------------------------------------------------------------------
def _present_objects(cluster: Cluster, planned: Sequence[PlannedObject]) -> list[dict[str, Any]]:
    """Each object's place, and the object itself or None when it is not there."""
    rows = []
    for item in planned:
        if item.kind is None:
            continue
        raw = lists.peek(
            cluster,
            item.kind,
            item.name,
            namespace=item.namespace,
        )
        kind = item.kind
        rows.append(
            {
                "kind": [kind.name, kind.plural, kind.group, kind.version, kind.namespaced],
                "namespace": item.namespace,
                "name": item.name,
                "object": None if raw is None else orjson.loads(raw),
            }
        )
    return rows


def _put_back(
    context: RunContext,
    cluster: Cluster,
    row: Mapping[str, Any],
) -> str:
    """What was done: "deleted", "put back" or "unchanged"."""
    kind = Kind(*row["kind"])
    name = str(row["name"])
    namespace = str(row["namespace"])
    current = lists.peek(
        cluster,
        kind,
        name,
        namespace=namespace,
    )
    earlier: Object | None = row["object"]
    if earlier is None:
        if current is None:
            return "unchanged"
        uid = orjson.loads(current)["metadata"]["uid"]
        with context.acting(
            "delete",
            kind,
            cluster,
            namespace,
            name,
        ) as facts:
            facts["before"] = current
            _delete(
                context,
                cluster,
                kind,
                namespace,
                name,
                uid,
            )
        return "deleted"
    if current is not None and has_same_content(orjson.loads(current), earlier):
        return "unchanged"
    earlier["metadata"].pop("managedFields", None)
    earlier["metadata"].pop("resourceVersion", None)
    with context.acting(
        "update",
        kind,
        cluster,
        namespace,
        name,
    ) as facts:
        scope = context.require(
            "update",
            kind,
            cluster,
            namespace,
            name,
        )
        facts["before"] = current
        facts["after"] = _write_back(
            cluster,
            kind,
            earlier,
            current,
            scope.unbounded,
        )
    return "put back"


def _write_back(
    cluster: Cluster,
    kind: Kind,
    earlier: Object,
    current: bytes | None,
    unbounded: bool,
) -> bytes:
    namespace = str(earlier["metadata"].get("namespace") or "")
    name = str(earlier["metadata"]["name"])
    if current is None:
        earlier["metadata"].pop("uid", None)
        return writes.create_object(
            cluster, kind, earlier, namespace=namespace, unbounded=unbounded
        )
    return writes.update_object(
        cluster, kind, name, earlier, namespace=namespace, unbounded=unbounded
    )


def _delete(
    context: RunContext,
    cluster: Cluster,
    kind: Kind,
    namespace: str,
    name: str,
    uid: str,
) -> None:
    options = {
        "kind": "DeleteOptions",
        "apiVersion": "v1",
        "propagationPolicy": "Background",
        "preconditions": {"uid": uid},
    }
    try:
        context.client(cluster.pk).delete(
            kind,
            name,
            namespace=namespace or None,
            options=options,
        )
    except NotFound:
        return
