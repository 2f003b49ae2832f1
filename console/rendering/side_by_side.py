"""One object over clusters as a table: a row for each path that differs, a column a cluster."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from console.rendering.diffs import short_text


@dataclass(frozen=True, slots=True)
class ComparedCell:
    """What a cluster has at a path; `differs` from the first cluster that has the object."""

    text: str
    differs: bool = False


@dataclass(frozen=True, slots=True)
class ComparedRow:
    """A path and its cell in each column."""

    path: str
    cells: list[ComparedCell]


def compared_rows(
    clusters: Sequence[Mapping[str, Any]],
    base: object,
) -> list[ComparedRow]:
    """The rows for the clusters that have the object, in the order of the paths.

    `clusters` as /multicluster/compare lists them, `base` the id that they are compared with.
    """
    found = [cluster for cluster in clusters if cluster["found"]]
    base_values = {
        change["path"]: change["before"] for cluster in found for change in cluster["changes"]
    }
    after = {
        cluster["cluster_id"]: {change["path"]: change["after"] for change in cluster["changes"]}
        for cluster in found
    }
    return [
        ComparedRow(
            path,
            [
                ComparedCell(_value_text(base_values[path]))
                if cluster["cluster_id"] == base
                else _cell(path, after[cluster["cluster_id"]], base_values[path])
                for cluster in found
            ],
        )
        for path in sorted(base_values)
    ]


def _cell(
    path: str,
    changes: Mapping[str, Any],
    base_value: object,
) -> ComparedCell:
    if path in changes:
        return ComparedCell(_value_text(changes[path]), differs=True)
    # Clusters may differ at different depths of the same member.
    if any(
        _is_below(
            path,
            changed,
        )
        or _is_below(changed, path)
        for changed in changes
    ):
        return ComparedCell(_("differs in part: see the other rows"), differs=True)
    return ComparedCell(_value_text(base_value))


def _is_below(path: str, ancestor: str) -> bool:
    return path.startswith((f"{ancestor}.", f"{ancestor}["))


def differing(rows: Iterable[ComparedRow], column: int) -> int:
    """How many rows differ in a column."""
    return sum(row.cells[column].differs for row in rows)


def _value_text(value: object) -> str:
    return "–" if value is None else short_text(value)
