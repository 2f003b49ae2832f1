"""The three patches that need no ownership: JSON patch, JSON merge patch, strategic merge patch."""

import copy
import json
from functools import partial
from typing import Any

from simcluster.errors import ApiError, bad_request
from simcluster.resources import Object
from simcluster.schema import ANY, Node

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
APPLY_PATCH_CBOR = "application/apply-patch+cbor"

# As many as the API server takes, and as many bytes as a request may have.
MAX_OPERATIONS = 10_000
MAX_COPIED = 3 * 1024 * 1024


def _unprocessable(message: str) -> ApiError:
    return ApiError(
        422,
        "Invalid",
        f"the server rejected our request due to an error in our request: {message}",
        details={},
    )


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def json_patch(document: Any, operations: Any) -> Any:
    """RFC 6902; 422 when an operation does not fit, 400 when it is none."""
    if not isinstance(operations, list):
        raise bad_request("json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    if len(operations) > MAX_OPERATIONS:
        raise ApiError(
            413,
            "RequestEntityTooLarge",
            "Request entity too large: The allowed maximum operations in a JSON patch "
            f"is {MAX_OPERATIONS}, got {len(operations)}",
        )
    document = copy.deepcopy(document)
    copied = 0
    for operation in operations:
        if not isinstance(operation, dict) or not isinstance(operation.get("path"), str):
            raise bad_request("error decoding patch: every operation needs an op and a path")
        # Copies may grow without bound: the API server adds up their sizes.
        if operation.get("op") == "copy":
            copied += _copied_size(document, operation)
            if copied > MAX_COPIED:
                raise _unprocessable(
                    "Unable to complete the copy, the accumulated size increase of copy is "
                    f"{copied}, exceeding the limit {MAX_COPIED}"
                )
        document = _operate(document, operation)
    return document


def _copied_size(document: Any, operation: Object) -> int:
    """How many bytes of JSON a copy adds: copies of copies double the document each time."""
    source = str(operation.get("from", ""))
    return len(json.dumps(_lookup(document, _pointer(source), source), separators=(",", ":")))


def _operate(document: Any, operation: Object) -> Any:
    name = operation.get("op")
    path = _pointer(operation["path"])
    if name in ("add", "replace", "test"):
        if "value" not in operation:
            raise _unprocessable(f"{name} operation is missing a value")
        value = operation["value"]
    elif name in ("move", "copy"):
        source = _pointer(str(operation.get("from", "")))
        value = copy.deepcopy(_lookup(document, source, str(operation.get("from"))))
        # The source goes first: a move within a list shifts the places after it.
        if name == "move":
            document = _remove(document, source, operation["from"])
    elif name == "remove":
        return _remove(document, path, operation["path"])
    else:
        raise _unprocessable(f"Unexpected kind: {name}")
    if name == "test":
        if _lookup(document, path, operation["path"]) != value:
            raise _unprocessable(f"testing value {operation['path']} failed")
        return document
    # `replace` needs a value to replace, `add` does not.
    if name == "replace":
        _lookup(document, path, operation["path"])
    return _add(document, path, value, replace=name == "replace")


def _pointer(path: str) -> list[str]:
    if path and not path.startswith("/"):
        raise _unprocessable(f"invalid path: {path}")
    return [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:]]


def _index(items: list[Any], part: str, *, adding: bool = False) -> int:
    # "-" is the place after the last item.
    if part == "-" and adding:
        return len(items)
    if not part.lstrip("-").isdigit() or not 0 <= int(part) < len(items) + adding:
        raise _unprocessable(f"Unable to access invalid index: {part}")
    return int(part)


def _lookup(document: Any, path: list[str], pointer: str) -> Any:
    for part in path:
        if isinstance(document, dict) and part in document:
            document = document[part]
        elif isinstance(document, list):
            document = document[_index(document, part)]
        else:
            raise _unprocessable(
                f'"{pointer}": missing value'
                if isinstance(document, dict)
                else f"doc is missing path: {pointer}: missing value"
            )
    return document


def _add(document: Any, path: list[str], value: Any, *, replace: bool) -> Any:
    if not path:
        return value
    parent = _lookup(document, path[:-1], "/" + "/".join(path))
    if isinstance(parent, list):
        at = _index(parent, path[-1], adding=not replace)
        parent[at : at + replace] = [value]
    elif isinstance(parent, dict):
        parent[path[-1]] = value
    else:
        raise _unprocessable(
            f"add operation does not apply: doc is missing path: /{'/'.join(path)}: missing value"
        )
    return document


def _remove(document: Any, path: list[str], pointer: str) -> Any:
    _lookup(document, path, pointer)
    parent = _lookup(document, path[:-1], pointer)
    if isinstance(parent, list):
        del parent[_index(parent, path[-1])]
    else:
        del parent[path[-1]]
    return document


def strategic_patch(target: Any, patch: Any, node: Node) -> Any:
    """Strategic merge: keyed lists are merged item by item, and the `$` directives obeyed."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    directive = patch.get("$patch")
    if directive == "replace":
        return {key: value for key, value in patch.items() if key != "$patch"}
    if directive == "delete":
        return {}
    result = dict(target) if isinstance(target, dict) else {}
    if "$retainKeys" in patch:
        result = {key: value for key, value in result.items() if key in patch["$retainKeys"]}
    for key, value in patch.items():
        if key.startswith("$"):
            _directive(result, key, value)
        elif value is None:
            result.pop(key, None)
        else:
            child = node.fields.get(key) or (node.items if node.type == "map" else ANY)
            result[key] = _strategic_value(result.get(key), value, child)
    _order(result, patch, node)
    return result


def _directive(result: Object, key: str, value: Any) -> None:
    if key.startswith("$deleteFromPrimitiveList/"):
        name = key.partition("/")[2]
        result[name] = [item for item in result.get(name) or [] if item not in value]


def _strategic_value(current: Any, value: Any, node: Node) -> Any:
    if isinstance(value, list):
        if node.merge_key:
            return _merged_list(current or [], value, node)
        if node.merges:
            return list(dict.fromkeys([*(current or []), *value]))
        return [strategic_patch({}, item, node.items) for item in value]
    return strategic_patch(current, value, node)


def _merged_list(current: list[Any], patch: list[Any], node: Node) -> list[Any]:
    key = node.merge_key
    if any(isinstance(item, dict) and item.get("$patch") == "replace" for item in patch):
        return [item for item in patch if item.get("$patch") != "replace"]
    result = list(current)
    for item in patch:
        if not isinstance(item, dict) or key not in item:
            raise bad_request(f"map: {item} does not contain declared merge key: {key}")
        at = next(
            (index for index, have in enumerate(result) if have.get(key) == item[key]),
            None,
        )
        if item.get("$patch") == "delete":
            result = [have for have in result if have.get(key) != item[key]]
        elif at is None:
            result.append(strategic_patch({}, item, node.items))
        else:
            result[at] = strategic_patch(result[at], item, node.items)
    return result


def _order(result: Object, patch: Object, node: Node) -> None:
    """Sort lists as `$setElementOrder/<name>` asks; items that it does not name go to the end."""
    for directive, order in patch.items():
        if not directive.startswith("$setElementOrder/"):
            continue
        name = directive.partition("/")[2]
        child = node.fields.get(name, ANY)
        items = result.get(name)
        if not isinstance(items, list) or not isinstance(order, list):
            continue
        key = child.merge_key
        ordered_keys = [item.get(key) if key and isinstance(item, dict) else item for item in order]
        positions = {str(value): position for position, value in enumerate(ordered_keys)}
        items.sort(key=partial(_position, key=key, positions=positions))


def _position(item: Any, *, key: str, positions: dict[str, int]) -> int:
    """Where the patch's $setElementOrder wants an item; items it does not name go last."""
    value = item.get(key) if key else item
    return positions.get(str(value), len(positions))
