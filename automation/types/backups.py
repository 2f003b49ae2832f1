"""`backup`: the manifests of namespaces, kept in the database with retention."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from automation.backups import archives
from automation.context import Place, RunContext
from automation.inspection.cluster import SYSTEM_NAMESPACES
from automation.models import NamespaceArchive
from automation.types.base import FinishedStep, Step, StepResult, TaskType
from clusters.kinds import KINDS, Kind, lookup_kind, parse_reference
from clusters.models import Cluster
from core.api.attributes import AccessAttributes
from core.errors import ClusterUnavailable, Forbidden, Invalid
from workloads.manifests.export import DEFAULT_KINDS
from workloads.objects.discovery import discover

CONFIGMAPS = KINDS["configmaps"]
SECRETS = KINDS["secrets"]


class Backup(TaskType):
    """Exports namespaces; what a restore applies is exactly that text."""

    name = "backup"
    title = "Back up namespaces"
    description = (
        "The manifests of namespaces, in the order in which they are applied, kept encrypted in the"
        " database. Secrets are in them only with secrets: true."
    )
    params_schema: ClassVar[Mapping[str, Any]] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "kinds": {
                "title": "Kinds",
                "description": "Such as deployments or widgets.v1.example.com; when absent, what"
                " people make in a namespace.",
                "type": "array",
                "items": {"type": "string", "minLength": 1, "maxLength": 400},
                "minItems": 1,
                "maxItems": 100,
                "uniqueItems": True,
            },
            "secrets": {
                "title": "Secrets with their values",
                "type": "boolean",
                "default": False,
            },
            "keep": {
                "title": "Backups of a namespace that are kept",
                "type": "integer",
                "minimum": 1,
                "maximum": 1000,
                "default": 7,
            },
        },
    }

    def check(self, params: Mapping[str, Any]) -> None:
        """Invalid for words that name no kind, and for Secrets that are not asked for."""
        for place, text in enumerate(params.get("kinds", ())):
            kind = lookup_kind(text)
            if kind is None and parse_reference(text)[1].count(".") < 1:
                raise Invalid(
                    f"{text[:60]!r} names no kind, such as deployments or widgets.v1.example.com",
                    field=f"params.kinds[{place}]",
                )
            if kind is not None and not kind.namespaced:
                raise Invalid(
                    f"{kind.plural} are in no namespace",
                    field=f"params.kinds[{place}]",
                )
            if kind == SECRETS and not params.get("secrets"):
                raise Invalid(
                    "secrets are backed up only with secrets: true",
                    field=f"params.kinds[{place}]",
                )

    def acts(self, params: Mapping[str, Any]) -> list[AccessAttributes]:
        """Kinds that the owner may not read are left out of the backup, and named."""
        acts = [AccessAttributes("list", CONFIGMAPS.plural)]
        if params.get("secrets"):
            acts.append(AccessAttributes("reveal", SECRETS.plural))
        return acts

    def plan(self, context: RunContext) -> list[Step]:
        """A step for each namespace."""
        steps = []
        for place in context.places("list", CONFIGMAPS):
            context.beat()
            try:
                namespaces = list(_namespaces(place))
            except (ClusterUnavailable, Forbidden) as error:
                context.problems[place.cluster.pk] = error.message
                continue
            steps += [
                Step(
                    place.cluster.pk,
                    namespace,
                    namespace,
                    "Namespace",
                    f"back up namespace {namespace} of {place.cluster.name}"
                    f" ({_what(context.params)}) and keep the last {_keep(context.params)}",
                )
                for namespace in namespaces
            ]
        return steps

    def execute(
        self,
        context: RunContext,
        step: Step,
    ) -> StepResult:
        """Export the namespace, keep it, and drop the oldest archives of it."""
        cluster = context.cluster(step.cluster_id)
        kinds: list[Kind] = []
        left_out: list[dict[str, str]] = []
        for kind in _kinds(cluster, context.params):
            if kind == SECRETS:
                # Its values are written down, so that this is a read of them.
                with context.acting(
                    "reveal",
                    kind,
                    cluster,
                    step.namespace,
                ):
                    kinds.append(kind)
            elif context.may(
                "list",
                kind,
                cluster,
                step.namespace,
            ):
                kinds.append(kind)
            else:
                reason = f"{context.owner_name} may not list {kind.plural} here"
                left_out.append({"kind": kind.plural, "reason": reason})
        if context.run is None:
            return StepResult("a dry run keeps nothing", state="skipped")
        with context.acting(
            "list",
            CONFIGMAPS,
            cluster,
            step.namespace,
        ):
            row = archives.take(
                context.run,
                cluster,
                step.namespace,
                kinds,
                selector=context.targets.label_selector,
                names=context.targets.names,
                left_out=left_out,
            )
        dropped = archives.drop_old(
            context.task,
            cluster,
            step.namespace,
            _keep(context.params),
        )
        return StepResult(_sentence(row, dropped), data={"archive": row.pk})

    def result(
        self,
        context: RunContext,
        steps: Sequence[FinishedStep],
    ) -> dict[str, Any]:
        """{"steps", …, "archives": [what answers say of each]}."""
        counts = super().result(context, steps)
        if context.run is None:
            return counts
        rows = NamespaceArchive.objects.filter(run=context.run).defer("content")
        listed = [
            {
                **archives.represent(row),
                "objects": len(row.objects_listed),
            }
            for row in rows.select_related("cluster")
        ]
        return {**counts, "archives": listed}


def _namespaces(place: Place) -> Iterator[str]:
    if place.namespaces is not None:
        yield from place.namespaces
        return
    for namespace in archives.namespaces_of(place.cluster):
        if namespace not in SYSTEM_NAMESPACES:
            yield namespace


def _keep(params: Mapping[str, Any]) -> int:
    return int(params.get("keep", 7))


def _what(params: Mapping[str, Any]) -> str:
    kinds = params.get("kinds")
    text = ", ".join(kinds) if kinds else "what people make in it"
    return f"{text}, Secrets with values" if params.get("secrets") else f"{text}, no Secrets"


def _kinds(cluster: Cluster, params: Mapping[str, Any]) -> Iterator[Kind]:
    """The kinds to export, Secrets only where they are asked for."""
    names = list(params.get("kinds", DEFAULT_KINDS))
    if params.get("secrets") and "secrets" not in names:
        names.append("secrets")
    for name in names:
        kind = lookup_kind(name)
        if kind is None:
            plural, place = parse_reference(name)
            version, _, group = place.partition(".")
            kind = discover(cluster, group, version, plural)
        if kind != SECRETS or params.get("secrets"):
            yield kind


def _sentence(row: NamespaceArchive, dropped: int) -> str:
    text = f"{len(row.objects_listed)} objects, {row.size} bytes"
    if row.left_out:
        text += f"; left out: {', '.join(each['kind'] for each in row.left_out)}"
    if dropped:
        text += f"; {dropped} older dropped"
    return text
