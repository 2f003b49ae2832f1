"""Inputs of a form over a manifest: what they show of it, and what they write back.

An input writes only when its text differs from what the manifest holds, so that everything that a
form cannot show stays as it is.
"""

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cronsim import CronSim, CronSimError
from django.utils.functional import Promise
from django.utils.translation import gettext as _

from clusters import quantities
from console.editing.pair_lines import EntryError, as_lines, parse_lines, plain_values

Text = str | Promise
Step = str | int
Path = tuple[Step, ...]
Entered = Mapping[str, Sequence[str]]
Manifest = dict[str, Any]

MISSING: Any = object()
MAX_PORT = 65_535
MAX_INT32 = 2**31 - 1
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
SUBDOMAIN = re.compile(r"[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?")
KEY = re.compile(r"([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
DATA_KEY = re.compile(r"[-._A-Za-z0-9]{1,253}")
MAX_ROWS = 200


class InputError(ValueError):
    """An entry that cannot be written; the text says why, for the person."""


@dataclass(frozen=True, slots=True)
class Column:
    """One cell of each row of a list: `path` within its element."""

    path: Path
    title: Text
    rule: str = ""
    control: str = "text"
    options: tuple[str, ...] = ()
    required: bool = False


@dataclass(frozen=True, slots=True)
class Input:
    """One value of a manifest, or a list of them.

    `control` is text, select, toggle (–, true, false), lines (a list of texts), pairs (a map of
    texts), checks (a list out of `options`), rows (a list of objects) or data (a map as rows of
    key and value). `rule` names how a text is checked and converted.
    """

    path: Path
    title: Text
    control: str = "text"
    rule: str = ""
    required: bool = False
    help: Text = ""
    options: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    # Members beside it that are needed when it is: written when they are missing.
    needs: tuple[tuple[Path, Any], ...] = ()

    @property
    def name(self) -> str:
        """Its name in the form: the path as Kubernetes writes it in a refusal."""
        return path_name(self.path)


def path_name(path: Path) -> str:
    """`spec.containers[0].image` for ("spec", "containers", 0, "image")."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.removeprefix(".")


# --- places in a manifest -------------------------------------------------------------------------
def read_path(value: Any, path: Path) -> Any:
    """The value at a path; MISSING when there is none."""
    for step in path:
        if isinstance(step, int):
            inside = isinstance(value, list) and step < len(value)
        else:
            inside = isinstance(value, dict) and step in value
        if not inside:
            return MISSING
        value = value[step]
    return value


def write_path(manifest: Any, path: Path, value: Any) -> None:
    """Set the value at a path, MISSING removes it; InputError where something else stands."""
    if value is MISSING:
        return _remove(manifest, path)
    place = manifest
    for step, following in itertools.pairwise(path):
        fresh: Any = [] if isinstance(following, int) else {}
        place = _enter(place, step, fresh)
    _put(place, path[-1], value)
    return None


def _enter(place: Any, step: Step, fresh: Any) -> Any:
    inner = read_path(place, (step,))
    # A null stands for an absent object.
    if inner is MISSING or inner is None:
        _put(place, step, fresh)
        return fresh
    return inner


def _put(place: Any, step: Step, value: Any) -> None:
    if isinstance(place, dict) and isinstance(step, str):
        place[step] = value
    elif isinstance(place, list) and isinstance(step, int) and step <= len(place):
        place[step : step + 1] = [value]
    else:
        raise InputError(_("The YAML has something else in this place."))


def _remove(manifest: Any, path: Path) -> None:
    parents = [read_path(manifest, path[:depth]) for depth in range(len(path))]
    if read_path(manifest, path) is MISSING:
        return
    del parents[-1][path[-1]]
    # An object that held nothing else goes too: `resources: {}` says nothing.
    for depth in range(len(path) - 1, 0, -1):
        if parents[depth] or isinstance(path[depth - 1], int):
            return
        del parents[depth - 1][path[depth - 1]]


# --- texts and values -----------------------------------------------------------------------------
def text_of(value: Any) -> str:
    """A scalar as an input shows it; "" for what is absent."""
    if value is MISSING or value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _check_name(text: str) -> str:
    if not SUBDOMAIN.fullmatch(text):
        raise InputError(_("Lower case letters, digits, - and ., at both ends a letter or digit."))
    return text


def _check_label(text: str) -> str:
    if not LABEL.fullmatch(text):
        raise InputError(_("At most 63 lower case letters, digits and -."))
    return text


def _check_data_key(text: str) -> str:
    if not DATA_KEY.fullmatch(text):
        raise InputError(_("Letters, digits, -, _ and . only."))
    return text


def _parse_whole(text: str, low: int, high: int) -> int:
    is_number = re.fullmatch(r"-?[0-9]{1,10}", text)
    if not is_number or not low <= int(text) <= high:
        message = _("A whole number from %(low)s to %(high)s.")
        raise InputError(message % {"low": low, "high": high})
    return int(text)


def _parse_port_or_name(text: str) -> int | str:
    return _parse_whole(text, 1, MAX_PORT) if text.isdigit() else text


def _check_quantity(text: str) -> str:
    number = quantities.parse(text)
    if number is None or number < 0:
        raise InputError(_("A quantity such as 500m, 2 or 128Mi."))
    return text


def _check_schedule(text: str) -> str:
    try:
        if len(text.split()) != 5 and not text.startswith("@"):
            raise CronSimError
        if not text.startswith("@"):
            CronSim(text, datetime.now(UTC))
    except CronSimError:
        raise InputError(_("Five fields as for cron, such as 0 3 * * *.")) from None
    return text


def _split_commas(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


RULES: Mapping[str, Callable[[str], Any]] = {
    "": lambda text: text,
    "name": _check_name,
    "label": _check_label,
    "key": _check_data_key,
    "count": lambda text: _parse_whole(text, 0, MAX_INT32),
    "positive": lambda text: _parse_whole(text, 1, MAX_INT32),
    "port": lambda text: _parse_whole(text, 1, MAX_PORT),
    "port or name": _parse_port_or_name,
    "quantity": _check_quantity,
    "schedule": _check_schedule,
    "commas": _split_commas,
    "groups": _split_commas,
}


def parse_text(text: str, rule: str, *, required: bool) -> Any:
    """The value that a text stands for; MISSING for an empty one. InputError names the fault."""
    # Texts of data keep their blanks.
    bare = text.strip() if rule else text
    # The core API group is the empty word.
    if not bare and rule != "groups":
        if required:
            raise InputError(_("is required"))
        return MISSING
    return RULES[rule](bare)


def parse_pairs(text: str) -> dict[str, str]:
    """The map of lines `key=value`; InputError names a line that is none."""
    try:
        pairs = parse_lines(text)
    except EntryError as error:
        message = _("One in each line: key=value. Not so: %(entry)s")
        raise InputError(message % {"entry": error}) from None
    for key in pairs:
        if not KEY.fullmatch(key):
            raise InputError(_("%(entry)s cannot be a key.") % {"entry": key[:100]})
    return pairs


def plain_pairs(value: Any) -> dict[str, str]:
    """The members of a map that a line can hold."""
    members = value if isinstance(value, dict) else {}
    return plain_values({str(key): text_of(member) for key, member in members.items()})


# --- what inputs show -----------------------------------------------------------------------------
def show(field: Input, manifest: Manifest) -> dict[str, Any]:
    """What the template needs of an input: its facts, `text`, `choices` or `rows`."""
    value = read_path(manifest, field.path)
    facts: dict[str, Any] = {"field": field, "name": field.name}
    match field.control:
        case "lines":
            elements = value if isinstance(value, list) else []
            facts["text"] = "\n".join(text_of(element) for element in elements)
        case "pairs":
            facts["text"] = as_lines(plain_pairs(value))
        case "checks":
            chosen = value if isinstance(value, list) else []
            facts["choices"] = [(option, option in chosen) for option in field.options]
        case "rows":
            elements = value if isinstance(value, list) else []
            facts["rows"] = [_row(field, place, item) for place, item in enumerate(elements)]
            facts["blank"] = _row(field, MISSING, {})
        case "data":
            members = value if isinstance(value, dict) else {}
            pairs = [{"key": key, "value": member} for key, member in members.items()]
            facts["rows"] = [_row(field, place, item) for place, item in enumerate(pairs)]
            facts["blank"] = _row(field, MISSING, {})
        case _:
            facts["text"] = text_of(value)
            facts["choices"] = _choices(field.options, facts["text"])
    facts["lines"] = min(facts.get("text", "").count("\n") + 2, 12)
    return facts


def _choices(options: Sequence[str], text: str) -> list[tuple[str, bool]]:
    # A value that is none of the options stays one to choose.
    extra = [text] if text and text not in options else []
    return [(option, option == text) for option in [*options, *extra]]


def _row(field: Input, origin: Any, element: Any) -> dict[str, Any]:
    cells = [_cell(field, column, element) for column in field.columns]
    return {"origin": "" if origin is MISSING else origin, "cells": cells}


def _cell(field: Input, column: Column, element: Any) -> dict[str, Any]:
    value = read_path(element, column.path)
    text = ", ".join(map(text_of, value)) if isinstance(value, list) else text_of(value)
    source = element.get("valueFrom") if isinstance(element, dict) else None
    fixed = ""
    if source and column.path == ("value",):
        fixed = describe_source(source)
    return {
        "column": column,
        "name": f"{field.name}[].{path_name(column.path)}",
        "text": text,
        "fixed": fixed,
        "choices": _choices(column.options, text),
        "lines": min(text.count("\n") + 1, 10),
    }


def describe_source(source: Any) -> str:
    """`secretKeyRef credentials/password` for where the value of a variable comes from."""
    if not isinstance(source, dict) or not source:
        return ""
    kind, reference = next(iter(source.items()))
    parts = reference if isinstance(reference, dict) else {}
    names = [parts.get("name"), parts.get("key"), parts.get("fieldPath"), parts.get("resource")]
    return f"{kind} {'/'.join(str(name) for name in names if name)}"


# --- what inputs write ----------------------------------------------------------------------------
def write(field: Input, manifest: Manifest, entered: Entered) -> None:
    """Write what was entered into the manifest, when it differs; InputError when it is wrong."""
    before = read_path(manifest, field.path)
    after = _parse(field, before, entered)
    if after is not before:
        write_path(manifest, field.path, after)
    if after is MISSING or field.control == "pairs":
        return
    for path, value in field.needs:
        if read_path(manifest, path) is MISSING:
            write_path(manifest, path, deepcopy(value))


def _parse(field: Input, before: Any, entered: Entered) -> Any:
    if field.control in ("rows", "data"):
        return _parse_rows(field, before, entered)
    texts = entered.get(field.name)
    if field.control == "checks":
        # Boxes that are not checked are not sent.
        return _parse_checks(field, before, texts or ())
    if texts is None:
        return before
    text = texts[0].replace("\r\n", "\n")
    match field.control:
        case "pairs":
            return _parse_pairs(field, before, text)
        case "lines":
            lines = [line for line in text.split("\n") if line]
            same = isinstance(before, list) and [text_of(element) for element in before] == lines
            if field.required and not lines:
                raise InputError(_("is required"))
            return before if same else (lines or MISSING)
        case "toggle":
            if text == text_of(before):
                return before
            return {"true": True, "false": False}.get(text, MISSING)
    # What the YAML has is not judged before it is changed, but what is required has to be there.
    if text == text_of(before) and not (field.required and not text.strip()):
        return before if not text else _checked(field, before, text)
    return parse_text(text, field.rule, required=field.required)


def _checked(field: Input, before: Any, text: str) -> Any:
    parse_text(text, field.rule, required=field.required)
    return before


def _parse_checks(field: Input, before: Any, texts: Sequence[str]) -> Any:
    current = before if isinstance(before, list) else []
    others = [element for element in current if element not in field.options]
    chosen = [option for option in field.options if option in texts] + others
    if field.required and not chosen:
        raise InputError(_("is required"))
    return before if set(chosen) == set(current) else (chosen or MISSING)


def _parse_pairs(field: Input, before: Any, text: str) -> Any:
    current = before if isinstance(before, dict) else {}
    plain = plain_pairs(current)
    pairs = parse_pairs(text)
    if field.required and not pairs:
        raise InputError(_("is required"))
    if pairs == plain:
        return before
    # Values of several lines are not in the text and stay.
    others = {key: value for key, value in current.items() if str(key) not in plain}
    return {**others, **pairs} or MISSING


def _parse_rows(field: Input, before: Any, entered: Entered) -> Any:
    origins = entered.get(f"{field.name}[].origin")
    if origins is None:
        return before
    if len(origins) > MAX_ROWS:
        raise InputError(_("At most %(count)s rows.") % {"count": MAX_ROWS})
    current = _elements(field, before)
    elements: list[dict[str, Any]] = []
    for place, origin in enumerate(origins):
        base = _base_element(current, origin)
        texts = [_cell_text(field, column, entered, place) for column in field.columns]
        # A row without an entry is a row that was not filled in.
        if base or any(text.strip() for text in texts):
            elements.append(_parse_row(field, base, texts))
    if field.required and not elements:
        raise InputError(_("is required"))
    if elements == current:
        return before
    if field.control == "data":
        return _as_map(elements)
    return elements or MISSING


def _elements(field: Input, value: Any) -> list[Any]:
    if field.control == "data":
        members = value if isinstance(value, dict) else {}
        return [{"key": key, "value": member} for key, member in members.items()]
    return value if isinstance(value, list) else []


def _base_element(current: Sequence[Any], origin: str) -> dict[str, Any]:
    """A copy of the element that a row came from, with what the row does not show."""
    if not origin.isascii() or not origin.isdigit() or int(origin) >= len(current):
        return {}
    element = current[int(origin)]
    return deepcopy(element) if isinstance(element, dict) else {}


def _cell_text(field: Input, column: Column, entered: Entered, place: int) -> str:
    texts = entered.get(f"{field.name}[].{path_name(column.path)}", ())
    return texts[place].replace("\r\n", "\n") if place < len(texts) else ""


def _parse_row(field: Input, element: dict[str, Any], texts: Sequence[str]) -> dict[str, Any]:
    for column, text in zip(field.columns, texts, strict=True):
        if column.path == ("value",) and "valueFrom" in element:
            continue
        before = read_path(element, column.path)
        before_text = (
            ", ".join(map(text_of, before)) if isinstance(before, list) else text_of(before)
        )
        try:
            value = parse_text(text, column.rule, required=column.required)
        except InputError as error:
            raise InputError(f"{column.title}: {error}") from None
        # In a map a value may be empty.
        if field.control == "data" and value is MISSING:
            value = ""
        if text != before_text or before is MISSING:
            write_path(element, column.path, value)
    return element


def _as_map(elements: Sequence[Mapping[str, Any]]) -> Any:
    members: dict[str, Any] = {}
    for element in elements:
        key = str(element.get("key", ""))
        if key in members:
            raise InputError(_("%(entry)s stands there twice.") % {"entry": key})
        members[key] = element.get("value", "")
    return members or MISSING
