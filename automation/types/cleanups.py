"""`cleanup`: objects that nothing needs any more, reported, and deleted where that is asked for."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any, ClassVar

from django.utils import timezone

from alerts.conditions import parse_duration
from automation.cleanup.leftovers import CATEGORIES, UNUSED, Judgement, Leftover, leftover
from automation.cleanup.references import ClusterReferences, collect
from automation.cluster_objects import ClusterObjects, authoriser, choice_of
from automation.context import MAX_OBJECTS, Place, RunContext
from automation.types.base import FinishedStep, Step, StepResult, TaskType
from clusters import registry
from clusters.kinds import KINDS, Kind
from clusters.models import Cluster
from core.api.attributes import AccessAttributes
from core.errors import ClusterUnavailable, Conflict, DomainError, Forbidden, Invalid, NotFound
from workloads.actions.protection import SYSTEM_NAMESPACES, cluster_protection

# How long what is referred to in a namespace counts as looked at, while its objects are deleted.
CHECKED_SECONDS = 10.0
# So many namespaces are read by themselves; for more of them the whole cluster is.
FEW_NAMESPACES = 10
WOULD_DELETE = "would be deleted with delete: true"


class Cleanup(TaskType):
    """Chooses what is left over; deletes exactly that, as it was when it was chosen."""

    name = "cleanup"
    title = "Clean up"
    description = (
        "Evicted and completed pods, finished jobs, empty ReplicaSets, and ConfigMaps, Secrets and"
        " PersistentVolumeClaims that nothing refers to. They are reported, and deleted only with"
        " delete: true. System namespaces are left alone unless they are named."
    )
    params_schema: ClassVar[Mapping[str, Any]] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "delete": {
                "title": "Delete what is reported",
                "type": "boolean",
                "default": False,
            },
            "kinds": {
                "title": "Kinds",
                "description": "What to clean up; everything when absent.",
                "type": "array",
                "items": {"type": "string", "enum": list(CATEGORIES)},
                "minItems": 1,
                "uniqueItems": True,
            },
            "min_age": {
                "title": "Minimum age",
                "description": "What is left over for less time stays, such as 30m or 24h.",
                "type": ["string", "integer"],
                "default": "24h",
            },
        },
    }

    def check(self, params: Mapping[str, Any]) -> None:
        """Invalid for a min_age that is no duration."""
        _min_age(params)

    def acts(self, params: Mapping[str, Any]) -> list[AccessAttributes]:
        """Listing each kind, and deleting it where that is asked for."""
        verbs = ("list", "delete") if params.get("delete") else ("list",)
        return [
            AccessAttributes(verb, kind.plural, kind.group)
            for kind in _kinds(params)
            for verb in verbs
        ]

    def is_dangerous(self, params: Mapping[str, Any]) -> bool:
        """With delete: true."""
        return bool(params.get("delete"))

    def plan(self, context: RunContext) -> list[Step]:
        """A step for each object that is left over, by cluster, kind, namespace and name."""
        judgement = Judgement(timezone.now(), _min_age(context.params))
        references: dict[int, ClusterReferences] = {}
        steps: list[Step] = []
        for kind in _kinds(context.params):
            verb = "delete" if context.params.get("delete") else "list"
            for place in context.places(verb, kind):
                cluster = place.cluster
                if cluster.pk in context.problems:
                    continue
                context.beat()
                if kind.plural in UNUSED and cluster.pk not in references:
                    try:
                        references[cluster.pk] = _references(context, place)
                    except DomainError as error:
                        # Nobody knows what is used there; pods and jobs can be judged all the same.
                        steps.append(
                            _not_judged(
                                cluster,
                                kind,
                                error,
                            )
                        )
                        continue
                known = references.get(cluster.pk, ClusterReferences())
                try:
                    chosen = list(
                        _leftovers(
                            context,
                            place,
                            kind,
                            known,
                            judgement,
                        )
                    )
                except (ClusterUnavailable, Forbidden) as error:
                    context.problems[cluster.pk] = error.message
                    continue
                steps += [
                    _step(
                        context,
                        place.cluster,
                        kind,
                        each,
                    )
                    for each in chosen
                ]
                if len(steps) > MAX_OBJECTS:
                    raise Invalid(f"more than {MAX_OBJECTS} objects; name namespaces or kinds")
        order = {name: place for place, name in enumerate(CATEGORIES)}
        return sorted(
            steps,
            key=lambda step: (
                step.cluster_id,
                order[step.data["category"]],
                step.namespace,
                step.name,
            ),
        )

    def execute(
        self,
        context: RunContext,
        step: Step,
    ) -> StepResult:
        """Delete the object unless it has changed since it was chosen; without `delete` nothing."""
        if not context.params.get("delete"):
            return StepResult(f"{step.data['reason']}: {WOULD_DELETE}")
        cluster = context.cluster(step.cluster_id)
        kind = KINDS[step.data["category"]]
        # A protected cluster that the task names was confirmed when it was saved.
        reason = cluster_protection(cluster) if context.targets.clusters is None else ""
        if reason:
            return StepResult(f"left alone: it {reason}", state="skipped")
        if kind.plural in UNUSED and self._is_used_now(
            context,
            cluster,
            kind,
            step,
        ):
            return StepResult(
                "left alone: something refers to it by now",
                state="skipped",
            )
        with context.acting(
            "delete",
            kind,
            cluster,
            step.namespace,
            step.name,
        ):
            return _delete(cluster, kind, step)

    def _is_used_now(
        self,
        context: RunContext,
        cluster: Cluster,
        kind: Kind,
        step: Step,
    ) -> bool:
        """Looked at again just before: between plan and deletion may lie an approval."""
        references = _CHECKED.get(
            context,
            cluster,
            step.namespace,
        )
        return references.is_used(
            kind.plural,
            step.namespace,
            step.name,
        )

    def result(
        self,
        context: RunContext,
        steps: Sequence[FinishedStep],
    ) -> dict[str, Any]:
        """{"steps", …, "deleted": bool, "objects": number by kind}."""
        objects: dict[str, int] = {}
        for finished in steps:
            category = finished.step.data.get("category")
            if category is not None and finished.state in ("succeeded", "pending"):
                objects[category] = objects.get(category, 0) + 1
        deletes = bool(context.params.get("delete")) and context.run is not None
        return {
            **super().result(context, steps),
            "deleted": deletes,
            "objects": objects,
        }


class _CheckedReferences:
    """What is referred to in the namespace that a run is at, looked at again every few seconds."""

    def __init__(self) -> None:
        # (run, cluster, namespace), when they were read, and they themselves: always replaced as
        # one, since other threads may clean up elsewhere.
        self._latest: tuple[tuple[int | None, int, str], float, ClusterReferences] | None = None

    def get(
        self,
        context: RunContext,
        cluster: Cluster,
        namespace: str,
    ) -> ClusterReferences:
        """The references as of at most CHECKED_SECONDS ago, read from the cluster itself."""
        key = (context.run, cluster.pk, namespace)
        latest = self._latest
        if latest is not None:
            known_key, read_at, references = latest
            if known_key == key and time.monotonic() - read_at <= CHECKED_SECONDS:
                return references
        read_at = time.monotonic()
        references = collect(
            cluster,
            frozenset([namespace]),
            live=True,
        )
        self._latest = (key, read_at, references)
        return references


_CHECKED = _CheckedReferences()


def _min_age(params: Mapping[str, Any]) -> timedelta:
    return timedelta(
        seconds=parse_duration(
            params.get("min_age", "24h"),
            "params.min_age",
        )
    )


def _kinds(params: Mapping[str, Any]) -> list[Kind]:
    chosen = params.get("kinds", tuple(CATEGORIES))
    return [KINDS[plural] for plural in CATEGORIES if plural in chosen]


def _references(context: RunContext, place: Place) -> ClusterReferences:
    """What is referred to where a place's objects are; raises as `references.collect`."""
    named = context.targets.namespaces
    namespaces = None
    if named is not None and len(named) <= FEW_NAMESPACES:
        namespaces = frozenset(named)
    return collect(place.cluster, namespaces)


def _leftovers(
    context: RunContext,
    place: Place,
    kind: Kind,
    references: ClusterReferences,
    judgement: Judgement,
) -> Iterator[Leftover]:
    namespaces = None if place.namespaces is None else frozenset(place.namespaces)
    is_chosen = choice_of(context.targets)
    reader = ClusterObjects(
        place.cluster,
        authoriser(context),
        namespaces,
        # What is deleted is what the cluster itself says, not its copy.
        live=True,
    )
    for number, obj in enumerate(reader.read(kind)):
        if number % 1000 == 999:
            context.beat()
        namespace = str(obj["metadata"].get("namespace") or "")
        # A namespace that the task names is meant.
        if namespace in SYSTEM_NAMESPACES and namespace not in (context.targets.namespaces or ()):
            continue
        if not is_chosen(obj):
            continue
        judged = leftover(
            kind.plural,
            obj,
            references,
            judgement,
        )
        if judged is not None:
            yield judged


def _not_judged(
    cluster: Cluster,
    kind: Kind,
    error: DomainError,
) -> Step:
    return Step(
        cluster.pk,
        "",
        kind.plural,
        kind.name,
        f"{kind.plural} are left alone: what is used is not clear: {error.message}",
        data={"category": kind.plural},
        state="skipped",
    )


def _step(
    context: RunContext,
    cluster: Cluster,
    kind: Kind,
    chosen: Leftover,
) -> Step:
    verb = "delete" if context.params.get("delete") else "report"
    return Step(
        cluster.pk,
        chosen.namespace,
        chosen.name,
        kind.name,
        f"{verb} {kind.name} {chosen.namespace}/{chosen.name}: {chosen.reason}",
        data=asdict(chosen),
    )


def _delete(
    cluster: Cluster,
    kind: Kind,
    step: Step,
) -> StepResult:
    options = {
        "kind": "DeleteOptions",
        "apiVersion": "v1",
        "propagationPolicy": "Background",
        # Only the object that was reported, as it was reported.
        "preconditions": {
            "uid": step.data["uid"],
            "resourceVersion": step.data["resource_version"],
        },
    }
    try:
        registry.client(cluster).delete(
            kind,
            step.name,
            namespace=step.namespace,
            options=options,
        )
    except NotFound:
        return StepResult("deleted already")
    except Conflict:
        return StepResult(
            "left alone: it has changed since it was reported",
            state="skipped",
        )
    return StepResult(f"deleted: {step.data['reason']}")
