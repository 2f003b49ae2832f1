"""Decoding request bodies as their kind: wrong types are refused, unknown fields reported."""

import contextlib
import json
import re
from dataclasses import dataclass, field
from typing import Any

from simcluster import quantity
from simcluster.errors import ApiError, bad_request
from simcluster.resources import Object, Resource
from simcluster.schema import Node

_GO = {
    "string": "string",
    "boolean": "bool",
    "integer": "int",
    "number": "float64",
    "object": "object",
    "map": "map",
    "array": "slice",
}

_RANGES = {"int32": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1)}
_INDEX = re.compile(r"\[\d+\]")


@dataclass
class Decoder:
    """One pass over an object; collects the unknown fields that it drops."""

    resource: Resource
    body: bytes = b""
    unknown: list[str] = field(default_factory=list)

    def decode(self, obj: Object, node: Node) -> Object:
        """The object with the fields of its kind, without nulls; 400 for a wrong type."""
        decoded: Object = self._value(obj, node, "", self.resource.kind)
        return decoded

    def _value(self, value: Any, node: Node, path: str, owner: str) -> Any:
        kind = node.type
        if kind == "any" or (self.resource.custom and not _fits(value, kind)):
            return whole_numbers(value)
        if kind == "object":
            return self._object(value, node, path)
        if kind == "map":
            self._check(isinstance(value, dict), value, node, path, owner)
            if node.items.type == "quantity":
                return {key: self._quantity(item, listed=True) for key, item in value.items()}
            # In Go a null in a map of texts is the zero value.
            zero = "" if node.items.type == "string" else None
            return {
                key: self._value(
                    zero if item is None else item,
                    node.items,
                    f"{path}.{key}",
                    owner,
                )
                for key, item in value.items()
                if item is not None or zero is not None
            }
        if kind == "array":
            self._check(isinstance(value, list), value, node, path, owner)
            return [
                self._value(item, node.items, f"{path}[{at}]", owner)
                for at, item in enumerate(value)
            ]
        return self._scalar(value, node, path, owner)

    def _object(self, value: Any, node: Node, path: str) -> Object:
        self._check(
            isinstance(value, dict),
            value,
            node,
            path,
            node.name.rpartition(".")[2],
        )
        result = {}
        owner = node.name.rpartition(".")[2] or self.resource.kind
        for key, item in value.items():
            child = node.fields.get(key)
            inner = f"{path}.{key}" if path else key
            # Unknown fields are dropped here; the strictness of the call decides what is said of
            # them.
            if child is None:
                if node.open:
                    result[key] = item
                else:
                    self.unknown.append(inner)
            # Go reads null as a field that is not set.
            elif item is not None:
                result[key] = self._value(item, child, inner, owner)
        return result

    def _scalar(self, value: Any, node: Node, path: str, owner: str) -> Any:
        kind = node.type
        if kind == "quantity":
            return self._quantity(value)
        if kind == "int-or-string":
            self._check(
                isinstance(value, str | int) and not isinstance(value, bool),
                value,
                node,
                path,
                owner,
            )
        elif kind == "integer":
            low, high = _RANGES.get(node.document.get("format", ""), _RANGES["int64"])
            # In Python a bool is an int; in JSON it is not.
            fits = isinstance(value, int) and not isinstance(value, bool)
            self._check(fits and low <= value <= high, value, node, path, owner)
        elif kind == "number":
            self._check(
                isinstance(value, int | float) and not isinstance(value, bool),
                value,
                node,
                path,
                owner,
            )
        elif kind == "boolean":
            self._check(isinstance(value, bool), value, node, path, owner)
        elif kind == "string":
            self._check(isinstance(value, str), value, node, path, owner)
        return value

    def _quantity(self, value: Any, *, listed: bool = False) -> str:
        """A quantity in canonical form; 400 in Go's words when it is none."""
        if value is None:
            return "0"
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise self.refusal(quantity.FORM_RULE)
        text = self._literal(value) if isinstance(value, float) else str(value)
        try:
            return quantity.canonical_text(text, listed=listed)
        except ValueError as error:
            raise self.refusal(str(error)) from error

    def integer(self, value: Any, owner: str, path: str) -> int:
        """The value of an int32 field of a struct; 400 when it is none."""
        node = Node({"type": "integer", "format": "int32"}, {})
        number: int = self._scalar(value, node, path, owner)
        return number

    def _check(self, fits: bool, value: Any, node: Node, path: str, owner: str) -> None:
        if fits:
            return
        have = {
            dict: "object",
            list: "array",
            str: "string",
            bool: "bool",
            int: "number",
            float: "number",
        }.get(type(value), "null")
        if node.type == "integer" and have == "number":
            have = f"number {self._literal(value)}"
        # Go tells the fields on the way, not the places in lists.
        path = _INDEX.sub("", path)
        go_type = _GO.get(node.type, node.type)
        if node.type in ("integer", "number"):
            go_type = node.document.get("format") or go_type
        raise self.refusal(
            f"json: cannot unmarshal {have} into Go struct field {owner}.{path} of type {go_type}"
        )

    def _literal(self, value: float) -> str:
        """A number as the client wrote it; as Python writes it when its text is not at hand."""
        texts: list[str] = []

        def note(text: str) -> float:
            texts.append(text)
            return float(text)

        # The body may be YAML or a patch: then the text is not found.
        with contextlib.suppress(ValueError, RecursionError):
            json.loads(self.body, parse_float=note, parse_int=note)
        return next((text for text in texts if float(text) == value), str(value))

    def refusal(self, why: str) -> ApiError:
        """400: the body cannot be read as this kind."""
        kind = self.resource.kind
        version = self.resource.version
        return bad_request(f'{kind} in version "{version}" cannot be handled as a {kind}: {why}')


def whole_numbers(value: Any) -> Any:
    """The value with whole floats as integers, as Go writes numbers without a type."""
    if isinstance(value, dict):
        return {key: whole_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [whole_numbers(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _fits(value: Any, kind: str) -> bool:
    """Whether a value has the members of its kind; custom resources are validated later."""
    if kind in ("object", "map"):
        return isinstance(value, dict)
    return kind == "array" and isinstance(value, list)


def decode(
    resource: Resource,
    obj: Object,
    node: Node,
    *,
    strictness: str,
    body: bytes = b"",
) -> tuple[Object, list[str]]:
    """The decoded object and the warnings.

    `strictness` is the query's fieldValidation: Strict, Warn (default) or Ignore. `body` is the
    request as it came, for the words of a refusal. Raises ApiError 400.
    """
    decoder = Decoder(resource, body)
    decoded = decoder.decode(obj, node)
    complaints = [f'unknown field "{path}"' for path in decoder.unknown]
    if complaints and strictness == "Strict":
        raise decoder.refusal(f"strict decoding error: {', '.join(complaints)}")
    return decoded, complaints if strictness != "Ignore" else []
