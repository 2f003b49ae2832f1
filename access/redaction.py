"""What changed in an object, without anything that could be a secret."""

import re
from collections.abc import Iterator
from typing import Any

import orjson

from clusters.manifests import MASK, Object

LIMIT = 60
LONGEST = 200
# What the API server writes itself, and copies of the whole object.
NOISE = frozenset(
    {"managedFields", "resourceVersion", "generation", "creationTimestamp", "uid", "selfLink"}
)
SENSITIVE = re.compile(
    r"pass|secret|token|credential|api.?key|private|auth|cookie|session|\bkey\b|kubeconfig|dsn|cert",
    re.IGNORECASE,
)
# Members whose values are free text, in which people do put passwords.
FREE_TEXT = frozenset(
    {"data", "stringData", "binaryData", "env", "args", "command", "annotations", "caBundle"}
)
ENV_NAMED = frozenset({"name", "key", "fieldPath", "optional"})
USERINFO = re.compile(r"://[^/@\s]*@")
MISSING = object()
Path = tuple[str, ...]


def diff(before: bytes | None, after: bytes | None) -> list[dict[str, Any]]:
    """[{"path","before","after"}] for each leaf that changed: `before` or `after` is absent where there was none. At most 60."""
    old, new = (dict(_leaves(_object(side), ())) for side in (before, after))
    changed = [path for path in {**old, **new} if old.get(path, MISSING) != new.get(path, MISSING)]
    lines = [_diff_line(path, old, new) for path in changed[:LIMIT]]
    if len(changed) > LIMIT:
        lines.append({"path": "…", "after": f"{len(changed) - LIMIT} more"})
    return lines


def _object(raw: bytes | None) -> Object:
    try:
        found = orjson.loads(raw or b"{}")
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {
        key: value for key, value in found.items() if key not in {"status", "apiVersion", "kind"}
    }


def _leaves(value: object, path: Path) -> Iterator[tuple[Path, object]]:
    if isinstance(value, dict):
        for key, child in value.items():
            if not (path[:1] == ("metadata",) and key in NOISE):
                yield from _leaves(child, (*path, str(key)))
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from _leaves(child, (*path, _member_name(child, index)))
    else:
        yield path, value


def _member_name(child: object, index: int) -> str:
    """List members by name where they have one, so that an insertion does not shift all others."""
    name = child.get("name") if isinstance(child, dict) else None
    return f"[{name}]" if isinstance(name, str) else f"[{index}]"


def _diff_line(path: Path, old: dict[Path, object], new: dict[Path, object]) -> dict[str, Any]:
    line: dict[str, Any] = {"path": ".".join(path)[:LONGEST]}
    for side, values in (("before", old), ("after", new)):
        if path in values:
            line[side] = _displayed_value(path, values[path])
    return line


def is_sensitive(path: Path) -> bool:
    """Whether the value at a path may be a secret."""
    if any(part in FREE_TEXT for part in path):
        return not (path[-1] in ENV_NAMED and "env" in path)
    return any(
        SENSITIVE.search(part)
        for part in path[-1:]
        if part not in {"secretName", "automountServiceAccountToken", "secretKeyRef"}
    )


def _displayed_value(path: Path, value: object) -> object:
    if is_sensitive(path):
        return MASK
    return USERINFO.sub(f"://{MASK}@", value)[:LONGEST] if isinstance(value, str) else value
