"""A form out of the JSON Schema of a template's values, and the values out of what was entered.

Only what a form can show well becomes fields of its own; everything else is entered as YAML. What
values may be is the API's to decide: the form only turns texts into values of the right type.
"""

import base64
import copy
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from textwrap import indent
from typing import Any

from django.http import QueryDict
from django.utils.translation import gettext as _

from clusters.manifests import MASK, from_yaml, to_yaml
from clusters.schema_check import path_text
from console.api_client import ApiRefusal
from core.api.parsing import WHOLE_NUMBER
from core.errors import Invalid

Schema = Mapping[str, Any]
Path = tuple[str, ...]

SCALARS = frozenset({"string", "integer", "number", "boolean"})
MAX_DEPTH = 8
# More fields than that help less than YAML does.
MAX_FIELDS = 400
# Texts that may be this long are given more than a line.
LONG_TEXT = 500
# Shorter lines of a longer secret, such as braces, are no secret by themselves.
MIN_LINE = 7
MAX_MASK = 100
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


# --- the form -------------------------------------------------------------------------------------
def build_form(
    schema: Schema,
    values: Mapping[str, Any] | None = None,
    *,
    posted: QueryDict | None = None,
) -> Group:
    """The form of a schema with the defaults, the `values`, or what was `posted`, in its fields.

    Secrets are never in it. Those that are masks in `values` stay when nothing is entered.
    """
    builder = _Builder(schema, posted)
    current = ABSENT if values is None else values
    root = resolve(schema, schema)
    if _properties(root):
        return builder.group((), root, current, required=True)
    # Without names for its values a template takes any.
    whole = builder.field((), {"title": _("Values"), **root}, current, required=False)
    return Group((), "", "", required=True, default=ABSENT, rows=(whole,))


class _Builder:
    def __init__(
        self,
        root: Schema,
        posted: QueryDict | None,
    ) -> None:
        self._root = root
        self._posted = posted
        self._count = 0

    def group(
        self,
        path: Path,
        schema: Schema,
        value: object,
        *,
        required: bool,
    ) -> Group:
        rows: list[Field | Group] = []
        needs = schema.get("required")
        required_names = needs if isinstance(needs, list) else []
        defaults = schema.get("default")
        for name, part in _properties(schema):
            inner = value.get(name, ABSENT) if isinstance(value, Mapping) else ABSENT
            part = resolve(part, self._root)
            if "default" not in part and isinstance(defaults, Mapping) and name in defaults:
                part = {**part, "default": defaults[name]}
            is_required = name in required_names
            place = (*path, name)
            self._count += 1
            if is_form(part) and len(place) < MAX_DEPTH and self._count < MAX_FIELDS:
                rows.append(self.group(place, part, inner, required=is_required))
            else:
                rows.append(self.field(place, part, inner, required=is_required))
        rows.sort(key=lambda row: _order(row, required_names))
        return Group(
            path=path,
            title=title_of(path, schema),
            help=_text(schema.get("description")),
            required=required,
            default=defaults if "default" in schema else ABSENT,
            rows=tuple(rows),
        )

    def field(
        self,
        path: Path,
        schema: Schema,
        value: object,
        *,
        required: bool,
    ) -> Field:
        secret = has_secret(schema, self._root)
        control = control_of(schema, self._root, secret=secret)
        default = schema.get("default", ABSENT)
        current = default if value is ABSENT else value
        current = ABSENT if secret else current
        entered = self._entered(path, control)
        text = _text_of(control, current)
        if entered is not None and not secret:
            text = entered
        return Field(
            path=path,
            title=title_of(path, schema),
            control=control,
            type=_type(schema),
            required=required,
            secret=secret,
            default=default,
            help=_text(schema.get("description")),
            hints=tuple(_hints(schema, control)),
            text=text,
            checked=(text == "true"),
            keeps_secret=secret and has_mask(value),
            options=tuple(self._options(path, schema, control, current)),
            minimum=_limit(schema, "minimum", "exclusiveMinimum", 1),
            maximum=_limit(schema, "maximum", "exclusiveMaximum", -1),
            step="1" if _type(schema) == "integer" else "any",
            max_length=str(schema.get("maxLength", "")),
            min_length=int(schema.get("minLength") or 0),
            element_type=_type(resolve(schema.get("items"), self._root)),
        )

    def _options(
        self,
        path: Path,
        schema: Schema,
        control: str,
        value: object,
    ) -> Iterator[tuple[str, str, bool]]:
        if control == "select":
            chosen = self._entered(path, control)
            yield from _options(schema, {_text_of(control, value) if chosen is None else chosen})
        if control == "choices":
            elements = value if isinstance(value, list) else []
            ticked = {_text_of("select", element) for element in elements}
            if self._posted is not None:
                ticked = set(self._posted.getlist(field_name(path)))
            yield from _options(resolve(schema.get("items"), self._root), ticked)

    def _entered(self, path: Path, control: str) -> str | None:
        if self._posted is None:
            return None
        text = self._posted.get(field_name(path))
        if control == "checkbox":
            return "true" if text else "false"
        return text


def _order(
    row: Field | Group,
    required_names: list[Any],
) -> tuple[bool, int, bool, str]:
    """What is required comes first, as the schema lists it; groups come last.

    The members of a schema have no order of their own: the database does not keep it.
    """
    name = row.path[-1]
    place = required_names.index(name) if name in required_names else 0
    return name not in required_names, place, isinstance(row, Group), row.title.casefold()


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
        _type(schema) in ("object", "")
        and bool(_properties(schema))
        and not any(name in schema for name in ("anyOf", "oneOf", "allOf", "if"))
        and not schema.get("writeOnly")
        and not isinstance(schema.get("additionalProperties"), Mapping)
        and "patternProperties" not in schema
    )


def _properties(schema: Schema) -> list[tuple[str, object]]:
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
            *(part for _name, part in _properties(part)),
        ]
        pending += [part.get("items"), part.get("additionalProperties")]
        for name in ("anyOf", "oneOf", "allOf", "prefixItems"):
            pending += part.get(name) or []
    return False


def _type(schema: Schema) -> str:
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
    kind = _type(schema)
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
        if _type(items) in SCALARS:
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
    return _text(schema.get("title")) or (path[-1] if path else "")


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _text_of(control: str, value: object) -> str:
    """A value as the control shows it."""
    if value is ABSENT or value is None:
        return ""
    if control in ("checkbox", "select"):
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    if control == "lines" and isinstance(value, list):
        return "\n".join(_scalar_text(element) for element in value)
    if control == "yaml":
        return to_yaml(value) if value not in ({}, []) else json.dumps(value)
    return _scalar_text(value)


def _scalar_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _options(
    schema: Schema,
    chosen: Collection[str],
) -> Iterator[tuple[str, str, bool]]:
    choices = [schema["const"]] if "const" in schema else schema["enum"]
    # Values that are ids of something have its names beside them.
    words = schema.get(WORDS) or {}
    for choice in choices:
        value = json.dumps(choice, ensure_ascii=False, sort_keys=True)
        text = _scalar_text(choice)
        yield value, words.get(text, text), value in chosen


def _limit(
    schema: Schema,
    name: str,
    exclusive: str,
    step: int,
) -> str:
    """The limit as an attribute; beyond an exclusive one the next integer begins."""
    limit = schema.get(exclusive)
    if isinstance(limit, int) and not isinstance(limit, bool) and _type(schema) == "integer":
        return str(limit + step)
    limit = schema.get(name)
    return "" if limit is None or isinstance(limit, bool) else str(limit)


def _hints(schema: Schema, control: str) -> Iterator[str]:
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
    if control == "yaml" or (control == "secret" and _type(schema) != "string"):
        yield _("As YAML")


# --- the values -----------------------------------------------------------------------------------
def read_values(schema: Schema, posted: QueryDict) -> dict[str, Any]:
    """The values that were entered; what was left empty is absent, so that defaults go for it.

    Raises ApiRefusal (1001) with the value's path in `field` for a text that is no such value.
    """
    form = build_form(schema)
    first = form.rows[0]
    if isinstance(first, Field) and not first.path:
        whole = _read_field(first, posted)
        if whole is not ABSENT and not isinstance(whole, dict):
            raise _refusal(first, _("{title} is not YAML."))
        return whole if isinstance(whole, dict) else {}
    values, _touched = _read_group(form, posted)
    return values


def _read_group(
    group: Group,
    posted: QueryDict,
) -> tuple[dict[str, Any], bool]:
    """The group's values, and whether something in it was really entered."""
    values: dict[str, Any] = {}
    touched = False
    for row in group.rows:
        if isinstance(row, Group):
            inner, inner_touched = _read_group(row, posted)
            # An optional object that was left alone stays out: what it requires is then not asked.
            if inner_touched or row.required or row.default is not ABSENT:
                values[row.path[-1]] = inner
                touched = touched or inner_touched
            continue
        value = _read_field(row, posted)
        if value is ABSENT:
            continue
        values[row.path[-1]] = value
        touched = touched or value is not False or row.default is not ABSENT
    return values, touched


def _read_field(row: Field, posted: QueryDict) -> Any:
    text = posted.get(row.name)
    if row.control == "checkbox":
        return bool(text)
    if row.control == "choices":
        ticked = [_read_choice(row, choice) for choice in posted.getlist(row.name)]
        return ticked or ABSENT
    if text is None:
        return ABSENT
    if row.control in ("textarea", "yaml", "secret", "lines"):
        # Browsers send the line ends of the network.
        text = text.replace("\r\n", "\n")
    if text == "":
        # A text that has a default was emptied on purpose.
        emptied = row.control in ("text", "textarea") and row.default not in (ABSENT, "", None)
        return "" if emptied else _emptied_list(row)
    if row.control == "select":
        return _read_choice(row, text)
    if row.control == "number":
        return _read_number(row, text.strip())
    if row.control == "lines":
        return [_read_line(row, line.strip()) for line in text.split("\n") if line.strip()]
    if row.control == "yaml" or (row.control == "secret" and row.type != "string"):
        return _read_yaml(row, text)
    return text


def _emptied_list(row: Field) -> Any:
    is_emptied = row.control == "lines" and row.default not in (ABSENT, [], None)
    return [] if is_emptied else ABSENT


def _read_choice(row: Field, text: str) -> Any:
    if text not in {value for value, _word, _chosen in row.options}:
        raise _refusal(row, _("{title} has no such choice."))
    return json.loads(text)


def _read_number(row: Field, text: str) -> Any:
    if WHOLE_NUMBER.match(text):
        return int(text)
    try:
        number = float(text)
    except ValueError:
        raise _refusal(row, _("{title} is not a number.")) from None
    if number in (float("inf"), float("-inf")) or number != number:
        raise _refusal(row, _("{title} is not a number."))
    return number


def _read_line(row: Field, line: str) -> Any:
    """An element of a list, of the type that the schema has for them."""
    if row.element_type in ("integer", "number"):
        return _read_number(row, line)
    if row.element_type == "boolean":
        if line not in ("true", "false"):
            raise _refusal(row, _("{title} takes true or false in each line."))
        return line == "true"
    return line


def _read_yaml(row: Field, text: str) -> Any:
    try:
        return from_yaml("value:\n" + indent(text, "  "))["value"]
    except Invalid:
        raise _refusal(row, _("{title} is not YAML.")) from None


def _refusal(row: Field, message: str) -> ApiRefusal:
    return ApiRefusal(1001, message.format(title=row.title), {"field": row.place}, 400)


# --- secrets --------------------------------------------------------------------------------------
def has_mask(value: object) -> bool:
    """Whether something in a deployment's value is a secret that the API masks."""
    if isinstance(value, Mapping):
        return any(has_mask(member) for member in value.values())
    if isinstance(value, list):
        return any(has_mask(element) for element in value)
    return value == MASK


def mask_secrets(
    schema: Schema,
    values: Mapping[str, Any],
    kept: Collection[str],
) -> tuple[dict[str, Any], list[str]]:
    """The values with masks for secrets, also for those `kept` (by path) that were not entered.

    With them the texts that the masks replace, none of which may appear on a page.
    """
    masked: dict[str, Any] = copy.deepcopy(dict(values))
    texts: list[str] = []
    for row in _secret_fields(build_form(schema)):
        if not row.path:
            return {}, list(_texts_in(values))
        parent: Any = masked
        for step in row.path[:-1]:
            parent = parent.setdefault(step, {}) if row.place in kept else parent.get(step, {})
        name = row.path[-1]
        if name in parent:
            texts += _texts_in(parent[name])
        if name in parent or row.place in kept:
            # A mask that is long enough passes the check that the value itself passes.
            parent[name] = MASK.ljust(min(row.min_length, MAX_MASK), MASK[0])
    return masked, texts


def _secret_fields(group: Group) -> Iterator[Field]:
    for row in group.rows:
        if isinstance(row, Group):
            yield from _secret_fields(row)
        elif row.secret:
            yield row


def _texts_in(value: object) -> Iterator[str]:
    """Every text of a value, with the lines of those that have several."""
    if isinstance(value, Mapping):
        for member in value.values():
            yield from _texts_in(member)
    elif isinstance(value, list):
        for element in value:
            yield from _texts_in(element)
    elif value is not None and not isinstance(value, bool):
        text = str(value)
        yield text
        yield from (line.strip() for line in text.splitlines() if len(line.strip()) > MIN_LINE)


def hide_texts(text: str, secrets: Iterable[str]) -> str:
    """The text with masks in the place of secrets, also where they are base64."""
    for secret in sorted(set(secrets), key=len, reverse=True):
        if secret:
            encoded = base64.b64encode(secret.encode()).decode()
            text = text.replace(encoded, MASK).replace(secret, MASK)
    return text
