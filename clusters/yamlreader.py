"""YAML as Kubernetes' own reader (sigs.k8s.io/yaml) takes it, within limits that hold before anything is composed.

libyaml gives events without recursion; a composer would recurse into them, and expand aliases and merge keys before anybody
could count. Here values are built from the events one by one, and every limit is checked on the way.
"""

import base64
import binascii
import math
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import yaml

from core.errors import Invalid

MAX_BYTES = 1024 * 1024
MAX_NODES = 200_000
MAX_DEPTH = 100
MAX_KEY = 1024
MAX_DIRECTIVES = 100
INT64 = range(-(2**63), 2**63)

PREFIX = "tag:yaml.org,2002:"
STR, BOOL, INT, FLOAT, NULL, TIME, MERGE, BINARY = (
    PREFIX + name
    for name in ("str", "bool", "int", "float", "null", "timestamp", "merge", "binary")
)
# Other tags say nothing to Kubernetes' reader: what they stand before is text, a list or a mapping as it is.
RESOLVED = frozenset({STR, BOOL, INT, FLOAT, NULL, TIME})
# Only what begins with one of these can be anything else than text.
FIRST = frozenset("+-.0123456789yYnNtTfFoO~<")
CONSTANTS: dict[str, tuple[str, Any]] = {
    "": (NULL, None),
    **dict.fromkeys(("~", "null", "Null", "NULL"), (NULL, None)),
    **dict.fromkeys(
        ("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), (BOOL, True)
    ),
    **dict.fromkeys(
        ("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), (BOOL, False)
    ),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), (FLOAT, float("nan"))),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), (FLOAT, float("inf"))),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), (FLOAT, float("-inf"))),
    "<<": (MERGE, "<<"),
}
# Each of these is linear: no part of them can match the same letters in two ways.
DECIMAL = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
INTEGER = re.compile(
    r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|(0|[1-9][0-9]*))\Z"
)
MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:(?:[Tt]|[ ]+)[0-9]{1,2}:[0-9]{1,2}:[0-9]{1,2}(?:\.[0-9]+)?"
    r"[ ]*(?:Z|[-+][0-9]{1,2}(?::?[0-9]{2})?)?)?\Z"
)
BEYOND_64_BITS = "integers beyond 64 bits are not allowed"
MAX_DIGITS = 400


class Beyond(Invalid):
    """The document is larger, deeper or expands to more than is read."""


@dataclass(slots=True)
class Parsed:
    """One document: its value, and its tree with places in the text when that was asked for."""

    value: Any
    node: yaml.Node | None = None


@dataclass(slots=True)
class _Anchored:
    value: Any
    size: int
    depth: int
    node: yaml.Node | None


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end was not read yet; `size` counts nodes with what aliases stand for."""

    event: Any
    value: Any
    anchor: str | None
    size: int = 1
    depth: int = 0
    key: Any = None
    keyed: bool = False
    merging: bool = False
    is_pair: bool = False
    key_node: yaml.Node | None = None
    children: list[Any] = field(default_factory=list)


def check_size(text: str, what: str = "the document") -> None:
    """Beyond when the text is larger than one document may be, blanks included."""
    if len(text) > MAX_BYTES or len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise Beyond(f"{what} is larger than {MAX_BYTES // 1024} KiB")


def parse(text: str, *, places: bool = False) -> Iterator[Parsed]:
    """Each document of the text, one after the other; Invalid (Beyond for a limit), yaml.YAMLError where it is no YAML."""
    check_size(text)
    text = text.removeprefix("\ufeff")
    if text.startswith("%") or "\n%" in text:
        directives = sum(line.startswith("%") for line in text.splitlines())
        if directives > MAX_DIRECTIVES:
            raise Beyond(f"the document has more than {MAX_DIRECTIVES} lines that begin with %")
    builder = _Builder(text, places=places)
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            if (done := builder.take(event)) is not None:
                yield done
    except UnicodeEncodeError:
        raise Invalid("the text holds half of a surrogate pair") from None


class _Builder:
    """Takes events and keeps count; nothing in it recurses."""

    def __init__(self, text: str, *, places: bool) -> None:
        self.text = text
        self.places = places
        # A tag that has taken the comma after it, until what it stands before is read.
        self.tag_with_comma: str | None = None
        self.nodes = 0
        self.open: list[_Open] = []
        self.anchors: dict[str, _Anchored | None] = {}
        self.root: Parsed | None = None

    def take(self, event: Any) -> Parsed | None:
        """The document that ended with this event, if one did."""
        if self.tag_with_comma is not None:
            self._pass_on_tag(event)
        match event:
            case yaml.ScalarEvent():
                self._scalar(event)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._start(event)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._end(event)
            case yaml.AliasEvent():
                self._alias(event)
            case yaml.DocumentStartEvent():
                self.anchors, self.root = {}, Parsed(None)
            case yaml.DocumentEndEvent():
                return self.root
        return None

    def _count(self, size: int, depth: int) -> None:
        self.nodes += size
        if self.nodes > MAX_NODES:
            raise Beyond(
                f"the document has more than {MAX_NODES} values, counting what aliases stand for"
            )
        if len(self.open) + depth > MAX_DEPTH:
            raise Beyond(f"the document nests deeper than {MAX_DEPTH} levels")

    def _scalar(self, event: Any) -> None:
        self._count(1, 0)
        _check_tag(event)
        if self._takes_comma(event):
            self.tag_with_comma = f"{event.tag},"
            return
        plain = event.implicit[0]
        # What stands in quotes is text, unless a tag says otherwise.
        tag = event.tag or ("" if plain else STR)
        if tag == "!":
            tag = STR
        try:
            kind, value = tagged(tag, event.value)
        except ValueError as error:
            raise Invalid(f"not valid YAML: {error}{_where(event.start_mark)}") from None
        node = (
            yaml.ScalarNode(kind, event.value, event.start_mark, event.end_mark)
            if self.places
            else None
        )
        if event.anchor:
            self.anchors[event.anchor] = _Anchored(value, 1, 0, node)
        merge = event.value == "<<" and (tag == MERGE or (plain and not event.tag))
        self._add(value, 1, 0, node, merge=merge, mark=event.start_mark)

    def _takes_comma(self, event: Any) -> bool:
        """Whether a tag stands before a comma, as in `[!=, a]`; Invalid where Kubernetes' reader makes something else of it.

        A comma belongs to the tag there: "a" with the tag "!=,". To libyaml these are two values, the first without text.
        """
        end = event.end_mark.index
        if event.value or not event.tag or self.text[end : end + 1] != ",":
            return False
        last = self.text[event.start_mark.index : end].split()[-1]
        if not last.startswith("!"):
            # What stands before the comma are quotes or an anchor.
            return False
        inside = self.open[-1]
        is_key = isinstance(inside.value, dict) and not inside.keyed
        is_ended = not last.startswith("!<") and self.text[end + 1 : end + 2].isspace()
        if is_key or inside.is_pair or event.anchor or not is_ended:
            raise _misplaced_tag(event)
        return True

    def _pass_on_tag(self, event: Any) -> None:
        tag, self.tag_with_comma = self.tag_with_comma, None
        inside = self.open[-1]
        if isinstance(event, yaml.SequenceEndEvent | yaml.MappingEndEvent):
            mark: Any = event.start_mark
            node = yaml.ScalarNode(STR, "", mark, mark) if self.places else None
            self._add("", 1, 0, node, mark=mark)
            return
        takes_tag = isinstance(inside.value, list) or inside.is_pair
        if not takes_tag or isinstance(event, yaml.AliasEvent) or event.tag:
            raise _misplaced_tag(event)
        if isinstance(event, yaml.ScalarEvent):
            event.tag = tag
        elif self._is_pair(event):
            if self.text[event.start_mark.index] == "?":
                raise _misplaced_tag(event)
            # It stands before the key.
            self.tag_with_comma = tag

    def _is_pair(self, event: Any) -> bool:
        """Whether this begins a mapping without braces in a list, as in `[a: b]`."""
        if not isinstance(event, yaml.MappingStartEvent) or not event.flow_style:
            return False
        start: Any = event.start_mark
        return not event.anchor and not event.tag and self.text[start.index] != "{"

    def _start(self, event: Any) -> None:
        self._count(1, 1)
        _check_tag(event)
        if event.anchor:
            # An alias inside of what it names would have no end.
            self.anchors[event.anchor] = None
        value: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
        self.open.append(_Open(event, value, event.anchor, is_pair=self._is_pair(event)))

    def _end(self, event: Any) -> None:
        done = self.open.pop()
        node: yaml.Node | None = None
        if self.places:
            made = yaml.MappingNode if isinstance(done.value, dict) else yaml.SequenceNode
            node = made("", done.children, done.event.start_mark, event.end_mark)
        if done.anchor:
            self.anchors[done.anchor] = _Anchored(done.value, done.size, done.depth + 1, node)
        self._add(done.value, done.size, done.depth + 1, node, mark=done.event.start_mark)

    def _alias(self, event: Any) -> None:
        if event.anchor not in self.anchors:
            raise Invalid(
                f"not valid YAML: unknown anchor {event.anchor[:60]!r}{_where(event.start_mark)}"
            )
        known = self.anchors[event.anchor]
        if known is None:
            raise Invalid(
                f"not valid YAML: anchor {event.anchor[:60]!r} contains itself{_where(event.start_mark)}"
            )
        self._count(known.size, known.depth)
        self._add(known.value, known.size, known.depth, known.node, mark=event.start_mark)

    def _add(
        self,
        value: Any,
        size: int,
        depth: int,
        node: yaml.Node | None,
        *,
        mark: Any,
        merge: bool = False,
    ) -> None:
        if not self.open:
            self.root = Parsed(value, node)
            return
        inside = self.open[-1]
        inside.size += size
        inside.depth = max(inside.depth, depth)
        if isinstance(inside.value, list):
            inside.value.append(value)
            if node is not None:
                inside.children.append(node)
        elif not inside.keyed:
            inside.keyed, inside.merging, inside.key_node = True, merge, node
            inside.key = None if merge else _key(value, mark)
        else:
            if inside.merging:
                _merge(inside.value, value, mark)
            else:
                inside.value[inside.key] = value
            if node is not None:
                inside.children.append((inside.key_node, node))
            inside.keyed = False


def _where(mark: Any) -> str:
    return f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""


def _misplaced_tag(event: Any) -> Invalid:
    where = _where(event.start_mark)
    return Invalid(f"not valid YAML: a tag needs a blank between it and what follows{where}")


def _check_tag(event: Any) -> None:
    # A prefix of %TAG is repeated in every tag that uses it.
    if len(event.tag or "") > MAX_KEY or len(event.anchor or "") > MAX_KEY:
        raise Beyond(f"tags and anchors may have {MAX_KEY} letters{_where(event.start_mark)}")


def _merge(into: dict[str, Any], value: Any, mark: Any) -> None:
    """`<<` writes where it stands, as Kubernetes' reader does it: what comes after it wins, what came before does not."""
    sources = value if isinstance(value, list) else [value]
    if not all(isinstance(source, dict) for source in sources):
        raise Invalid(f"not valid YAML: << needs a mapping or a list of mappings{_where(mark)}")
    for source in reversed(sources):
        into.update(source)


def _key(value: Any, mark: Any) -> str:
    """A key as text; Invalid for null, lists, mappings and numbers that are no 64-bit integer."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            if value not in INT64:
                raise Invalid(f"{BEYOND_64_BITS}{_where(mark)}")
            return str(value)
        case float():
            return float_key(value)
    raise Invalid(f"not valid YAML: a key must be text, a number or a boolean{_where(mark)}")


def float_key(value: float) -> str:
    """A number as a key: the shortest digits of its 32 bits, as Go's format `g` writes them."""
    if value != value:
        return ".nan"
    try:
        (single,) = struct.unpack("f", struct.pack("f", value))
    except OverflowError:
        single = float("inf") if value > 0 else float("-inf")
    if single in {float("inf"), float("-inf")}:
        return ".inf" if single > 0 else "-.inf"
    if single == 0:
        return "-0" if math.copysign(1, single) < 0 else "0"
    digits, exponent = "", 0
    for precision in range(9):
        mantissa, _e, power = f"{single:.{precision}e}".partition("e")
        digits, exponent = mantissa, int(power)
        if struct.pack("f", float(f"{mantissa}e{power}")) == struct.pack("f", single):
            break
    sign = "-" if digits.startswith("-") else ""
    figures = digits.lstrip("-").replace(".", "").rstrip("0") or "0"
    if exponent < -4 or exponent >= 21:
        point = f".{figures[1:]}" if len(figures) > 1 else ""
        return f"{sign}{figures[0]}{point}e{exponent:+03d}"
    if exponent >= 6:
        point = f".{figures[1:]}" if len(figures) > 1 else ""
        return f"{sign}{figures[0]}{point}e{exponent:+03d}"
    if exponent < 0:
        return f"{sign}0.{'0' * (-exponent - 1)}{figures}"
    whole = figures[: exponent + 1].ljust(exponent + 1, "0")
    rest = figures[exponent + 1 :]
    return f"{sign}{whole}{'.' + rest if rest else ''}"


def tagged(tag: str, text: str) -> tuple[str, Any]:
    """(tag, value) of a scalar: `tag` is "" for a plain one. ValueError where the text is not what its tag says."""
    if tag == BINARY:
        try:
            content = "".join(text.split("\n")).replace("\r", "")
            return STR, base64.b64decode(content, validate=True).decode("utf-8", "replace")
        except binascii.Error:
            raise ValueError("!!binary is not followed by base64") from None
    if tag == STR or (tag and tag not in RESOLVED):
        return STR, text
    kind, value = resolved(text)
    if not tag or tag == kind:
        return kind, value
    if tag == FLOAT and kind == INT:
        return FLOAT, float(value)
    if tag == TIME and MOMENT.match(text):
        return STR, text
    shown = text if len(text) <= 60 else text[:60] + "…"
    raise ValueError(f"{shown!r} is no {tag.removeprefix(PREFIX)}")


def resolved(text: str) -> tuple[str, Any]:
    """(tag, value) of a plain scalar without a tag."""
    if text and text[0] not in FIRST:
        return STR, text
    if text in CONSTANTS:
        return CONSTANTS[text]
    if text[0] == ".":
        return _decimal(text.replace("_", "") if text[1:2] != "_" else text, text)
    if text[0] not in "+-0123456789" or MOMENT.match(text):
        return STR, text
    plain = text.replace("_", "")
    if whole := INTEGER.match(plain):
        number = _integer(whole)
        # What is written with 0x, 0b or 0o and has more than 64 bits is text to Kubernetes; other digits would be rounded.
        if -(2**63) <= number < 2**64 or plain.lstrip("+-").isdigit():
            return INT, number
        return STR, text
    return _decimal(plain, text)


def _integer(match: re.Match[str]) -> int:
    sign, hexadecimal, binary, octal, decimal = match.groups()
    if hexadecimal or binary or octal:
        base = 16 if hexadecimal else 2 if binary else 8
        number = int(hexadecimal or binary or octal, base)
    else:
        # Enough digits to be beyond 64 bits; Python refuses to read thousands of them.
        number = int(decimal[:MAX_DIGITS])
    return -number if sign == "-" else number


def _decimal(plain: str, text: str) -> tuple[str, Any]:
    if not DECIMAL.match(plain):
        return STR, text
    number = float(plain)
    return (STR, text) if number in {float("inf"), float("-inf")} else (FLOAT, number)


def is_text(text: str) -> bool:
    """Whether a plain scalar is text for every reader that is about: Kubernetes' and those of YAML 1.1 and 1.2."""
    if resolved(text)[0] != STR or DECIMAL.match(text.replace("_", "")):
        return False
    resolvers = yaml.SafeLoader.yaml_implicit_resolvers
    candidates = resolvers.get(text[:1], []) + resolvers.get(None, [])
    return not any(pattern.match(text) for _tag, pattern in candidates)


def whole_number(value: float) -> int | float:
    """A float that is a whole number of 64 bits as an integer, as Kubernetes' clients send it: the shortest digits, then zeros."""
    if not value.is_integer() or abs(value) > 2**63:
        return value
    number = int(Decimal(repr(value)))
    return number if number in INT64 else value
