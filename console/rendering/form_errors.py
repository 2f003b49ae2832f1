"""A refusal on a page with forms: it names the field as the page does, and stands beside it.

The labels are read from the page itself, so that there is no second list of them to keep.
"""

import html
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, QueryDict
from django.utils.translation import gettext as _

from console.api_client import ApiRefusal
from console.messages import translate_message
from console.rendering.html import escape
from console.rendering.page_forms import (
    Control,
    Element,
    PageForm,
    Span,
    candidates,
    read_forms,
)

# What is typed into these is not shown again, or is not for people.
UNSHOWN = frozenset({"password", "hidden", "file", "submit", "button"})
BOXES = frozenset({"checkbox", "radio"})
# A path as the API writes one; what stands in quotes or in an address is a value.
_PATH = re.compile(r"(?<![\w./\"'-])[A-Za-z]\w*(?:\.\w+|\[\w*\])*(?![\w/\"'-])", re.ASCII)
_ROW = re.compile(r"\A[A-Za-z]\w*\[\d+\]: ")
# A value in quotes, as messages of the API write it.
_QUOTED = re.compile(r"'([^']+)'")


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a field: its path in the API, "" for the whole, and the sentence."""

    path: str
    message: str


@dataclass(frozen=True, slots=True)
class _Fault:
    """A problem as the page tells it: at its control, None for none, with the page's words."""

    control: Control | None
    message: str


@dataclass(frozen=True, slots=True)
class _Edit:
    place: Span
    text: str


def list_problems(refusal: ApiRefusal) -> list[Problem]:
    """What a refusal is about: the causes that a cluster names, else the field of the API."""
    status = refusal.details.get("details")
    causes = status.get("causes") if isinstance(status, Mapping) else None
    problems = [
        Problem(str(cause["field"]), translate_message(str(cause.get("message") or "")))
        for cause in causes or []
        if cause.get("field")
    ]
    field = str(refusal.details.get("field") or "")
    # The message may name a member of the field: `hard` is wrong in `hard.limitCpu`.
    member = re.search(rf"(?<![\w.]){re.escape(field)}[.\[][\w.\[\]]*\w\]?", refusal.message)
    path = member[0] if field and member else field
    # `quotas[0]: …` says only where the field stands, which the page shows.
    message = _ROW.sub("", refusal.message)
    return problems or [Problem(path, message)]


def find_control(form: PageForm, path: str) -> Control | None:
    """The control that a path of the API is about; None when the form has none."""
    controls = [control for control in form.controls if control.type != "hidden"]
    for name in candidates(path):
        for control in controls:
            if name in control.fields:
                return control
        for control in controls:
            if name and name in (control.name, control.name.removesuffix("_id")):
                return control
    return None


def reword(message: str, form: PageForm, path: str = "") -> str:
    """The message with the labels of the page for the paths of the API."""
    names = {control.name for control in form.controls}

    def label(match: re.Match[str]) -> str:
        token = match[0]
        # In an English sentence a plain word is the name of a field only where it begins.
        is_name = (
            not match.start()
            or any(mark in token for mark in "._[")
            or not message.isascii()
            or f"{path}.{token}" in names
        )
        own = {path, *candidates(path)} if path else set()
        if not is_name or (token not in own | names and f"{path}.{token}" not in names):
            return token
        place = f"{path}.{token}" if f"{path}.{token}" in names else token
        place = path if token in own else place
        control = find_control(form, place)
        return (control.title_of(place) if control else "") or token

    return _PATH.sub(label, message)


def choose_form(
    forms: Iterable[PageForm],
    address: str,
    posted: QueryDict,
) -> PageForm | None:
    """The form of a page that was sent to an address; None for a page without one."""
    best: PageForm | None = None
    best_score = 0
    for form in forms:
        names = {control.name for control in form.controls} | form.buttons
        score = len(names & set(posted)) - len(set(posted) - names)
        for control in form.controls:
            is_fixed = control.type == "hidden" and control.name in posted
            if is_fixed and control.name != "csrfmiddlewaretoken":
                same = posted[control.name] == control.element.attributes.get("value", "")
                score += 2 if same else -2
        attributes = form.element.attributes
        is_post = attributes.get("method", "").lower() == "post"
        is_sent = is_post and attributes.get("action", "") in ("", address)
        if is_sent and (best is None or score > best_score):
            best = form
            best_score = score
    return best


def name_fields(page: str, request: HttpRequest, refusal: ApiRefusal) -> str:
    """Have a refusal's message name its fields as the form of the page does.

    The name of the first control that is wrong, "" for none.
    """
    form = choose_form(read_forms(page).forms, request.path, request.POST)
    if form is None:
        return ""
    faults = _list_faults(form, refusal, request.POST)
    refusal.message = _sentences(form, refusal, faults)
    return next((fault.control.name for fault in faults if fault.control), "")


def _list_faults(form: PageForm, refusal: ApiRefusal, posted: QueryDict) -> list[_Fault]:
    faults = []
    for problem in list_problems(refusal):
        control = _control_of(form, problem, posted)
        message = reword(problem.message, form, problem.path)
        title = control.title_of(problem.path) if control else problem.path
        # The sentence has the field's name in front unless it names it by itself.
        if title and title.casefold() not in message.casefold():
            message = _("{field}: {message}").format(field=title, message=message)
        faults.append(_Fault(control, message))
    return faults


def _sentences(form: PageForm, refusal: ApiRefusal, faults: Iterable[_Fault]) -> str:
    if not any(fault.control for fault in faults):
        return reword(_ROW.sub("", refusal.message), form)
    return " ".join(fault.message for fault in faults)


def mark_fields(page: str, request: HttpRequest, refusal: ApiRefusal) -> str:
    """The page of a form that was refused: what was typed, and each problem beside its field."""
    posted = request.POST
    document = read_forms(page)
    form = choose_form(document.forms, request.path, posted)
    if form is None:
        return page
    edits = [*_retyped(form, posted)]
    faults = _list_faults(form, refusal, posted)
    controls: list[Control] = []
    for fault in faults:
        if fault.control is None or fault.control in controls:
            continue
        controls.append(fault.control)
        edits += _marks(fault.control, fault.message, len(controls))
    if controls:
        edits += _focus(document.forms, controls[0])
    text = escape(_sentences(form, refusal, faults))
    for element in document.problems:
        edits.append(_Edit(Span(element.start_tag.end, element.end), text))
    return _apply(page, edits)


def _control_of(form: PageForm, problem: Problem, posted: QueryDict) -> Control | None:
    """The control of a problem.

    Of one that names no field that whose name the message begins with, else that whose text the
    message quotes.
    """
    if problem.path and (control := find_control(form, problem.path)):
        return control
    match = _PATH.match(problem.message)
    names = {control.name for control in form.controls}
    if match and match[0] in names:
        return find_control(form, match[0])
    quoted = set(_QUOTED.findall(problem.message))
    for control in form.controls:
        is_shown = control.type not in UNSHOWN
        if is_shown and posted.get(control.name) and posted[control.name] in quoted:
            return control
    return None


def _marks(control: Control, message: str, number: int) -> Iterable[_Edit]:
    identity = f"field-error-{number}"
    text = f'<p class="field-error" id="{identity}">{escape(message)}</p>'
    around = control.label or control.element
    if control.type in BOXES and control.fieldset:
        yield _insert(_end(control.fieldset, len("</fieldset>"), inside=True), text)
    else:
        whole = " whole" if "whole" in around.attributes.get("class", "").split() else ""
        yield _insert(around.start_tag.start, f'<div class="with-error{whole}">')
        yield _insert(_end(around, len(f"</{around.tag}>")), f"{text}</div>")
    described = f"{control.element.attributes.get('aria-describedby', '')} {identity}".strip()
    added = {"aria-invalid": "true", "aria-describedby": described}
    yield _Edit(control.element.start_tag, _start_tag(control.element, added))


def _end(element: Element, closing: int, *, inside: bool = False) -> int:
    """Where an element ends, or its content."""
    if element.end < 0:
        return element.start_tag.end
    return element.end if inside else element.end + closing


def _focus(forms: Iterable[PageForm], first: Control) -> Iterable[_Edit]:
    for form in forms:
        for control in form.controls:
            if control is not first and "autofocus" in control.element.attributes:
                calm = _start_tag(control.element, {"autofocus": None})
                yield _Edit(control.element.start_tag, calm)
    yield _Edit(first.element.start_tag, _start_tag(first.element, {"autofocus": ""}))
    for details in first.details:
        yield _Edit(details.start_tag, _start_tag(details, {"open": ""}))


def _retyped(form: PageForm, posted: QueryDict) -> Iterable[_Edit]:
    """The controls with what was sent of them."""
    values = {name: list(posted.getlist(name)) for name in posted}
    for control in form.controls:
        attributes = control.element.attributes
        if control.type in UNSHOWN or "data-unshown" in attributes or "disabled" in attributes:
            continue
        if control.type in BOXES:
            chosen = attributes.get("value", "on") in values.get(control.name, [])
            changes = {"checked": "" if chosen else None}
            yield _Edit(control.element.start_tag, _start_tag(control.element, changes))
            continue
        if not values.get(control.name):
            continue
        text = values[control.name].pop(0)
        if control.type == "select":
            for option in control.options:
                value = option.attributes.get("value", option.text)
                changes = {"selected": "" if value == text else None}
                yield _Edit(option.start_tag, _start_tag(option, changes))
        elif control.type == "textarea":
            # A browser drops the line break that a text begins with.
            shown = "\n" + html.escape(text)
            yield _Edit(Span(control.element.start_tag.end, control.element.end), shown)
        else:
            name = "data-moment" if "data-moment" in attributes else "value"
            yield _Edit(control.element.start_tag, _start_tag(control.element, {name: text}))


def _start_tag(element: Element, changes: Mapping[str, Any]) -> str:
    """The start tag after changes, which later ones see; None takes an attribute away."""
    for name, value in changes.items():
        if value is None:
            element.attributes.pop(name, None)
        else:
            element.attributes[name] = value
    texts = [
        f'{name}="{html.escape(value)}"' if value else name
        for name, value in element.attributes.items()
    ]
    return f"<{' '.join([element.tag, *texts])}>"


def _insert(place: int, text: str) -> _Edit:
    return _Edit(Span(place, place), text)


def _apply(page: str, edits: Iterable[_Edit]) -> str:
    """The page with the edits; of several for one place the last has seen those before it."""
    final: dict[Span, str] = {}
    for edit in edits:
        is_insertion = edit.place.start == edit.place.end
        other = final.get(edit.place, "") if is_insertion else ""
        # Where two fields meet, the first one is closed before the second one begins.
        is_start = edit.text.startswith("<div")
        final[edit.place] = other + edit.text if is_start else edit.text + other
    for place in sorted(final, key=lambda span: (span.start, span.end), reverse=True):
        page = page[: place.start] + final[place] + page[place.end :]
    return page
