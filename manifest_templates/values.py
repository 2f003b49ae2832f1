"""Values of templates, and the JSON Schema (2020-12) that says what they may be.

A schema is its author's text: it is checked before it is stored, refers to nothing outside itself,
and its patterns run on an engine that takes linear time. Messages never hold a value.
"""

import copy
import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import extend

from clusters.manifests import MASK
from clusters.schema_check import path_text
from core.errors import Invalid
from workloads.objects.log_lines import LinePattern

Object = dict[str, Any]
Path = tuple[str | int, ...]

MAX_SCHEMA_BYTES = 128 * 1024
MAX_VALUES_BYTES = 512 * 1024
MAX_DEPTH = 40
MAX_SUBSCHEMAS = 2000
# References that are followed in one check: few of them can stand for very many.
MAX_REFERENCES = 20_000
DIALECTS = ("https://json-schema.org/draft/2020-12/schema",)
# Keywords whose value is a schema, a list of schemas, or schemas by name.
ONE = (
    "items",
    "additionalProperties",
    "contains",
    "propertyNames",
    "not",
    "if",
    "then",
    "else",
)
SEVERAL = ("allOf", "anyOf", "oneOf", "prefixItems")
NAMED = ("properties", "patternProperties", "$defs", "dependentSchemas")
# They lead elsewhere, or make a check take time that nobody can foresee.
REFUSED = (
    "$id",
    "$anchor",
    "$dynamicAnchor",
    "$dynamicRef",
    "$recursiveRef",
    "$vocabulary",
    "definitions",
    "unevaluatedItems",
    "unevaluatedProperties",
)


# --- schemas --------------------------------------------------------------------------------------
def check_schema(schema: object) -> Object:
    """The schema as it is stored; Invalid, with field `schema`, for one that cannot be used."""
    if schema is None:
        return {}
    if not isinstance(schema, dict):
        raise _bad_schema("must be an object")
    if len(json.dumps(schema)) > MAX_SCHEMA_BYTES:
        raise _bad_schema(f"is larger than {MAX_SCHEMA_BYTES // 1024} KiB")
    if schema.get("$schema", DIALECTS[0]) not in DIALECTS:
        raise _bad_schema("must be of JSON Schema 2020-12")
    if schema.get("type", "object") != "object":
        raise _bad_schema("must have the type object")
    _require_shallow(schema, 0)
    try:
        Draft202012Validator.check_schema(schema, format_checker=None)
    except SchemaError as error:
        where = path_text(tuple(error.absolute_path))
        raise _bad_schema(f"is no JSON Schema: {where or 'the root'} is not allowed") from None
    for subschema in _subschemas(schema):
        _check_subschema(subschema, schema)
    _check_defaults(schema)
    return schema


def _bad_schema(problem: str) -> Invalid:
    return Invalid(f"the schema {problem}", field="schema")


def _require_shallow(value: object, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise _bad_schema(f"is deeper than {MAX_DEPTH} levels")
    if isinstance(value, dict):
        for member in value.values():
            _require_shallow(member, depth + 1)
    elif isinstance(value, list):
        for element in value:
            _require_shallow(element, depth + 1)


def _subschemas(schema: object) -> Iterator[Object]:
    """The schema and all schemas in it; examples, defaults and enums are none."""
    pending: list[object] = [schema]
    count = 0
    while pending:
        each = pending.pop()
        if not isinstance(each, dict):
            continue
        count += 1
        if count > MAX_SUBSCHEMAS:
            raise _bad_schema(f"has more than {MAX_SUBSCHEMAS} parts")
        yield each
        pending += [each[name] for name in ONE if name in each]
        for name in SEVERAL:
            pending += each.get(name, [])
        for name in NAMED:
            pending += each.get(name, {}).values()


def _check_subschema(subschema: Object, root: Object) -> None:
    for name in REFUSED:
        if name in subschema:
            raise _bad_schema(f"must not use {name}")
    if subschema is not root and "$schema" in subschema:
        raise _bad_schema("must have $schema at its root alone")
    reference = subschema.get("$ref")
    if reference is not None:
        _resolve(reference, root)
    for pattern in (
        subschema.get("pattern"),
        *subschema.get(
            "patternProperties",
            {},
        ),
    ):
        if pattern is not None:
            _compile(pattern)
    if subschema.get("writeOnly") is True and "default" in subschema:
        raise _bad_schema("gives a default to a writeOnly value, which anybody could read")


@lru_cache(maxsize=512)
def _compile(pattern: str) -> LinePattern:
    try:
        return LinePattern(pattern)
    except Invalid as error:
        raise _bad_schema(f"has a pattern that cannot be used: {error.message}") from None


def _resolve(reference: str, root: Object) -> Object:
    """The schema behind `#/$defs/name`; Invalid for a reference that leads anywhere else."""
    prefix, _, name = reference.rpartition("/")
    target: Any = root if reference == "#" else None
    if prefix == "#/$defs":
        # RFC 6901: ~1 is a slash and ~0 a tilde.
        target = root.get(
            "$defs",
            {},
        ).get(name.replace("~1", "/").replace("~0", "~"))
    if not isinstance(target, dict):
        raise _bad_schema("may only refer to # and to what stands under #/$defs")
    return target


def _check_defaults(schema: Object) -> None:
    """Invalid when a default is not what the schema itself asks for."""
    for error in _errors(schema, with_defaults(schema, {})):
        if error.validator == "required":
            continue
        place = path_text(tuple(error.absolute_path))
        raise _bad_schema(f"has a default that it does not allow: {place or 'the root'}")


# --- checking -------------------------------------------------------------------------------------
class _References:
    """Counts the references that one check follows."""

    def __init__(self) -> None:
        self.count = 0


def _follow_reference(
    validator: Any,
    reference: str,
    instance: object,
    schema: Object,
) -> Iterator[ValidationError]:
    counter = validator.format_checker
    counter.count += 1
    if counter.count > MAX_REFERENCES:
        raise _bad_schema("refers to itself without end")
    yield from Draft202012Validator.VALIDATORS["$ref"](
        validator,
        reference,
        instance,
        schema,
    )


def _match_pattern(
    validator: Any,
    pattern: str,
    instance: object,
    schema: Object,
) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not _compile(pattern)(instance):
        yield ValidationError("pattern")


def _match_pattern_properties(
    validator: Any,
    patterns: Mapping[str, Any],
    instance: object,
    schema: Object,
) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    for text, subschema in patterns.items():
        pattern = _compile(text)
        for name, member in instance.items():
            if pattern(name):
                yield from validator.descend(
                    member,
                    subschema,
                    path=name,
                    schema_path=text,
                )


def _refuse_additional(
    validator: Any,
    subschema: Any,
    instance: object,
    schema: Object,
) -> Iterator[ValidationError]:
    """JSON Schema's own keyword, with patterns on the engine above."""
    if not isinstance(instance, dict):
        return
    patterns = [
        _compile(text)
        for text in schema.get(
            "patternProperties",
            {},
        )
    ]
    for name, member in instance.items():
        if name in schema.get(
            "properties",
            {},
        ) or any(each(name) for each in patterns):
            continue
        if subschema is False:
            yield ValidationError("additionalProperties", path=[name])
        else:
            yield from validator.descend(member, subschema, path=name)


def _require_unique(
    validator: Any,
    unique: bool,
    instance: object,
    schema: Object,
) -> Iterator[ValidationError]:
    """In linear time, where the library compares each element with each."""
    if not unique or not isinstance(instance, list):
        return
    texts = {json.dumps(element, sort_keys=True) for element in instance}
    if len(texts) < len(instance):
        yield ValidationError("uniqueItems")


_VALIDATOR: Any = extend(
    Draft202012Validator,
    {
        "$ref": _follow_reference,
        "pattern": _match_pattern,
        "patternProperties": _match_pattern_properties,
        "additionalProperties": _refuse_additional,
        "uniqueItems": _require_unique,
    },
)
# Formats are notes for people, as JSON Schema has it by default. The library passes the format
# checker on to every subschema, which is where the counter of references has to be.
_VALIDATOR.VALIDATORS.pop("format", None)


def _errors(schema: Object, values: Object) -> list[ValidationError]:
    try:
        validator = _VALIDATOR(schema, format_checker=_References())
        return list(validator.iter_errors(values))
    except RecursionError:
        raise _bad_schema("refers to itself without end") from None


def check_values(schema: Object, values: object) -> Object:
    """The values with the schema's defaults.

    Invalid, whose `details["field"]` is the path of the value (`image.tag`), for one that is
    missing or not what the schema allows.
    """
    complete, missing = complete_values(schema, values)
    if missing:
        raise Invalid(
            f"the value {missing[0]} is required",
            field=missing[0],
        )
    return complete


def complete_values(schema: Object, values: object) -> tuple[Object, list[str]]:
    """The values with defaults, and the paths of those that are required and missing.

    Invalid as in `check_values` for one that is there but not allowed.
    """
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise Invalid("values must be an object", field="values")
    complete = with_defaults(schema, _plain(values))
    missing: list[str] = []
    for error in _errors(schema, complete):
        path = tuple(error.absolute_path)
        if error.validator == "required" and isinstance(error.instance, dict):
            names = [name for name in error.validator_value if name not in error.instance]
            missing += [path_text((*path, name)) for name in names]
            continue
        field = path_text(path) or "values"
        raise Invalid(
            f"the value {field} {_sentence(error)}",
            field=field,
        )
    return complete, list(dict.fromkeys(missing))


def _plain(values: Object) -> Object:
    """A copy of the values; Invalid when they are too large or too deep."""
    pending: list[tuple[object, Path]] = [(values, ())]
    while pending:
        value, path = pending.pop()
        if len(path) > MAX_DEPTH:
            raise Invalid(
                f"values are deeper than {MAX_DEPTH} levels", field=path_text(path[:1]) or "values"
            )
        if isinstance(value, dict):
            pending += [(member, (*path, name)) for name, member in value.items()]
        elif isinstance(value, list):
            pending += [(element, (*path, place)) for place, element in enumerate(value)]
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise Invalid(
                "integers beyond 64 bits are not allowed",
                field=path_text(path),
            )
    if len(json.dumps(values)) > MAX_VALUES_BYTES:
        raise Invalid(
            f"values are larger than {MAX_VALUES_BYTES // 1024} KiB",
            field="values",
        )
    return copy.deepcopy(values)


SENTENCES: Mapping[str, str] = {
    "enum": "must be one of {}",
    "const": "must be {}",
    "pattern": "must match the pattern {}",
    "minimum": "must be at least {}",
    "maximum": "must be at most {}",
    "exclusiveMinimum": "must be more than {}",
    "exclusiveMaximum": "must be less than {}",
    "multipleOf": "must be a multiple of {}",
    "minLength": "must have at least {} characters",
    "maxLength": "must have at most {} characters",
    "minItems": "must have at least {} elements",
    "maxItems": "must have at most {} elements",
    "minProperties": "must have at least {} members",
    "maxProperties": "must have at most {} members",
}


def _sentence(error: ValidationError) -> str:
    """What the schema asks for; never the value."""
    keyword = str(error.validator)
    expected = error.validator_value
    if keyword == "type":
        names = expected if isinstance(expected, list) else [expected]
        return f"must be of type {' or '.join(map(str, names))}"
    if keyword == "additionalProperties":
        return "is not known to the schema"
    if keyword == "uniqueItems":
        return "must not have an element twice"
    if sentence := SENTENCES.get(keyword):
        return sentence.format(json.dumps(expected)[:300])
    return f"does not fit {keyword} of the schema"


# --- defaults -------------------------------------------------------------------------------------
def with_defaults(schema: Object, values: Object) -> Object:
    """The values, changed in place, with the defaults of properties that are absent.

    An object that is absent comes into being when its own defaults say all that it requires.
    """
    _Defaults(schema).fill(schema, values, 0)
    return values


class _Defaults:
    def __init__(self, root: Object) -> None:
        self.root = root
        self.count = 0
        # Schemas whose objects are being made: one that refers to itself has no end.
        self.making: set[int] = {id(root)}

    def fill(
        self,
        schema: object,
        value: object,
        depth: int,
    ) -> None:
        """Add what is absent in the value, by the schema and what it refers to."""
        self.count += 1
        if not isinstance(schema, dict) or depth > MAX_DEPTH or self.count > MAX_REFERENCES:
            return
        for part in _parts(schema, self.root):
            if isinstance(value, dict):
                self._fill_object(part, value, depth)
            elif isinstance(value, list):
                for element in value:
                    self.fill(part.get("items"), element, depth + 1)

    def _fill_object(
        self,
        schema: Object,
        value: Object,
        depth: int,
    ) -> None:
        for name, subschema in schema.get("properties", {}).items():
            if name in value:
                self.fill(subschema, value[name], depth + 1)
                continue
            if not isinstance(subschema, dict):
                continue
            parts = list(_parts(subschema, self.root))
            defaults = [part["default"] for part in parts if "default" in part]
            if defaults:
                value[name] = copy.deepcopy(defaults[0])
                self.fill(subschema, value[name], depth + 1)
                continue
            identities = {id(part) for part in parts}
            if identities & self.making:
                continue
            member: Object = {}
            self.making |= identities
            self.fill(subschema, member, depth + 1)
            self.making -= identities
            required = {
                each
                for part in parts
                for each in part.get(
                    "required",
                    [],
                )
            }
            if member and (
                required <= member.keys()
                or name
                in schema.get(
                    "required",
                    [],
                )
            ):
                value[name] = member


def _parts(schema: Object, root: Object) -> Iterator[Object]:
    """The schema, what it refers to, and what it is all of; each once."""
    pending = [schema]
    seen: set[int] = set()
    while pending:
        each = pending.pop()
        if not isinstance(each, dict) or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        pending += each.get("allOf", [])
        if "$ref" in each:
            pending.append(_resolve(each["$ref"], root))


# --- what a schema says of a value ----------------------------------------------------------------
def declares(schema: Object, path: Path) -> bool:
    """Whether the schema has a property at the path."""
    places: list[Object] = [schema]
    for step in path:
        inner: list[Any] = []
        for place in places:
            for part in _every_part(place, schema):
                if isinstance(step, int):
                    inner.append(part.get("items"))
                else:
                    inner.append(part.get("properties", {}).get(step))
        places = [each for each in inner if isinstance(each, dict)][:MAX_SUBSCHEMAS]
    return bool(places)


def unknown_values(schema: Object, values: Object) -> Iterator[Path]:
    """Paths of values inside objects whose properties the schema names, but not these."""
    yield from _unknown(schema, schema, values, (), 0)


def _unknown(
    schema: Object,
    root: Object,
    value: object,
    path: Path,
    depth: int,
) -> Iterator[Path]:
    if depth > MAX_DEPTH:
        return
    parts = list(_every_part(schema, root))
    if isinstance(value, list):
        for place, element in enumerate(value):
            for part in parts:
                if isinstance(part.get("items"), dict):
                    yield from _unknown(
                        part["items"],
                        root,
                        element,
                        (*path, place),
                        depth + 1,
                    )
        return
    if not isinstance(value, dict):
        return
    known = {
        name: each
        for part in parts
        for name, each in part.get(
            "properties",
            {},
        ).items()
    }
    is_open = any(part.get("additionalProperties") for part in parts)
    is_open = is_open or any("patternProperties" in part for part in parts)
    for name, member in value.items():
        if isinstance(known.get(name), dict):
            yield from _unknown(
                known[name],
                root,
                member,
                (*path, name),
                depth + 1,
            )
        elif known and name not in known and not is_open:
            yield (*path, name)


def _every_part(schema: Object, root: Object) -> Iterator[Object]:
    """As `_parts`, with the alternatives that a value may take."""
    for part in _parts(schema, root):
        yield part
        for name in ("anyOf", "oneOf"):
            for choice in part.get(name, []):
                if isinstance(choice, dict):
                    yield from _parts(choice, root)
        for name in ("if", "then", "else"):
            if isinstance(part.get(name), dict):
                yield from _parts(part[name], root)


def without_secrets(schema: Object, values: Any) -> Any:
    """A copy of the values in which those that are `writeOnly` are masked."""
    return _masked(schema, schema, values, 0)


def _masked(
    schema: object,
    root: Object,
    value: Any,
    depth: int,
) -> Any:
    if not isinstance(schema, dict) or depth > MAX_DEPTH:
        return copy.deepcopy(value)
    parts = list(_every_part(schema, root))
    if any(part.get("writeOnly") is True for part in parts):
        return MASK
    if isinstance(value, list):
        inner = _merged([part.get("items") for part in parts])
        return [
            _masked(
                inner,
                root,
                element,
                depth + 1,
            )
            for element in value
        ]
    if not isinstance(value, dict):
        return value
    return {
        name: _masked(
            _member_schema(parts, name),
            root,
            member,
            depth + 1,
        )
        for name, member in value.items()
    }


def _member_schema(parts: list[Object], name: str) -> Object | None:
    """What the parts say of a member, together."""
    schemas: list[Any] = []
    for part in parts:
        properties = part.get("properties", {})
        if name in properties:
            schemas.append(properties[name])
        matching = [
            subschema
            for text, subschema in part.get(
                "patternProperties",
                {},
            ).items()
            if _compile(text)(name)
        ]
        schemas += matching
        if name not in properties and not matching:
            schemas.append(part.get("additionalProperties"))
    return _merged(schemas)


def _merged(schemas: list[Any]) -> Object | None:
    useful = [each for each in schemas if isinstance(each, dict)]
    if len(useful) < 2:
        return useful[0] if useful else None
    return {"allOf": useful}
