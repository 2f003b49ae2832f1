"""The values that a JSON Schema describes: what each is entered with, and what is said of it."""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext as _

from clusters.manifests import to_yaml
from clusters.schema_check import path_text

Schema = Mapping[str, Any]
Path = tuple[str, ...]

SCALARS = frozenset({"string", "integer", "number", "boolean"})
MAX_DEPTH = 8
# Texts that may be this long are given more than a line.
LONG_TEXT = 500
MIN_LINES = 3
MAX_LINES = 14
ABSENT = object()
REFERENCE = "#/$defs/"
# In schemas of our own: what the values of an `enum` are called on a page.
WORDS = "x-words"


@dataclass(frozen=True, slots=True)
class Field:
    """One value of the form.

    `control` is text, textarea, password, number, checkbox, select, choices (a list whose elements
    are ticked), lines (a list, an element a line) or yaml. `options` are (value as JSON, word,
    whether it is chosen). `default` is ABSENT when there is none.
    `minimum`, `maximum`, `step` and `max_length` are attributes of the input, "" for none.
    """

    path: Path
    title: str
    control: str
    type: str
    required: bool
    secret: bool
    default: Any
    help: str = ""
    hints: tuple[str, ...] = ()
    text: str = ""
    checked: bool = False
    keeps_secret: bool = False
    options: tuple[tuple[str, str, bool], ...] = ()
    minimum: str = ""
    maximum: str = ""
    step: str = ""
    max_length: str = ""
    min_length: int = 0
    element_type: str = ""

    @property
    def name(self) -> str:
        """Its name in the form: the path as JSON, as members may hold any character."""
        return field_name(self.path)

    @property
    def place(self) -> str:
        """Its path as the API writes it in `data.field`."""
        return path_text(self.path)

    @property
    def lines(self) -> int:
        """How high a field of several lines is."""
        return min(max(self.text.count("\n") + 1, MIN_LINES), MAX_LINES)

    @property
    def must_be_entered(self) -> bool:
        """Whether the form cannot be sent without it."""
        return self.required and self.default is ABSENT and not self.keeps_secret


@dataclass(frozen=True, slots=True)
class Group:
    """An object of values: its fields and groups."""

    path: Path
    title: str
    help: str
    required: bool
    default: Any
    rows: tuple["Field | Group", ...] = field(default=())

    # Templates cannot ask for a type.
    is_group = True


def field_name(path: Path) -> str:
    """The name of a value's input."""
    return "value:" + json.dumps(path, ensure_ascii=False, separators=(",", ":"))


# --- what a schema says of a value ---------------------------------------------------------------
def resolve(schema: object, root: Schema) -> Schema:
    """The schema behind references; {} (anything is allowed) for one that leads nowhere."""
    merged: dict[str, Any] = {}
    for _step in range(MAX_DEPTH):
        if not isinstance(schema, Mapping):
            return merged
        merged = {**schema, **merged}
        reference = merged.pop("$ref", None)
        if reference is None:
            return merged
        schema = _definition(reference, root)
    return merged


def _definition(reference: object, root: Schema) -> object:
    """What `#/$defs/name` refers to; None when there is no such thing."""
    if not isinstance(reference, str) or not reference.startswith(REFERENCE):
        return root if reference == "#" else None
    definitions = root.get("$defs")
    name = reference.removeprefix(REFERENCE).replace("~1", "/").replace("~0", "~")
    return definitions.get(name) if isinstance(definitions, Mapping) else None


def is_form(schema: Schema) -> bool:
    """Whether an object is shown as a group of fields: its members are known by name."""
    return (
        type_of(schema) in ("object", "")
        and bool(properties_of(schema))
        and not any(name in schema for name in ("anyOf", "oneOf", "allOf", "if"))
        and not schema.get("writeOnly")
        and not isinstance(schema.get("additionalProperties"), Mapping)
        and "patternProperties" not in schema
    )


def properties_of(schema: Schema) -> list[tuple[str, object]]:
    """The members that a schema has names for, with their schemas."""
    properties = schema.get("properties")
    return list(properties.items()) if isinstance(properties, Mapping) else []


def has_secret(schema: object, root: Schema) -> bool:
    """Whether the value, or a part of it, is `writeOnly`."""
    pending = [schema]
    visited: set[int] = set()
    while pending:
        part = pending.pop()
        # Definitions may refer to each other in circles.
        if not isinstance(part, Mapping) or id(part) in visited:
            continue
        visited.add(id(part))
        if part.get("writeOnly") is True:
            return True
        pending += [
            _definition(part.get("$ref"), root),
            *(part for _name, part in properties_of(part)),
        ]
        pending += [part.get("items"), part.get("additionalProperties")]
        for name in ("anyOf", "oneOf", "allOf", "prefixItems"):
            pending += part.get(name) or []
    return False


def type_of(schema: Schema) -> str:
    """The type of a value, "" for several; null beside another type means that it may lack."""
    types = schema.get("type")
    if isinstance(types, str):
        return types
    if isinstance(types, list):
        others = [name for name in types if name != "null"]
        return str(others[0]) if len(others) == 1 else ""
    return ""


def control_of(schema: Schema, root: Schema, *, secret: bool) -> str:
    """What a value is entered with."""
    kind = type_of(schema)
    if secret:
        return "password" if kind == "string" and not _is_long(schema) else "secret"
    if kind == "object":
        return "yaml"
    if isinstance(schema.get("enum"), list) or "const" in schema:
        return "select"
    if kind == "boolean":
        return "checkbox"
    if kind in ("integer", "number"):
        return "number"
    if kind == "string":
        return "textarea" if _is_long(schema) else "text"
    if kind == "array":
        items = resolve(schema.get("items"), root)
        if isinstance(items.get("enum"), list):
            return "choices"
        if type_of(items) in SCALARS:
            return "lines"
    return "yaml"


def _is_long(schema: Schema) -> bool:
    default = schema.get("default")
    return (
        (isinstance(default, str) and "\n" in default)
        or "contentMediaType" in schema
        or schema.get("format") in ("textarea", "multiline")
        or int(schema.get("maxLength") or 0) >= LONG_TEXT
    )


def title_of(path: Path, schema: Schema) -> str:
    """What a field is called: its title, or the name of the value."""
    return plain_text(schema.get("title")) or (path[-1] if path else "")


def plain_text(value: object) -> str:
    """The value when it is a text, else an empty one."""
    return value if isinstance(value, str) else ""


def text_of(control: str, value: object) -> str:
    """A value as the control shows it."""
    if value is ABSENT or value is None:
        return ""
    if control in ("checkbox", "select"):
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    if control == "lines" and isinstance(value, list):
        return "\n".join(scalar_text(element) for element in value)
    if control == "yaml":
        return to_yaml(value) if value not in ({}, []) else json.dumps(value)
    return scalar_text(value)


def scalar_text(value: object) -> str:
    """A scalar as people write it; anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def options_of(
    schema: Schema,
    chosen: Collection[str],
) -> Iterator[tuple[str, str, bool]]:
    """The choices of a schema: (value as JSON, word, whether it is chosen)."""
    choices = [schema["const"]] if "const" in schema else schema["enum"]
    # Values that are ids of something have its names beside them.
    words = schema.get(WORDS) or {}
    for choice in choices:
        value = json.dumps(choice, ensure_ascii=False, sort_keys=True)
        text = scalar_text(choice)
        yield value, words.get(text, text), value in chosen


def limit_of(
    schema: Schema,
    name: str,
    exclusive: str,
    step: int,
) -> str:
    """The limit as an attribute; beyond an exclusive one the next integer begins."""
    limit = schema.get(exclusive)
    if isinstance(limit, int) and not isinstance(limit, bool) and type_of(schema) == "integer":
        return str(limit + step)
    limit = schema.get(name)
    return "" if limit is None or isinstance(limit, bool) else str(limit)


def hints_of(schema: Schema, control: str) -> Iterator[str]:
    """What the schema asks for beyond the type."""
    if isinstance(schema.get("pattern"), str):
        yield _("Pattern: {pattern}").format(pattern=schema["pattern"])
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    if low is not None and high is not None:
        yield _("From {low} to {high}").format(low=low, high=high)
    elif low is not None:
        yield _("At least {low}").format(low=low)
    elif high is not None:
        yield _("At most {high}").format(high=high)
    if int(schema.get("minLength") or 0) > 1:
        yield _("At least {count} characters").format(count=schema["minLength"])
    if control == "lines":
        yield _("One element a line")
    if control == "yaml" or (control == "secret" and type_of(schema) != "string"):
        yield _("As YAML")
