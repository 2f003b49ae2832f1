"""What a text of manifests would do in a cluster: validation and comparison, nothing is changed."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from clusters.differences import changes
from clusters.manifest_text import (
    Problem,
    comparable_object,
    locate_field,
    problems_of_refusal,
)
from clusters.manifests import Object, to_yaml
from clusters.models import Cluster
from clusters.schema_check import schema_problems
from core import text_diff
from core.errors import Conflict, DomainError, NotFound
from workloads.manifests.apply import ApplyOptions, action_of, send_apply
from workloads.manifests.documents import PlannedObject, new_namespaces, stands_on_new
from workloads.manifests.masking import (
    is_secret_object,
    mask_texts,
    mask_values,
    without_values,
)
from workloads.manifests.order import in_apply_order
from workloads.objects import lists
from workloads.objects.schemas import read_schema

ACTIONS = {"created": "create", "configured": "configure", "unchanged": "unchanged"}


# --- validation -----------------------------------------------------------------------------------
def validate(
    cluster: Cluster, planned: Sequence[PlannedObject], *, unbounded: bool = False
) -> list[dict[str, Any]]:
    """Each document with its errors: syntax, then the cluster's schema, then a server dry run.

    {"index","line","apiVersion","kind","namespace","name","errors":[{"line","column","path",
    "message"}]}; lines and columns count from 1. A later check is left out where an earlier one
    has errors. `unbounded` as for `ApplyOptions`.
    """
    checker = _Checker(cluster, new_namespaces(planned), unbounded)
    return [
        {
            **item.identity(),
            "line": item.manifest.line,
            "apiVersion": str(item.obj.get("apiVersion") or ""),
            "errors": checker.check(item),
        }
        for item in planned
    ]


class _Checker:
    def __init__(self, cluster: Cluster, namespaces: frozenset[str], unbounded: bool) -> None:
        self._cluster = cluster
        self._new_namespaces = namespaces
        # Whose fields they are is a matter of applying, not of the text.
        self._options = ApplyOptions(dry_run=True, force_conflicts=True, unbounded=unbounded)
        # By (apiVersion, kind); None for kinds that the cluster does not describe.
        self._schemas: dict[tuple[str, str], Object | None] = {}

    def check(self, item: PlannedObject) -> list[dict[str, Any]]:
        manifest = item.manifest
        if manifest.problems:
            return [_error(problem) for problem in manifest.problems]
        if item.error is not None:
            field = str(item.error.details.get("field") or "kind")
            line, column, _end = locate_field(manifest.source, field)
            return [_error(Problem(line, column, 0, item.error.message), field)]
        return self._schema_errors(item) or self._refusals(item)

    def _schema_errors(self, item: PlannedObject) -> list[dict[str, Any]]:
        schema = self._schema(item)
        if schema is None:
            return []
        problems = schema_problems(item.manifest.source, schema)
        return [_error(problem, problem.field) for problem in problems]

    def _schema(self, item: PlannedObject) -> Object | None:
        if item.is_defined_here:
            return None
        key = (str(item.obj["apiVersion"]), item.kind_name)
        if key not in self._schemas:
            try:
                self._schemas[key] = read_schema(self._cluster, *key)
            except NotFound:
                self._schemas[key] = None
        return self._schemas[key]

    def _refusals(self, item: PlannedObject) -> list[dict[str, Any]]:
        """What the API server says against the object."""
        try:
            send_apply(self._cluster, item, self._options, dry_run=True)
        except DomainError as error:
            if not stands_on_new(item, error, self._new_namespaces):
                return _refusals(item, error)
        return []


def _refusals(item: PlannedObject, error: DomainError) -> list[dict[str, Any]]:
    """The API server's refusal, each of its causes at its place in the text."""
    problems = problems_of_refusal(item.manifest.source, error.message, error.details)
    rows = [_error(problem, problem.field) for problem in problems]
    return [{**row, "message": without_values(row["message"], item.obj)} for row in rows]


def _error(problem: Problem, path: str = "") -> dict[str, Any]:
    return {
        "line": problem.line,
        "column": problem.column + 1,
        "path": path,
        "message": problem.message,
    }


# --- comparison -----------------------------------------------------------------------------------
def compare_with_cluster(
    cluster: Cluster,
    planned: Sequence[PlannedObject],
    options: ApplyOptions,
    *,
    reveals: bool,
) -> list[dict[str, Any]]:
    """Each object beside what the API server would store, in the order of the text.

    {"index","kind","namespace","name","action","diff","changes","error"}. `action` is create,
    configure, unchanged or error; values of Secrets are masked unless `reveals`.
    """
    namespaces = new_namespaces(planned)
    rows = [
        _compare(cluster, item, options, namespaces, reveals) for item in in_apply_order(planned)
    ]
    return sorted(rows, key=lambda row: int(row["index"]))


def _compare(
    cluster: Cluster,
    item: PlannedObject,
    options: ApplyOptions,
    namespaces: frozenset[str],
    reveals: bool,
) -> dict[str, Any]:
    if item.kind is None:
        message = item.error.message if item.error else ""
        return _row(item, "error", error=message)
    refusal = ""
    before = None
    try:
        before = lists.peek(cluster, item.kind, item.name, namespace=item.namespace)
        after, refusal = _would_be(cluster, item, options)
    except DomainError as error:
        if not stands_on_new(item, error, namespaces):
            return _row(item, "error", error=without_values(error.message, item.obj))
        # The API server cannot say how it would store this before the text itself is applied.
        after = orjson.dumps(item.obj)
    action = "error" if refusal else ACTIONS[action_of(before, after)]
    return {
        **_row(item, action, error=refusal),
        **show_change(item, before, after, reveals=reveals),
    }


def show_change(
    item: PlannedObject,
    before: bytes | None,
    after: bytes | None,
    *,
    reveals: bool,
    hidden: Sequence[str] = (),
) -> dict[str, Any]:
    """{"diff","changes"} of an object's JSON before and after; None is an object that is not there.

    Values of a Secret are masked unless `reveals`, `hidden` texts always.
    """
    old = comparable_object(orjson.loads(before)) if before else None
    new = comparable_object(orjson.loads(after)) if after else None
    if is_secret_object(item.obj) and not reveals:
        old, new = mask_values(old, new)
    old = mask_texts(old, hidden)
    new = mask_texts(new, hidden)
    kind = item.kind.plural if item.kind else item.kind_name
    return {
        "diff": unified_diff(old, new, f"{kind}/{item.name}"),
        "changes": changes(old or {}, new or {}),
    }


def _would_be(cluster: Cluster, item: PlannedObject, options: ApplyOptions) -> tuple[bytes, str]:
    """(the object as it would be stored, why it would not be): a conflict of fields has both."""
    try:
        return send_apply(cluster, item, options, dry_run=True), ""
    except Conflict as conflict:
        forced = ApplyOptions(
            field_manager=options.field_manager,
            force_conflicts=True,
            unbounded=options.unbounded,
        )
        return send_apply(cluster, item, forced, dry_run=True), conflict.message


def _row(item: PlannedObject, action: str, *, error: str = "") -> dict[str, Any]:
    row: dict[str, Any] = {**item.identity(), "action": action, "diff": "", "changes": []}
    if error:
        row["error"] = error
    return row


def unified_diff(
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    name: str,
    *,
    sides: tuple[str, str] = ("live", "merged"),
) -> str:
    """Two objects as YAML in `diff -u` form, "" when they are equal; None is an empty text.

    `sides` stand before the name in the head of the diff, as folders do.
    """
    old = to_yaml(before) if before else ""
    new = to_yaml(after) if after else ""
    names = (f"{sides[0]}/{name}", f"{sides[1]}/{name}")
    return text_diff.unified_diff(old, new, names=names)
