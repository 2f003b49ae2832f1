"""Differences, ready to be shown: unified diffs line by line, and changes path by path."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from clusters.manifests import to_yaml
from core import text_diff

LINE_STYLES = {"+": "added", "-": "removed", "@": "place"}
MAX_LENGTH = 400


class DiffLine(NamedTuple):
    """One line of a diff and how it is to look."""

    text: str
    style: str


class FieldChange(NamedTuple):
    """One path, and what stood and stands there."""

    path: str
    op: str
    before: str
    after: str


def diff_lines(diff: str) -> list[DiffLine]:
    """The lines of a unified diff without its head."""
    return [
        DiffLine(line, LINE_STYLES.get(line[:1], ""))
        for line in diff.splitlines()
        if not line.startswith(("--- ", "+++ "))
    ]


def compare(before: Any, after: Any) -> list[DiffLine]:
    """How two documents differ as YAML."""
    old = as_yaml(before)
    new = as_yaml(after)
    return diff_lines(text_diff.unified_diff(old, new, names=("", "")))


def as_yaml(document: Any) -> str:
    """A document as YAML in the order that Kubernetes gave it."""
    return to_yaml(document)


def field_changes(
    api_changes: Iterable[Mapping[str, Any]] | None,
) -> list[FieldChange] | None:
    """The API's changes as short texts; None when the previous version has expired."""
    if api_changes is None:
        return None
    return [
        FieldChange(
            ".".join(change["path"]),
            change["op"],
            short_text(change.get("from")),
            short_text(change.get("to")),
        )
        for change in api_changes
    ]


def short_text(value: Any) -> str:
    """A value as YAML of at most MAX_LENGTH characters, "" for None."""
    if value is None:
        return ""
    text = as_yaml(value).strip() if isinstance(value, dict | list) else str(value)
    return text if len(text) <= MAX_LENGTH else text[:MAX_LENGTH] + "…"
