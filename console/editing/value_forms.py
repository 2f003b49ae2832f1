"""A form out of the JSON Schema of a template's values, and the values out of what was entered.

Only what a form can show well becomes fields of its own; everything else is entered as YAML. What
values may be is the API's to decide: the form only turns texts into values of the right type.
"""

import base64
import copy
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from textwrap import indent
from typing import Any

from django.http import QueryDict
from django.utils.translation import gettext as _

from clusters.manifests import MASK, from_yaml
from console.api_client import ApiRefusal
from console.editing.value_schema import (
    ABSENT,
    MAX_DEPTH,
    WORDS,
    Field,
    Group,
    Path,
    Schema,
    control_of,
    field_name,
    has_secret,
    hints_of,
    is_form,
    limit_of,
    options_of,
    plain_text,
    properties_of,
    resolve,
    text_of,
    title_of,
    type_of,
)
from core.api.parsing import WHOLE_NUMBER
from core.errors import Invalid

__all__ = [
    "WORDS",
    "Field",
    "Group",
    "Schema",
    "build_form",
    "field_name",
    "has_mask",
    "hide_texts",
    "mask_secrets",
    "read_values",
]
# More fields than that help less than YAML does.
MAX_FIELDS = 400
# Shorter lines of a longer secret, such as braces, are no secret by themselves.
MIN_LINE = 7
MAX_MASK = 100


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
    if properties_of(root):
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
        for name, part in properties_of(schema):
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
            help=plain_text(schema.get("description")),
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
        text = text_of(control, current)
        if entered is not None and not secret:
            text = entered
        return Field(
            path=path,
            title=title_of(path, schema),
            control=control,
            type=type_of(schema),
            required=required,
            secret=secret,
            default=default,
            help=plain_text(schema.get("description")),
            hints=tuple(hints_of(schema, control)),
            text=text,
            checked=(text == "true"),
            keeps_secret=secret and has_mask(value),
            options=tuple(self._options(path, schema, control, current)),
            minimum=limit_of(schema, "minimum", "exclusiveMinimum", 1),
            maximum=limit_of(schema, "maximum", "exclusiveMaximum", -1),
            step="1" if type_of(schema) == "integer" else "any",
            max_length=str(schema.get("maxLength", "")),
            min_length=int(schema.get("minLength") or 0),
            element_type=type_of(resolve(schema.get("items"), self._root)),
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
            yield from options_of(schema, {text_of(control, value) if chosen is None else chosen})
        if control == "choices":
            elements = value if isinstance(value, list) else []
            ticked = {text_of("select", element) for element in elements}
            if self._posted is not None:
                ticked = set(self._posted.getlist(field_name(path)))
            yield from options_of(resolve(schema.get("items"), self._root), ticked)

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
