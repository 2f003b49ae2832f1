"""Two backups beside each other: what of their namespaces was added, changed and removed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from automation import definitions
from automation.backups.restoring import archived_objects
from automation.models import NamespaceArchive, Run
from clusters.differences import changes
from clusters.kinds import Kind, lookup_kind, parse_reference
from clusters.manifests import Object
from clusters.models import Cluster
from core.errors import DomainError, Invalid, NotFound
from workloads.manifests.documents import KindResolver
from workloads.manifests.export import DEFAULT_KINDS
from workloads.manifests.masking import is_secret_object, mask_values
from workloads.manifests.preview import unified_diff

# Objects on both sides of one comparison.
MAX_OBJECTS = 10_000
# Whether the caller may read an object of the kind: cluster, kind, namespace, name.
MayRead = Callable[[Cluster, Kind, str, str], bool]
# (kind of the object, its name)
_Key = tuple[Kind, str]


@dataclass(slots=True)
class Comparison:
    """What two backups differ in.

    `documents` are as /manifests/diff gives them, with `cluster_id`; `action` is create, configure,
    delete or unchanged. `left_out` is what cannot be compared: {"run_id","cluster_id","namespace",
    "kind","reason"}. `hidden` is the number of objects that the caller may not read.
    """

    documents: list[dict[str, Any]]
    left_out: list[dict[str, Any]]
    hidden: int = 0


@dataclass(frozen=True, slots=True)
class _Pair:
    before: NamespaceArchive
    after: NamespaceArchive


def compare_runs(
    before: Run,
    after: Run,
    archives: tuple[Sequence[NamespaceArchive], Sequence[NamespaceArchive]],
    *,
    namespace: str,
    may_read: MayRead,
) -> Comparison:
    """What the second backup has other than the first; `archives` are those of each.

    `namespace` "" compares all that both have. NotFound for a namespace that neither has, Invalid
    for more than MAX_OBJECTS.
    """
    comparison = Comparison([], [])
    pairs = _pairs(before, after, archives, namespace, comparison)
    count = sum(len(pair.before.objects_listed) + len(pair.after.objects_listed) for pair in pairs)
    if count > MAX_OBJECTS:
        raise Invalid(
            f"the backups have {count} objects, more than {MAX_OBJECTS}: name a namespace",
            field="namespace",
        )
    exported = (_exported_kinds(before), _exported_kinds(after))
    for pair in pairs:
        _NamespaceComparison(pair, comparison, may_read).run(*exported)
    for index, document in enumerate(comparison.documents):
        document["index"] = index
    return comparison


def _pairs(
    before: Run,
    after: Run,
    archives: tuple[Sequence[NamespaceArchive], Sequence[NamespaceArchive]],
    namespace: str,
    comparison: Comparison,
) -> list[_Pair]:
    sides = [
        {(row.cluster_id, row.namespace): row for row in rows if namespace in ("", row.namespace)}
        for rows in archives
    ]
    old, new = sides
    places = sorted(old.keys() | new.keys())
    if not places:
        raise NotFound(f"neither backup has a namespace {namespace}")
    pairs = []
    for place in places:
        if place in old and place in new:
            pairs.append(_Pair(old[place], new[place]))
            continue
        # It may have been made later, or could not be backed up then: nobody knows.
        missing = after if place in old else before
        reason = f"run {missing.pk} has no backup of this namespace"
        row = old.get(place) or new[place]
        _leave_out(comparison, missing.pk, row, "namespaces", reason)
    return pairs


def _leave_out(
    comparison: Comparison,
    run: int,
    archive: NamespaceArchive,
    kind: str,
    reason: str,
) -> None:
    comparison.left_out.append(
        {
            "run_id": run,
            "cluster_id": archive.cluster_id,
            "namespace": archive.namespace,
            "kind": kind,
            "reason": reason,
        }
    )


def _exported_kinds(run: Run) -> frozenset[str]:
    """The plurals of the kinds that a run was asked to back up."""
    params = definitions.params_of(run)
    plurals = set()
    for text in params.get("kinds", DEFAULT_KINDS):
        kind = lookup_kind(text)
        plurals.add(kind.plural if kind else parse_reference(text)[0])
    plurals.discard("secrets")
    if params.get("secrets"):
        plurals.add("secrets")
    return frozenset(plurals)


class _NamespaceComparison:
    """One namespace in both backups."""

    def __init__(self, pair: _Pair, comparison: Comparison, may_read: MayRead) -> None:
        self._pair = pair
        self._comparison = comparison
        self._may_read = may_read
        self._resolver = KindResolver(pair.after.cluster)

    def run(self, before_kinds: frozenset[str], after_kinds: frozenset[str]) -> None:
        """Add what differs, and what could not be compared."""
        skipped = self._leave_out_kinds(before_kinds, after_kinds)
        old = self._read(self._pair.before)
        new = self._read(self._pair.after)
        keys = sorted(old.keys() | new.keys(), key=lambda key: (key[0].name, key[1]))
        for kind, name in keys:
            if kind.plural in skipped:
                continue
            if not self._may_read(self._pair.after.cluster, kind, self._namespace, name):
                self._comparison.hidden += 1
                continue
            row = self._document(kind, name, old.get((kind, name)), new.get((kind, name)))
            self._comparison.documents.append(row)

    @property
    def _namespace(self) -> str:
        return self._pair.after.namespace

    def _leave_out_kinds(
        self,
        before_kinds: frozenset[str],
        after_kinds: frozenset[str],
    ) -> set[str]:
        """The kinds that only one of the two could have: they are named, not compared."""
        skipped = set()
        sides = (
            (self._pair.before, after_kinds - before_kinds),
            (self._pair.after, before_kinds - after_kinds),
        )
        for archive, missing in sides:
            reasons = {str(row["kind"]): str(row["reason"]) for row in archive.left_out}
            for kind in missing:
                reasons.setdefault(kind, f"run {archive.run_id} does not back up {kind}")
            for kind, reason in sorted(reasons.items()):
                _leave_out(self._comparison, archive.run_id, archive, kind, reason)
                skipped.add(kind)
        return skipped

    def _read(self, archive: NamespaceArchive) -> dict[_Key, Object]:
        objects = {}
        for obj in archived_objects(archive):
            try:
                kind, _ = self._resolver.resolve(str(obj["apiVersion"]), str(obj["kind"]))
            except DomainError:
                # A custom kind that the cluster does not serve now: nobody's rights are known.
                self._comparison.hidden += 1
                continue
            objects[kind, str(obj["metadata"]["name"])] = obj
        return objects

    def _document(
        self,
        kind: Kind,
        name: str,
        before: Object | None,
        after: Object | None,
    ) -> dict[str, Any]:
        if is_secret_object(before or after or {}):
            before, after = mask_values(before, after)
        sides = (f"run-{self._pair.before.run_id}", f"run-{self._pair.after.run_id}")
        return {
            "cluster_id": self._pair.after.cluster_id,
            "index": 0,
            "kind": kind.name,
            "namespace": self._namespace if kind.namespaced else "",
            "name": name,
            "action": _action(before, after),
            "diff": unified_diff(before, after, f"{kind.plural}/{name}", sides=sides),
            "changes": changes(before or {}, after or {}),
        }


def _action(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> str:
    if before is None:
        return "create"
    if after is None:
        return "delete"
    return "unchanged" if before == after else "configure"
