"""The difference between two versions of an object, without anything that could be a secret."""

import re
from collections.abc import Iterator
from typing import Any

import orjson

from clusters.manifests import MASK, Object

# Changes in one diff, and characters of one value.
LIMIT = 60
LONGEST = 200
# What the API server writes itself, and copies of the whole object.
NOISE = frozenset(
    {"managedFields", "resourceVersion", "generation", "creationTimestamp", "uid", "selfLink"}
)
SENSITIVE = re.compile(
    r"pass|secret|token|credential|api.?key|private|auth|cookie|session"
    r"|\bkey\b|kubeconfig|dsn|cert",
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
    """[{"path","before","after"}] for each leaf that changed, at most LIMIT.

    `before` or `after` is absent where there was no value. When there are more changes, a last row
    with the path "…" says how many.
    """
    old = dict(_leaves(_parse_manifest(before), ()))
    new = dict(_leaves(_parse_manifest(after), ()))
    changed = [path for path in {**old, **new} if old.get(path, MISSING) != new.get(path, MISSING)]
    lines = [_diff_line(path, old, new) for path in changed[:LIMIT]]
    if len(changed) > LIMIT:
        lines.append({"path": "…", "after": f"{len(changed) - LIMIT} more"})
    return lines


def _parse_manifest(raw: bytes | None) -> Object:
    try:
        manifest = orjson.loads(raw or b"{}")
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(manifest, dict):
        return {}
    # Controllers write the status: it is no change of the caller's.
    ignored = {"status", "apiVersion", "kind"}
    return {key: value for key, value in manifest.items() if key not in ignored}


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
    """The name of a list's member, else its index: so an insertion does not shift all others."""
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
    # These name a Secret or switch a token on, and contain none.
    harmless = {"secretName", "automountServiceAccountToken", "secretKeyRef"}
    return any(SENSITIVE.search(part) for part in path[-1:] if part not in harmless)


def _displayed_value(path: Path, value: object) -> object:
    if is_sensitive(path):
        return MASK
    if not isinstance(value, str):
        return value
    # A URL may contain a password.
    return USERINFO.sub(f"://{MASK}@", value)[:LONGEST]
