"""Checks a document against the cluster's schema: unknown fields, wrong types, missing fields."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from clusters.manifest_text import Document, Problem, locate_steps

REFERENCE = "#/components/schemas/"
MAX_DEPTH = 60
MAX_FAULTS = 50
Path = tuple[str | int, ...]
TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}
WORDS: Mapping[str, str | Promise] = {
    "string": gettext_lazy("a text"),
    "integer": gettext_lazy("a whole number"),
    "number": gettext_lazy("a number"),
    "boolean": gettext_lazy("true or false"),
    "array": gettext_lazy("a list"),
    "object": gettext_lazy("a mapping"),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, and where: keys and places in lists from the root on."""

    path: Path
    message: str


def find_faults(document: Any, schema: Mapping[str, Any]) -> list[Fault]:
    """The first faults of a document; `schema` is {"root", "definitions"} as the API gives it."""
    checker = _Checker(schema.get("definitions") or {})
    every_fault = checker.check(document, {"$ref": REFERENCE + str(schema.get("root", ""))}, ())
    return [fault for _place, fault in zip(range(MAX_FAULTS), every_fault, strict=False)]


def schema_problems(document: Document, schema: Mapping[str, Any]) -> list[Problem]:
    """The faults of a document's object at their places in the text."""
    return [
        Problem(*locate_steps(document, fault.path), fault.message, path_text(fault.path))
        for fault in find_faults(document.obj or {}, schema)
    ]


def path_text(path: Path) -> str:
    """`spec.containers[0].image`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


def resolve_schema(
    schema: Mapping[str, Any],
    definitions: Mapping[str, Any],
) -> Mapping[str, Any]:
    """The schema behind references, and a single `allOf` joined to it; {} for one without end."""
    for _depth in range(MAX_DEPTH):
        if "$ref" in schema:
            schema = definitions.get(str(schema["$ref"]).removeprefix(REFERENCE)) or {}
        elif isinstance(schema.get("allOf"), list) and len(schema["allOf"]) == 1:
            schema = {
                **{key: value for key, value in schema.items() if key != "allOf"},
                **resolve_schema(schema["allOf"][0], definitions),
            }
        else:
            return schema
    return {}


class _Checker:
    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self._definitions = definitions

    def _resolve(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        return resolve_schema(schema, self._definitions)

    def check(
        self,
        value: Any,
        schema: Mapping[str, Any],
        path: Path,
    ) -> Iterator[Fault]:
        """What is wrong with a value; null is what is not there, as Kubernetes takes it."""
        schema = self._resolve(schema)
        if value is None or len(path) > MAX_DEPTH or self._is_open(schema):
            return
        expected = str(schema.get("type") or ("object" if "properties" in schema else ""))
        if expected in TYPES and not _has_type(value, expected):
            yield Fault(
                path,
                _("{path} must be {expected}").format(
                    path=path_text(path), expected=WORDS[expected]
                ),
            )
        elif isinstance(value, dict):
            yield from self._check_mapping(value, schema, path)
        elif isinstance(value, list):
            for place, item in enumerate(value):
                yield from self.check(item, schema.get("items") or {}, (*path, place))
        elif schema.get("enum") and value not in schema["enum"]:
            allowed = ", ".join(str(choice) for choice in schema["enum"])
            yield Fault(
                path,
                _("{path} must be one of {allowed}").format(path=path_text(path), allowed=allowed),
            )

    @staticmethod
    def _is_open(schema: Mapping[str, Any]) -> bool:
        """Whether the schema says too little, or too much, to judge by."""
        alternatives = any(word in schema for word in ("oneOf", "anyOf", "not"))
        return alternatives or bool(
            schema.get("x-kubernetes-int-or-string") or schema.get("format") == "int-or-string"
        )

    def _check_mapping(
        self,
        value: Mapping[str, Any],
        schema: Mapping[str, Any],
        path: Path,
    ) -> Iterator[Fault]:
        properties = schema.get("properties") or {}
        others = schema.get("additionalProperties")
        preserves_unknown = schema.get("x-kubernetes-preserve-unknown-fields")
        # A mapping without properties is free-form, as in `data` of a ConfigMap.
        closed = bool(properties) and not others and not preserves_unknown
        for key, item in value.items():
            if key in properties:
                yield from self.check(item, properties[key], (*path, key))
            elif isinstance(others, Mapping):
                yield from self.check(item, others, (*path, key))
            elif closed:
                yield Fault(
                    (*path, key),
                    _("Unknown field {path}.").format(path=path_text((*path, key))),
                )
        yield from (
            _missing_field(path, name)
            for name in _required_fields(schema)
            if value.get(name) is None
        )


def _required_fields(schema: Mapping[str, Any]) -> Sequence[str]:
    names = schema.get("required")
    return [str(name) for name in names] if isinstance(names, list) else []


def _missing_field(path: Path, name: str) -> Fault:
    return Fault(path, _("{path} is required").format(path=path_text((*path, name))))


def _has_type(value: Any, expected: str) -> bool:
    if isinstance(value, bool):
        return expected == "boolean"
    return isinstance(value, TYPES[expected])
