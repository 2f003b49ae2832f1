"""The forms of a rendered page: their controls with the labels that people read beside them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

# Elements that have no end.
VOID = frozenset(
    {"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"}
)
CONTROLS = frozenset({"input", "select", "textarea"})
# What stands inside of a label and is not its text.
NO_LABEL = frozenset({"select", "textarea", "datalist", "button"})
NOTE_CLASSES = frozenset({"help", "faint", "field-error"})
# Attributes with the paths that an API uses for a control, or for what is around it.
FIELD_ATTRIBUTES = ("data-field", "data-place")


@dataclass(frozen=True, slots=True)
class Span:
    """A part of the page's text, as positions of characters."""

    start: int
    end: int


@dataclass(slots=True)
class Element:
    """An element that is open, or was: its start tag, where it ends, its text as a label."""

    tag: str
    attributes: dict[str, str]
    start_tag: Span
    end: int = -1
    parts: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The text that people read, without line breaks."""
        return " ".join("".join(self.parts).split())

    @property
    def fields(self) -> list[str]:
        """The API's paths for what is inside."""
        paths = []
        for attribute in FIELD_ATTRIBUTES:
            paths += self.attributes.get(attribute, "").split()
        return [path.rpartition(":")[2] for path in paths]


@dataclass(slots=True)
class Control:
    """An input, a select or a textarea, with what is around it."""

    element: Element
    label: Element | None
    fieldset: Element | None
    fields: list[str]
    details: list[Element]
    options: list[Element] = field(default_factory=list)
    legend: str = ""

    @property
    def name(self) -> str:
        """The name that it is sent under."""
        return self.element.attributes.get("name", "")

    @property
    def type(self) -> str:
        """`text`, `checkbox`, `select`, …"""
        if self.element.tag != "input":
            return self.element.tag
        return self.element.attributes.get("type", "text")

    @property
    def title(self) -> str:
        """What the page calls it: of boxes that belong together what stands above them."""
        is_box = self.type in ("checkbox", "radio")
        if is_box and self.legend:
            return self.legend
        text = self.label.text if self.label else ""
        return text or self.element.attributes.get("aria-label", "") or self.legend

    def title_of(self, path: str) -> str:
        """The title; what stands above the fields when the path is about all of them."""
        above = self.fieldset.fields if self.fieldset else []
        return self.legend if self.legend and path in above else self.title


@dataclass(slots=True)
class PageForm:
    """A form of a page."""

    element: Element
    controls: list[Control] = field(default_factory=list)
    buttons: set[str] = field(default_factory=set)


class _Reader(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.forms: list[PageForm] = []
        self.problems: list[Element] = []
        self._open: list[Element] = []
        self._labels: dict[str, Element] = {}
        self._lines = [0]
        for line in page.split("\n"):
            self._lines.append(self._lines[-1] + len(line) + 1)
        self.feed(page)
        self.close()
        self._join_labels()

    @property
    def _position(self) -> int:
        line, column = self.getpos()
        return self._lines[line - 1] + column

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        start = self._position
        end = start + len(self.get_starttag_text() or "")
        attributes = {name: value or "" for name, value in attrs}
        element = Element(tag, attributes, Span(start, end))
        if tag == "form":
            self.forms.append(PageForm(element))
        if "data-problem" in attributes:
            self.problems.append(element)
        if tag == "label" and attributes.get("for"):
            self._labels[attributes["for"]] = element
        form = self._form
        if form and tag in CONTROLS:
            form.controls.append(self._control(element))
        if form and tag == "button":
            form.buttons.add(attributes.get("name", ""))
        if form and tag == "option" and form.controls and self._around("select"):
            form.controls[-1].options.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        # What nobody closed ends with what is around it.
        while any(element.tag == tag for element in self._open):
            element = self._open.pop()
            element.end = self._position
            if element.tag == "legend" and (fieldset := self._around("fieldset")):
                fieldset.parts = [element.text]
            if element.tag == tag:
                return

    def handle_data(self, data: str) -> None:
        for element in reversed(self._open):
            if element.tag in ("legend", "option"):
                element.parts.append(data)
                return
            if element.tag == "label":
                element.parts.append(data)
            classes = set(element.attributes.get("class", "").split())
            if element.tag in NO_LABEL or classes & NOTE_CLASSES:
                return

    @property
    def _form(self) -> PageForm | None:
        return self.forms[-1] if self._around("form") else None

    def _around(self, tag: str) -> Element | None:
        return next((element for element in reversed(self._open) if element.tag == tag), None)

    def _control(self, element: Element) -> Control:
        fields = list(element.fields)
        for outer in reversed(self._open):
            fields += [f"{path}.{inner}" for path in outer.fields for inner in fields]
            fields += outer.fields
        return Control(
            element,
            self._around("label"),
            self._around("fieldset"),
            fields,
            [outer for outer in self._open if outer.tag == "details"],
        )

    def _join_labels(self) -> None:
        for form in self.forms:
            for control in form.controls:
                identity = control.element.attributes.get("id", "")
                control.label = control.label or self._labels.get(identity)
                control.legend = control.fieldset.text if control.fieldset else ""


@dataclass(frozen=True, slots=True)
class PageForms:
    """The forms of a page, and the places where it says what is wrong."""

    forms: list[PageForm]
    problems: list[Element]


def read_forms(page: str) -> PageForms:
    """The forms of the HTML of a page or of a part of one."""
    reader = _Reader(page)
    return PageForms(reader.forms, reader.problems)


def candidates(path: str) -> Iterator[str]:
    """The names under which a form may have an API's path, the most exact first.

    `quotas[0].hard.limitCpu` may be `hard.limitCpu`, and of `labels.app` the form has `labels`.
    """
    yield path
    around = path
    while cut := max(around.rfind("."), around.rfind("[")) + 1:
        around = around[: cut - 1]
        yield around
    parts = [part for part in path.replace("[", ".").split(".") if part]
    names = [part for part in parts if not part.rstrip("]").isdigit()]
    for end in range(len(names), 0, -1):
        for start in range(end):
            name = ".".join(names[start:end])
            yield name
            yield name.removesuffix("_id")
