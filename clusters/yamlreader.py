"""YAML as Kubernetes' own reader (sigs.k8s.io/yaml) reads it, within limits.

libyaml gives events without recursion; PyYAML's composer would recurse into them, and expand
aliases and merge keys before they can be counted. Here values are built from the events one by one,
and every limit is checked on the way.
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
# Kubernetes' reader ignores other tags: their nodes are texts, lists or mappings as without a tag.
RESOLVED = frozenset({STR, BOOL, INT, FLOAT, NULL, TIME})
# Only a scalar that begins with one of these can be anything else than text.
FIRST = frozenset("+-.0123456789yYnNtTfFoO~<")
CONSTANTS: dict[str, tuple[str, Any]] = {
    "": (NULL, None),
    **dict.fromkeys(("~", "null", "Null", "NULL"), (NULL, None)),
    **dict.fromkeys(
        ("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"),
        (BOOL, True),
    ),
    **dict.fromkeys(
        ("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"),
        (BOOL, False),
    ),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), (FLOAT, float("nan"))),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), (FLOAT, float("inf"))),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), (FLOAT, float("-inf"))),
    "<<": (MERGE, "<<"),
}
# Each of these needs linear time: no two parts can match the same characters.
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
    """What an alias stands for; `size` counts its nodes, `depth` its levels."""

    value: Any
    size: int
    depth: int
    node: yaml.Node | None


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end was not read yet.

    `size` counts its nodes, with those that aliases stand for. In a mapping, `keyed` says that a
    key was read and its value was not, and `merging` that this key is `<<`. `is_pair` is a mapping
    without braces in a list, as in `[a: b]`.
    """

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
    """Raise Beyond, naming `what`, when the text is larger than MAX_BYTES, blanks included."""
    # A text of so many characters has at least as many bytes: most need not be encoded.
    if len(text) > MAX_BYTES or len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise Beyond(f"{what} is larger than {MAX_BYTES // 1024} KiB")


def parse(text: str, *, places: bool = False) -> Iterator[Parsed]:
    """Each document of the text, one after the other, with trees when `places`.

    Raises yaml.YAMLError where the text is not YAML, Invalid where Kubernetes does not take it, and
    Beyond for a limit.
    """
    check_size(text)
    text = text.removeprefix("\ufeff")
    # libyaml compares each directive with all before it.
    if text.startswith("%") or "\n%" in text:
        directives = sum(line.startswith("%") for line in text.splitlines())
        if directives > MAX_DIRECTIVES:
            raise Beyond(f"the document has more than {MAX_DIRECTIVES} lines that begin with %")
    builder = _Builder(text, places=places)
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            document = builder.take(event)
            if document is not None:
                yield document
    except UnicodeEncodeError:
        raise Invalid("the text contains half of a surrogate pair") from None


class _Builder:
    """Builds documents from events and counts their nodes, without recursion."""

    def __init__(self, text: str, *, places: bool) -> None:
        self.text = text
        self.places = places
        # A tag with the comma after it (see `_takes_comma`), until the node that it belongs to.
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
                self.anchors = {}
                self.root = Parsed(None)
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
        # A quoted scalar is text, unless a tag says otherwise.
        tag = event.tag or ("" if plain else STR)
        if tag == "!":
            tag = STR
        try:
            kind, value = parse_scalar(tag, event.value)
        except ValueError as error:
            raise Invalid(f"not valid YAML: {error}{_where(event.start_mark)}") from None
        node = None
        if self.places:
            node = yaml.ScalarNode(
                kind,
                event.value,
                event.start_mark,
                event.end_mark,
            )
        if event.anchor:
            self.anchors[event.anchor] = _Anchored(value, 1, 0, node)
        merge = event.value == "<<" and (tag == MERGE or (plain and not event.tag))
        self._add(value, 1, 0, node, merge=merge, mark=event.start_mark)

    def _takes_comma(self, event: Any) -> bool:
        """Whether a tag stands before a comma, as in `[!=, a]`.

        To Kubernetes' reader the comma belongs to the tag: this is "a" with the tag "!=,". To
        libyaml these are two values, the first without text. Invalid where the difference cannot be
        made up for here.
        """
        end = event.end_mark.index
        if event.value or not event.tag or self.text[end : end + 1] != ",":
            return False
        last = self.text[event.start_mark.index : end].split()[-1]
        if not last.startswith("!"):
            # Quotes or an anchor stand before the comma.
            return False
        inside = self.open[-1]
        is_key = isinstance(inside.value, dict) and not inside.keyed
        is_ended = not last.startswith("!<") and self.text[end + 1 : end + 2].isspace()
        if is_key or inside.is_pair or event.anchor or not is_ended:
            raise _misplaced_tag(event)
        return True

    def _pass_on_tag(self, event: Any) -> None:
        """Give the tag that ended with a comma to the node that begins with this event."""
        tag = self.tag_with_comma
        self.tag_with_comma = None
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
            # None until its end: an alias inside of its own anchor would expand without end.
            self.anchors[event.anchor] = None
        value: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
        is_pair = self._is_pair(event)
        self.open.append(_Open(event, value, event.anchor, is_pair=is_pair))

    def _end(self, event: Any) -> None:
        closed = self.open.pop()
        depth = closed.depth + 1
        node: yaml.Node | None = None
        if self.places:
            node_class = yaml.MappingNode if isinstance(closed.value, dict) else yaml.SequenceNode
            node = node_class(
                "",
                closed.children,
                closed.event.start_mark,
                event.end_mark,
            )
        if closed.anchor:
            self.anchors[closed.anchor] = _Anchored(
                closed.value,
                closed.size,
                depth,
                node,
            )
        self._add(
            closed.value,
            closed.size,
            depth,
            node,
            mark=closed.event.start_mark,
        )

    def _alias(self, event: Any) -> None:
        name = repr(event.anchor[:60])
        where = _where(event.start_mark)
        if event.anchor not in self.anchors:
            raise Invalid(f"not valid YAML: unknown anchor {name}{where}")
        anchored = self.anchors[event.anchor]
        if anchored is None:
            raise Invalid(f"not valid YAML: anchor {name} contains itself{where}")
        self._count(anchored.size, anchored.depth)
        self._add(
            anchored.value,
            anchored.size,
            anchored.depth,
            anchored.node,
            mark=event.start_mark,
        )

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
        """Put a finished value into the list or mapping that is open, as key or value."""
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
            inside.keyed = True
            inside.merging = merge
            inside.key_node = node
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
    # libyaml repeats a prefix of %TAG in every tag that uses it: short texts could become large.
    if len(event.tag or "") > MAX_KEY or len(event.anchor or "") > MAX_KEY:
        raise Beyond(
            f"tags and anchors may have at most {MAX_KEY} characters{_where(event.start_mark)}"
        )


def _merge(into: dict[str, Any], value: Any, mark: Any) -> None:
    """Write the mappings of a `<<` into a mapping, as Kubernetes' reader does it.

    They replace keys that stand before the `<<`, and are replaced by keys after it.
    """
    sources = value if isinstance(value, list) else [value]
    if not all(isinstance(source, dict) for source in sources):
        raise Invalid(f"not valid YAML: << needs a mapping or a list of mappings{_where(mark)}")
    # The first of a list wins.
    for source in reversed(sources):
        into.update(source)


def _key(value: Any, mark: Any) -> str:
    """A key as text, as JSON needs it; Invalid for null, lists, mappings and larger integers."""
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
    """A number as a key: the shortest digits of its 32 bits, as Go's format `g` writes them.

    Kubernetes' reader formats keys as 32-bit floats.
    """
    # Only NaN is unequal to itself.
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
    mantissa, exponent = _shortest_digits(single)
    sign = "-" if mantissa.startswith("-") else ""
    digits = mantissa.lstrip("-").replace(".", "").rstrip("0") or "0"
    if exponent < -4 or exponent >= 6:
        fraction = f".{digits[1:]}" if len(digits) > 1 else ""
        return f"{sign}{digits[0]}{fraction}e{exponent:+03d}"
    if exponent < 0:
        zeros = "0" * (-exponent - 1)
        return f"{sign}0.{zeros}{digits}"
    whole = digits[: exponent + 1].ljust(exponent + 1, "0")
    rest = digits[exponent + 1 :]
    fraction = f".{rest}" if rest else ""
    return f"{sign}{whole}{fraction}"


def _shortest_digits(single: float) -> tuple[str, int]:
    """(mantissa, exponent) with the fewest digits that still give the same 32-bit float."""
    packed = struct.pack("f", single)
    # Nine digits tell any two 32-bit floats apart.
    for precision in range(8):
        mantissa, _e, exponent = f"{single:.{precision}e}".partition("e")
        if struct.pack("f", float(f"{mantissa}e{exponent}")) == packed:
            return mantissa, int(exponent)
    mantissa, _e, exponent = f"{single:.8e}".partition("e")
    return mantissa, int(exponent)


def parse_scalar(tag: str, text: str) -> tuple[str, Any]:
    """(tag, value) of a scalar; `tag` is "" for a plain one without a tag.

    ValueError where the text is not what its tag says.
    """
    if tag == BINARY:
        try:
            content = "".join(text.split("\n")).replace("\r", "")
            return STR, base64.b64decode(content, validate=True).decode("utf-8", "replace")
        except binascii.Error:
            raise ValueError("!!binary is not followed by base64") from None
    if tag == STR or (tag and tag not in RESOLVED):
        return STR, text
    kind, value = resolve_scalar(text)
    if not tag or tag == kind:
        return kind, value
    if tag == FLOAT and kind == INT:
        return FLOAT, float(value)
    if tag == TIME and MOMENT.match(text):
        return STR, text
    excerpt = text if len(text) <= 60 else f"{text[:60]}…"
    raise ValueError(f"{excerpt!r} is no {tag.removeprefix(PREFIX)}")


def resolve_scalar(text: str) -> tuple[str, Any]:
    """(tag, value) of a plain scalar without a tag."""
    if text and text[0] not in FIRST:
        return STR, text
    if text in CONSTANTS:
        return CONSTANTS[text]
    if text[0] == ".":
        # `._1` is text, `.1_0` a number.
        digits = text if text[1:2] == "_" else text.replace("_", "")
        return _decimal(digits, text)
    if text[0] not in "+-0123456789" or MOMENT.match(text):
        return STR, text
    plain = text.replace("_", "")
    if whole := INTEGER.match(plain):
        number = _integer(whole)
        # With 0x, 0b or 0o, more than 64 bits are text to Kubernetes. Decimal digits are a number
        # there, but a rounded one: it is refused later, as an integer beyond 64 bits.
        if -(2**63) <= number < 2**64 or plain.lstrip("+-").isdigit():
            return INT, number
        return STR, text
    return _decimal(plain, text)


def _integer(match: re.Match[str]) -> int:
    sign, hexadecimal, binary, octal, decimal = match.groups()
    if hexadecimal:
        number = int(hexadecimal, 16)
    elif binary:
        number = int(binary, 2)
    elif octal:
        number = int(octal, 8)
    else:
        # Enough digits to be beyond 64 bits; Python refuses to read thousands of them.
        number = int(decimal[:MAX_DIGITS])
    return -number if sign == "-" else number


def _decimal(plain: str, text: str) -> tuple[str, Any]:
    if not DECIMAL.match(plain):
        return STR, text
    number = float(plain)
    # Too large for a float.
    if number in {float("inf"), float("-inf")}:
        return STR, text
    return FLOAT, number


def is_text(text: str) -> bool:
    """Whether a plain scalar is text to Kubernetes' reader and to those of YAML 1.1 and 1.2."""
    if resolve_scalar(text)[0] != STR or DECIMAL.match(text.replace("_", "")):
        return False
    resolvers = yaml.SafeLoader.yaml_implicit_resolvers
    candidates = resolvers.get(text[:1], []) + resolvers.get(None, [])
    return not any(pattern.match(text) for _tag, pattern in candidates)


def whole_number(value: float) -> int | float:
    """A float without a fraction as an integer, if it has 64 bits; others as they are.

    It has the float's shortest digits and zeros after them, as Kubernetes' clients send it.
    """
    if not value.is_integer() or abs(value) > 2**63:
        return value
    number = int(Decimal(repr(value)))
    return number if number in INT64 else value
