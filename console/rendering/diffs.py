"""Differences, ready to be shown: unified diffs line by line, and changes path by path."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from clusters.manifests import to_yaml

TONES = {"+": "added", "-": "removed", "@": "place"}
LONGEST = 400


class Line(NamedTuple):
    """One line of a diff and how it is to look."""

    text: str
    tone: str


class Change(NamedTuple):
    """One path, and what stood and stands there."""

    path: str
    op: str
    before: str
    after: str


def lines(diff: str) -> list[Line]:
    """The lines of a unified diff without its head."""
    return [
        Line(line, TONES.get(line[:1], ""))
        for line in diff.splitlines()
        if not line.startswith(("--- ", "+++ "))
    ]


def between(before: Any, after: Any) -> list[Line]:
    """How two documents differ as YAML."""
    old, new = as_yaml(before).splitlines(), as_yaml(after).splitlines()
    return lines("\n".join(difflib.unified_diff(old, new, lineterm="")))


def as_yaml(document: Any) -> str:
    """A document as YAML in the order that Kubernetes gave it."""
    return to_yaml(document)


def changes(found: Iterable[Mapping[str, Any]] | None) -> list[Change] | None:
    """The API's changes as short texts; None when the version before is no longer kept."""
    if found is None:
        return None
    return [
        Change(".".join(one["path"]), one["op"], _short(one.get("from")), _short(one.get("to")))
        for one in found
    ]


def _short(value: Any) -> str:
    if value is None:
        return ""
    text = (
        value
        if isinstance(value, str)
        else as_yaml(value).strip()
        if isinstance(value, dict | list)
        else str(value)
    )
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"
