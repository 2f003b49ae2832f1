"""Field ownership (`metadata.managedFields`) and server-side apply, after structured-merge-diff."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import orjson

from simcluster.errors import ApiError
from simcluster.resources import Object
from simcluster.schema import ANY, Node

Path = tuple[str, ...]
Fields = frozenset[Path]

_MISSING = object()
_UNTRACKED = {
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
    "managedFields",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One manager's claim."""

    manager: str
    operation: str
    api_version: str
    subresource: str
    time: str
    fields: Fields

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """What tells two claims apart."""
        return self.manager, self.operation, self.api_version, self.subresource

    @property
    def label(self) -> str:
        """The manager as conflict messages name it."""
        text = f'"{self.manager}"'
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        if self.operation == "Update":
            text += f" using {self.api_version}"
        return text

    def document(self) -> Object:
        """The entry as `metadata.managedFields` holds it."""
        body: Object = {
            "manager": self.manager,
            "operation": self.operation,
            "apiVersion": self.api_version,
        }
        if self.time:
            body["time"] = self.time
        body["fieldsType"] = "FieldsV1"
        body["fieldsV1"] = _encode(self.fields)
        if self.subresource:
            body["subresource"] = self.subresource
        return body


def _encode(fields: Fields) -> Object:
    tree: Object = {}
    for path in sorted(fields):
        at = tree
        for part in path:
            at = at.setdefault(part, {})
        # "." stands for the field itself, not for what is below it.
        at["."] = {}
    return _tidy(tree)


def _tidy(tree: Object) -> Object:
    # A leaf needs no dot: the key alone says that it is owned.
    if set(tree) == {"."}:
        return {}
    return {key: {} if key == "." else _tidy(value) for key, value in sorted(tree.items())}


def _decode(tree: Object, path: Path = ()) -> Iterator[Path]:
    if not tree and path:
        yield path
    for key, value in tree.items():
        if key == ".":
            yield path
        else:
            yield from _decode(value, (*path, key))


def entries_of(obj: Object) -> list[Entry]:
    """The claims that an object carries."""
    entries = []
    for claim in obj.get("metadata", {}).get("managedFields") or ():
        fields = frozenset(_decode(claim.get("fieldsV1") or {}))
        about = (
            claim.get("manager", ""),
            claim.get("operation", "Update"),
            claim.get("apiVersion", ""),
            claim.get("subresource", ""),
        )
        entries.append(Entry(*about, claim.get("time", ""), fields))
    return entries


def _key_of(item: Any, node: Node) -> str:
    if node.set:
        return "v:" + orjson.dumps(item).decode()
    # An item is known by its keys, with their defaults: a port without protocol is TCP.
    keys = (
        {key: item.get(key, node.default_of(key)) for key in node.list_keys}
        if isinstance(item, dict)
        else {}
    )
    present = {key: value for key, value in keys.items() if value is not None}
    return "k:" + orjson.dumps(present, option=orjson.OPT_SORT_KEYS).decode()


def _child(node: Node, key: str) -> Node:
    return node.fields.get(key) or (node.items if node.type == "map" else ANY)


def _members(value: Any, node: Node) -> dict[str, tuple[Any, Node]] | None:
    """The separately owned parts of a value by path element; None when it is owned whole."""
    if node.atomic:
        return None
    if isinstance(value, dict):
        return {f"f:{key}": (item, _child(node, key)) for key, item in value.items()}
    if isinstance(value, list):
        return {_key_of(item, node): (item, ANY if node.set else node.items) for item in value}
    return None


def _changed(old: Any, new: Any, node: Node, path: Path) -> Iterator[Path]:
    """The paths that are new or different in `new`."""
    # A new field is owned itself, and so is everything below it.
    if old is _MISSING and path:
        yield path
    members = _members(new, node)
    if members is None:
        if old is not _MISSING and old != new:
            yield path
        return
    before = (_members(old, node) or {}) if old is not _MISSING and old is not None else {}
    for key, (value, child) in members.items():
        yield from _changed(before.get(key, (_MISSING,))[0], value, child, (*path, key))


def _every(value: Any, node: Node, path: Path = ()) -> Iterator[Path]:
    yield path
    for key, (item, child) in (_members(value, node) or {}).items():
        yield from _every(item, child, (*path, key))


def _claims(value: Any, node: Node, path: Path = ()) -> Iterator[Path]:
    """The paths that an applied configuration claims: leaves, keys of maps, items of lists."""
    members = _members(value, node)
    if not members:
        yield path
        return
    for key, (item, child) in members.items():
        # Keys of maps and items of lists are claimed themselves, structs only by their leaves.
        if not key.startswith("f:") or node.type == "map":
            yield (*path, key)
        yield from _claims(item, child, (*path, key))


def _tracked(obj: Object, *, without_status: bool) -> Object:
    body = {
        key: value
        for key, value in obj.items()
        if key not in ("kind", "apiVersion") and not (without_status and key == "status")
    }
    body["metadata"] = {
        key: value for key, value in obj.get("metadata", {}).items() if key not in _UNTRACKED
    }
    return body


def _skeleton(node: Node) -> Object:
    """What an empty object of this type already holds: structs, and lists never omitted."""
    body: Object = {}
    for key, child in node.fields.items():
        if child.struct and child.type == "object":
            body[key] = _skeleton(child)
        elif child.type == "array" and key in node.required:
            body[key] = None
    return body


def _empty(node: Node) -> Object:
    body = _skeleton(node)
    for key in ("metadata", "spec", "status"):
        child = node.fields.get(key)
        if child is not None and key not in body and child.type == "object":
            body[key] = _skeleton(child)
    return body


def record_update(old: Object | None, new: Object, node: Node, entry: Entry) -> None:
    """Write the claims of a create or update into `new`: its manager owns what it changed."""
    # The main resource does not own the status, and the status nothing else.
    main = entry.subresource != "status"
    after = _tracked(new, without_status=main and "status" in node.fields)
    before = (
        _tracked(old, without_status=main and "status" in node.fields)
        if old is not None
        else _empty(node)
    )
    touched = frozenset(_changed(before, after, node, ()))
    if old is None:
        _write(new, [replace(entry, fields=touched)])
        return
    # Claims to fields that no longer exist are dropped.
    present = frozenset(_every(_tracked(new, without_status=False), node))
    claims = entries_of(old)
    mine = next(
        (claim for claim in claims if claim.identity == entry.identity),
        replace(entry, fields=frozenset()),
    )
    fields = (mine.fields | touched) & present
    # The time of an entry moves only when its manager has changed something.
    updated = replace(entry, fields=fields) if touched else replace(mine, fields=fields)
    others = [
        replace(claim, fields=(claim.fields - touched) & present)
        for claim in claims
        if claim.identity != entry.identity
    ]
    _write(new, [*others, updated])


def _write(obj: Object, claims: list[Entry]) -> None:
    owning = sorted(
        (claim for claim in claims if claim.fields),
        key=lambda claim: (claim.operation, claim.time, claim.manager),
    )
    obj["metadata"].pop("managedFields", None)
    if owning:
        obj["metadata"]["managedFields"] = [claim.document() for claim in owning]


def apply(live: Object | None, config: Object, node: Node, *, entry: Entry, force: bool) -> Object:
    """Server-side apply of `config` by the manager of `entry`; 409 for fields of others."""
    tracked = _tracked(config, without_status=False)
    claimed = frozenset(path for path in _claims(tracked, node) if path)
    if live is None:
        created = copy.deepcopy(config)
        _write(created, [replace(entry, fields=claimed)])
        return created
    claims = entries_of(live)
    mine = next((claim for claim in claims if claim.identity == entry.identity), None)
    others = [claim for claim in claims if claim is not mine]
    merged: Object = _merge(live, config, node)
    if mine is not None:
        # Fields that this manager applied before and names no more are removed unless others own
        # them; the longest paths first, so that parents end up empty.
        owned = frozenset(path for claim in others for path in claim.fields)
        for path in sorted(mine.fields - claimed - owned, key=len, reverse=True):
            if not any(other[: len(path)] == path for other in claimed | owned):
                _prune(merged, path, node)
    touched = frozenset(
        _changed(
            _tracked(live, without_status=False),
            _tracked(merged, without_status=False),
            node,
            (),
        )
    )
    # Same values are no conflict: only fields that the apply would change are.
    if not force:
        _refuse_conflicts(others, touched & claimed)
    others = [replace(claim, fields=claim.fields - (touched & claimed)) for claim in others]
    same = mine is not None and mine.fields == claimed and not touched
    _write(
        merged,
        [*others, mine if same and mine else replace(entry, fields=claimed)],
    )
    return merged


def _merge(live: Any, config: Any, node: Node) -> Any:
    # Owned as a whole, or of another type: replaced.
    if node.atomic or type(live) is not type(config):
        return copy.deepcopy(config)
    if isinstance(config, dict):
        result = dict(live)
        for key, value in config.items():
            result[key] = (
                _merge(live[key], value, _child(node, key)) if key in live else copy.deepcopy(value)
            )
        return result
    if isinstance(config, list):
        return _merge_list(live, config, node)
    return config


def _merge_list(live: list[Any], config: list[Any], node: Node) -> list[Any]:
    result = {_key_of(item, node): item for item in live}
    for item in config:
        key = _key_of(item, node)
        result[key] = (
            _merge(result[key], item, node.items)
            if key in result and not node.set
            else copy.deepcopy(item)
        )
    return list(result.values())


def _prune(obj: Any, path: Path, node: Node) -> None:
    head = path[0]
    rest = path[1:]
    if isinstance(obj, dict):
        key = head[2:]
        if key in obj and not rest:
            del obj[key]
        elif key in obj:
            _prune(obj[key], rest, _child(node, key))
    elif isinstance(obj, list):
        for index, item in enumerate(obj):
            if _key_of(item, node) == head:
                if rest:
                    _prune(item, rest, node.items)
                else:
                    del obj[index]
                return


def _refuse_conflicts(others: list[Entry], touched: Fields) -> None:
    conflicts = [(claim, path) for claim in others for path in sorted(claim.fields & touched)]
    if not conflicts:
        return
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": f"conflict with {claim.label}",
            "field": _path_text(path),
        }
        for claim, path in conflicts
    ]
    if len(conflicts) == 1:
        claim, path = conflicts[0]
        message = f"Apply failed with 1 conflict: conflict with {claim.label}: {_path_text(path)}"
    else:
        lines = [f"Apply failed with {len(conflicts)} conflicts: "]
        owners = sorted(
            {claim for claim, _ in conflicts},
            key=lambda claim: (
                claim.manager,
                claim.operation,
                claim.api_version,
                bool(claim.time),
            ),
        )
        lines += [
            f"conflicts with {claim.label}:\n"
            + "\n".join(f"- {_path_text(path)}" for owner, path in conflicts if owner is claim)
            for claim in owners
        ]
        message = lines[0] + "\n".join(lines[1:])
    raise ApiError(
        409,
        "Conflict",
        message,
        details={"causes": sorted(causes, key=lambda cause: cause["message"])},
    )


def _path_text(path: Path) -> str:
    text = ""
    for part in path:
        if part.startswith("f:"):
            text += "." + part[2:]
        elif part.startswith("v:"):
            text += f"[={part[2:]}]"
        else:
            pairs = orjson.loads(part[2:])
            keys = [f"{key}={orjson.dumps(value).decode()}" for key, value in pairs.items()]
            text += f"[{','.join(keys)}]"
    return text
