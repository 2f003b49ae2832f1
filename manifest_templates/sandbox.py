"""The template language: a small part of Jinja2 in which nothing runs long or reaches Python.

Only the statements and filters named here exist. Nothing has attributes but mappings (their
members) and `loop`. Sizes of texts, numbers and lists are checked where they are made, the rounds
of loops are counted, and a clock of processor time ends what is slow nevertheless.
"""

import base64
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from types import CodeType
from typing import Any

from jinja2 import TemplateError, TemplateSyntaxError, Undefined, nodes, pass_context
from jinja2.compiler import CodeGenerator, Frame
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from clusters.manifests import to_yaml
from core.errors import Invalid

MAX_BODY_BYTES = 256 * 1024
MAX_TOKENS = 60_000
MAX_TEXT = 1024 * 1024
MAX_ROUNDS = 100_000
MAX_ELEMENTS = 20_000
MAX_BITS = 128
MAX_INDENT = 100
# Processor time of one rendering (seconds).
MAX_SECONDS = 2.0

LOOP_MEMBERS = frozenset({"index", "index0", "revindex", "revindex0", "first", "last", "length"})
ALLOWED_NODES = (
    nodes.Template,
    nodes.Output,
    nodes.TemplateData,
    nodes.For,
    nodes.If,
    nodes.Assign,
    nodes.Name,
    nodes.Const,
    nodes.List,
    nodes.Tuple,
    nodes.Dict,
    nodes.Pair,
    nodes.CondExpr,
    nodes.Filter,
    nodes.Test,
    nodes.Getattr,
    nodes.Getitem,
    nodes.Slice,
    nodes.Keyword,
    nodes.BinExpr,
    nodes.UnaryExpr,
    nodes.Compare,
    nodes.Operand,
    nodes.Concat,
)
# Jinja2 gives these names a meaning of their own.
RESERVED_NAMES = frozenset({"self", "super", "caller", "varargs", "kwargs"})
TESTS = frozenset(
    {
        "defined",
        "undefined",
        "none",
        "string",
        "number",
        "integer",
        "float",
        "boolean",
        "true",
        "false",
        "mapping",
        "sequence",
    }
)
# Methods of mappings that templates are used to; they are filters here.
METHODS = frozenset({"items", "keys", "values", "get"})


class TemplateFault(Exception):
    """What is wrong with a template, or with what it does; the line is 0 when it is unknown."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.line = line


class MisplacedValue(TemplateFault):
    """A list or an object where only a text can be; `value` is it."""

    def __init__(self, value: object) -> None:
        super().__init__("a list or an object cannot stand inside a text: use toyaml")
        self.value = value


# --- what expressions give ------------------------------------------------------------------------
class YamlText(str):
    """The YAML of a value; `value` is the value itself, `lead` as for IndentedText."""

    value: Any
    lead: int = 0

    def __new__(cls, value: Any) -> "YamlText":
        """The text is made here."""
        text = super().__new__(
            cls,
            to_yaml(_plain_value(value)).rstrip("\n").removesuffix("\n..."),
        )
        text.value = value
        return text


class QuotedText(str):
    """A text that stands in quotation marks where it is a part of another."""


class IndentedText(str):
    """A text whose further lines stand below its first one, which has `lead` spaces before it."""

    lead: int = 0


class MissingValue(Undefined):
    """A value that was not given; using it is noted, asking whether it is there is not."""

    path: str = ""
    use: Callable[[str], None] | None = None

    def note(self) -> "MissingValue":
        """Note that the value is needed."""
        if self.use is not None:
            self.use(self.path)
        return self

    def __str__(self) -> str:
        self.note()
        return ""

    def _compare(self, _other: object) -> bool:
        self.note()
        return False

    __lt__ = __le__ = __gt__ = __ge__ = _compare  # type: ignore[assignment]

    def __contains__(self, _other: object) -> bool:
        return False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Undefined)

    def __hash__(self) -> int:
        return hash(MissingValue)


def _plain_value(value: Any) -> Any:
    """A value as YAML takes it: texts lose their class, what is missing is null."""
    if isinstance(value, MissingValue):
        value.note()
        return None
    if isinstance(value, str):
        return str(value)
    if isinstance(value, dict):
        return {text_of(key): _plain_value(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_value(element) for element in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    raise TemplateFault(f"a {type(value).__name__} is no value")


def _bounded_text(text: str) -> str:
    if len(text) > MAX_TEXT:
        raise TemplateFault(f"a text is longer than {MAX_TEXT} characters")
    return text


def text_of(value: object) -> str:
    """A value inside a text; TemplateFault for a list or an object."""
    if isinstance(value, QuotedText):
        # Quoting a quoted text doubles it.
        return _bounded_text(json.dumps(str(value), ensure_ascii=False))
    if isinstance(value, str):
        return str(value)
    if value is None:
        return ""
    if isinstance(value, MissingValue):
        value.note()
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return json.dumps(value)
    raise MisplacedValue(value)


def size_of(value: object) -> int:
    """How many lists, objects and plain values the value consists of, up to one above the most."""
    pending = [value]
    count = 0
    while pending:
        each = pending.pop()
        count += 1
        if count > MAX_ELEMENTS:
            break
        if isinstance(each, dict):
            pending += each.values()
        elif isinstance(each, list | tuple):
            pending += each
    return count


def weight_of(value: object, most: int) -> int:
    """About how many characters the value takes as YAML, counted up to one above `most`."""
    pending = [value]
    weight = 0
    while pending and weight <= most:
        each = pending.pop()
        weight += 1
        if isinstance(each, dict):
            weight += sum(map(len, each))
            pending += each.values()
        elif isinstance(each, list | tuple):
            pending += each
        elif isinstance(each, str):
            weight += len(each)
    return weight


# --- filters --------------------------------------------------------------------------------------
def _to_yaml(value: object) -> YamlText:
    if isinstance(value, MissingValue):
        value.note()
        value = None
    if size_of(value) > MAX_ELEMENTS:
        raise TemplateFault(f"a value has more than {MAX_ELEMENTS} elements")
    text = YamlText(value)
    _bounded_text(text)
    return text


def _quote(value: object) -> QuotedText:
    return QuotedText(text_of(value))


def _indent(
    value: object,
    width: object = 4,
    first: object = False,
    blank: object = False,
) -> str:
    """Texts are indented where they stand, so that the width counts for the first line alone."""
    if not isinstance(width, int) or not 0 <= width <= MAX_INDENT:
        raise TemplateFault(f"indent takes a width from 0 to {MAX_INDENT}")
    if isinstance(value, YamlText):
        indented: YamlText | IndentedText = YamlText(value.value) if first else value
    elif isinstance(value, QuotedText):
        return value
    else:
        indented = IndentedText(text_of(value))
    if first:
        indented.lead = width
    return indented


def _default(
    value: object,
    other: object = "",
    boolean: object = False,
) -> object:
    if isinstance(value, Undefined) or (boolean and not value):
        return other
    return value


def _b64encode(value: object) -> str:
    encoded = base64.b64encode(text_of(value).encode("utf-8", "surrogatepass"))
    return _bounded_text(encoded.decode())


def _replace(value: object, old: object, new: object) -> str:
    text, before, after = text_of(value), text_of(old), text_of(new)
    if not before:
        raise TemplateFault("replace takes a text that is not empty")
    longest = len(text) + text.count(before) * max(
        len(after) - len(before),
        0,
    )
    if longest > MAX_TEXT:
        raise TemplateFault(f"a text is longer than {MAX_TEXT} characters")
    return text.replace(before, after)


def _join(value: object, separator: object = "") -> str:
    return _bounded_join(
        [text_of(each) for each in _elements(value)],
        text_of(separator),
    )


def _bounded_join(texts: list[str], separator: str = "") -> str:
    length = sum(map(len, texts)) + len(separator) * len(texts)
    if length > MAX_TEXT:
        raise TemplateFault(f"a text is longer than {MAX_TEXT} characters")
    return separator.join(texts)


def _elements(value: object) -> list[Any]:
    """What a loop goes over: elements of a list, keys of an object, nothing of what is missing."""
    if isinstance(value, Undefined) or value is None:
        return []
    if isinstance(value, list | tuple | dict):
        return list(value)
    raise TemplateFault("only lists and objects have elements")


def _length(value: object) -> int:
    return len(value) if isinstance(value, str) else len(_elements(value))


def _mapping(value: object) -> Mapping[str, Any]:
    if isinstance(value, Undefined) or value is None:
        return {}
    if not isinstance(value, dict):
        raise TemplateFault("only objects have items, keys and values")
    return value


def _get(value: object, key: object, other: object = None) -> object:
    return _mapping(value).get(text_of(key), other)


def _to_int(value: object, other: object = 0) -> object:
    try:
        number = int(value) if isinstance(value, int | float) else int(text_of(value)[:40])
    except (ValueError, OverflowError):
        return other
    return _bounded_number(number)


def _range(
    start: object,
    stop: object = None,
    step: object = 1,
) -> list[int]:
    if stop is None:
        start, stop = 0, start
    if isinstance(stop, MissingValue) or isinstance(start, MissingValue):
        return []
    if not isinstance(start, int) or not isinstance(stop, int) or not isinstance(step, int):
        raise TemplateFault("range takes whole numbers")
    if step == 0:
        raise TemplateFault("range takes a step that is not 0")
    numbers = range(start, stop, step)
    # `len` of a longer range raises OverflowError.
    if numbers and abs(numbers[-1] - numbers[0]) // abs(numbers.step) >= MAX_ELEMENTS:
        raise TemplateFault(f"range gives more than {MAX_ELEMENTS} numbers")
    return list(numbers)


FILTERS: Mapping[str, Callable[..., Any]] = {
    "toyaml": _to_yaml,
    "to_yaml": _to_yaml,
    "quote": _quote,
    "indent": _indent,
    "default": _default,
    "d": _default,
    "b64encode": _b64encode,
    "lower": lambda value: _bounded_text(text_of(value).lower()),
    "upper": lambda value: _bounded_text(text_of(value).upper()),
    "trim": lambda value: text_of(value).strip(),
    "string": lambda value: text_of(value),
    "replace": _replace,
    "join": _join,
    "length": _length,
    "int": _to_int,
    "items": lambda value: list(_mapping(value).items()),
    "keys": lambda value: list(_mapping(value)),
    "values": lambda value: list(_mapping(value).values()),
    "get": _get,
}
# They say themselves what a missing value means.
TAKE_MISSING = frozenset(
    {"toyaml", "to_yaml", "default", "d", "length", "items", "keys", "values", "get"}
)


# --- operators ------------------------------------------------------------------------------------
def _bounded_number(number: Any) -> Any:
    if isinstance(number, int) and number.bit_length() > MAX_BITS:
        raise TemplateFault(f"a number has more than {MAX_BITS} bits")
    return number


def _operate(operator: str, left: Any, right: Any) -> Any:
    """An arithmetic operation of numbers, or + of texts or lists."""
    for side in (left, right):
        if isinstance(side, MissingValue):
            return side.note()
    if operator == "+" and isinstance(left, str) and isinstance(right, str):
        return _bounded_join([text_of(left), text_of(right)])
    if operator == "+" and isinstance(left, list) and isinstance(right, list):
        return bounded_container(left + right)
    if not isinstance(left, int | float) or not isinstance(right, int | float):
        raise TemplateFault(f"{operator} takes numbers")
    _bounded_number(left)
    _bounded_number(right)
    try:
        match operator:
            case "+":
                result: Any = left + right
            case "-":
                result = left - right
            case "*":
                result = left * right
            case "/":
                result = left / right
            case "//":
                result = left // right
            case "%":
                result = left % right
            case _:
                if abs(right) > MAX_BITS:
                    raise TemplateFault("an exponent is too large")
                result = left**right
    except ArithmeticError:
        raise TemplateFault(f"{operator} has no result") from None
    return _bounded_number(result)


def bounded_container(value: Any) -> Any:
    """A list or an object that was made; TemplateFault when it is too large."""
    if size_of(value) > MAX_ELEMENTS:
        raise TemplateFault(f"a list or an object has more than {MAX_ELEMENTS} elements")
    return value


# --- the environment ------------------------------------------------------------------------------
class _Generator(CodeGenerator):
    """Sends what Jinja2 would leave to Python through functions that check sizes."""

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:
        self.write("environment.concatenate((")
        for each in node.nodes:
            self.visit(each, frame)
            self.write(", ")
        self.write("))")

    def visit_List(self, node: nodes.List, frame: Frame) -> None:
        self.write("environment.bounded_container(")
        super().visit_List(node, frame)
        self.write(")")

    def visit_Dict(self, node: nodes.Dict, frame: Frame) -> None:
        self.write("environment.bounded_container(")
        super().visit_Dict(node, frame)
        self.write(")")

    def visit_Tuple(self, node: nodes.Tuple, frame: Frame) -> None:
        if node.ctx == "store":
            super().visit_Tuple(node, frame)
            return
        self.write("environment.bounded_container(")
        super().visit_Tuple(node, frame)
        self.write(")")


class _Checker(NodeTransformer):
    """Refuses what is not in the language, and makes filters of calls and loops."""

    def visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> Any:
        line = node.lineno or 0
        if isinstance(node, nodes.Call):
            return self.visit(_as_filter(node))
        if not isinstance(node, ALLOWED_NODES):
            raise TemplateFault(
                f"{type(node).__name__.lower()} is not supported",
                line,
            )
        if isinstance(node, nodes.Name) and node.name in RESERVED_NAMES:
            raise TemplateFault(f"{node.name} is a reserved name", line)
        if isinstance(node, nodes.Getattr) and node.attr.startswith("_"):
            raise TemplateFault(f"{node.attr} is private", line)
        if isinstance(node, nodes.Filter) and (node.dyn_args or node.dyn_kwargs):
            raise TemplateFault("* and ** are not supported", line)
        if isinstance(node, nodes.Filter) and node.name not in {*FILTERS, "range"}:
            raise TemplateFault(f"there is no filter {node.name}", line)
        if isinstance(node, nodes.Filter) and node.node is None:
            raise TemplateFault("filter blocks are not supported", line)
        if isinstance(node, nodes.Test) and node.name not in TESTS:
            raise TemplateFault(f"there is no test {node.name}", line)
        if isinstance(node, nodes.For) and node.recursive:
            raise TemplateFault(
                "recursive loops are not supported",
                line,
            )
        visited = super().visit(node, *args, **kwargs)
        if isinstance(node, nodes.For):
            node.iter = nodes.Filter(
                node.iter,
                "rounds",
                [],
                [],
                None,
                None,
                lineno=line,
            )
        return visited


def _as_filter(call: nodes.Call) -> nodes.Filter:
    """`range(…)` and methods of objects; TemplateFault for any other call."""
    target = call.node
    line = call.lineno or 0
    if call.dyn_args or call.dyn_kwargs or call.kwargs:
        raise TemplateFault("calls take plain arguments only", line)
    if isinstance(target, nodes.Name) and target.name == "range" and call.args:
        first, *rest = call.args
        return nodes.Filter(
            first,
            "range",
            rest,
            [],
            None,
            None,
            lineno=line,
        )
    if isinstance(target, nodes.Getattr) and target.attr in METHODS:
        return nodes.Filter(
            target.node,
            target.attr,
            call.args,
            [],
            None,
            None,
            lineno=line,
        )
    raise TemplateFault(
        "calls are not supported, except of range and of items, keys, values",
        line,
    )


class Sandbox(ImmutableSandboxedEnvironment):
    """An environment for one rendering.

    `emit` makes text of what an expression gives, `use_missing` is told of each missing value.
    """

    code_generator_class = _Generator
    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "**", "%"})

    def __init__(
        self,
        emit: Callable[[Any], str] = str,
        use_missing: Callable[[str], None] | None = None,
        path_of: Callable[[object], str] = lambda _value: "",
    ) -> None:
        self.write = self._checked(emit)
        super().__init__(
            finalize=pass_context(lambda _context, value: self.write(value)),
            undefined=MissingValue,
            optimized=False,
            autoescape=False,
            cache_size=0,
            keep_trailing_newline=True,
        )
        self._use_missing = use_missing
        self._path_of = path_of
        self._deadline = time.thread_time() + MAX_SECONDS
        self._rounds = 0
        # Jinja2 wants a class above; this one knows whom to tell.
        self.undefined = self._undefined  # type: ignore[assignment]
        self.globals = {}
        tests = self.tests
        self.tests = {name: tests[name] for name in TESTS}
        self.filters = {
            name: self._filter(
                name,
                each,
            )
            for name, each in FILTERS.items()
        }
        self.filters["range"] = self._checked(_range)
        self.filters["rounds"] = self.count_rounds
        self.bounded_container = self._checked(bounded_container)

    def check_time(self) -> None:
        """TemplateFault when the time of this rendering is over."""
        if time.thread_time() > self._deadline:
            raise TemplateFault("the template takes too long")

    def _checked(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.check_time()
            return function(*args, **kwargs)

        return call

    def _filter(
        self,
        name: str,
        function: Callable[..., Any],
    ) -> Callable[..., Any]:
        def call(value: Any, *args: Any, **kwargs: Any) -> Any:
            self.check_time()
            if isinstance(value, MissingValue) and name not in TAKE_MISSING:
                return value.note()
            try:
                return function(value, *args, **kwargs)
            except TypeError:
                raise TemplateFault(f"{name} does not take these arguments") from None

        return call

    def count_rounds(self, value: object) -> Iterator[Any]:
        """The elements of what a loop goes over, counted over all loops of a rendering."""
        for element in _elements(value):
            self._rounds += 1
            if self._rounds > MAX_ROUNDS:
                raise TemplateFault(f"loops have more than {MAX_ROUNDS} rounds")
            if self._rounds % 64 == 0:
                self.check_time()
            yield element

    def concatenate(self, values: Iterable[object]) -> str:
        """Jinja2's `~`."""
        self.check_time()
        return _bounded_join([text_of(value) for value in values])

    def call_binop(
        self,
        context: Any,
        operator: str,
        left: Any,
        right: Any,
    ) -> Any:
        """Jinja2's hook for arithmetic."""
        self.check_time()
        return _operate(operator, left, right)

    def _undefined(
        self,
        hint: object = None,
        obj: object = None,
        name: str = "",
    ) -> MissingValue:
        """Jinja2's hook for a name that has no value."""
        return self.missing(name)

    def missing(self, path: str) -> MissingValue:
        """The value at a path where there is none."""
        value = MissingValue(name=path)
        value.path = path
        value.use = self._use_missing
        return value

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Jinja2's hook for `a.b`: members of objects, and what loops know of themselves."""
        if isinstance(obj, LoopContext) and attribute in LOOP_MEMBERS:
            return getattr(obj, attribute)
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Jinja2's hook for `a[b]`."""
        if isinstance(obj, MissingValue):
            return self.missing(f"{obj.path}.{argument}" if obj.path else "")
        if isinstance(argument, slice) and isinstance(obj, str | list | tuple):
            return obj[argument]
        if isinstance(obj, dict) and isinstance(argument, str):
            if argument in obj:
                return obj[argument]
        elif isinstance(obj, list | tuple | str) and isinstance(argument, int):
            if -len(obj) <= argument < len(obj):
                return obj[argument]
        elif not isinstance(obj, dict | list | tuple | str):
            raise TemplateFault("only objects have members")
        elif not isinstance(obj, dict):
            raise TemplateFault("texts and lists have no members")
        path = self._path_of(obj)
        return self.missing(f"{path}.{argument}" if path else str(argument))


@lru_cache(maxsize=128)
def compile_body(body: str) -> tuple[CodeType, frozenset[str], bool]:
    """The code of a body, the names that it takes, and whether it takes `values` as a whole.

    TemplateFault for a body that is not in the language.
    """
    if len(body.encode("utf-8", "surrogatepass")) > MAX_BODY_BYTES:
        raise TemplateFault(f"the body is larger than {MAX_BODY_BYTES // 1024} KiB")
    sandbox = Sandbox()
    try:
        count = sum(
            1
            for _token in zip(
                range(MAX_TOKENS + 1),
                sandbox.lex(body),
                strict=False,
            )
        )
        if count > MAX_TOKENS:
            raise TemplateFault("the body has too many expressions")
        tree = sandbox.parse(body)
        checked = _Checker().visit(tree)
        names, takes_all = _names(checked)
        checked.set_environment(sandbox)
        code = sandbox.compile(checked, filename="<template>")
    except TemplateSyntaxError as error:
        raise TemplateFault(str(error.message), error.lineno) from None
    except (RecursionError, MemoryError, SyntaxError, ValueError, TemplateError):
        raise TemplateFault("the body is nested too deeply or cannot be read") from None
    return code, names, takes_all


def _names(tree: nodes.Template) -> tuple[frozenset[str], bool]:
    """Names of values that the template takes, and whether it takes all of them together."""
    names: set[str] = set()
    counted: set[int] = set()
    for access in tree.find_all((nodes.Getattr, nodes.Getitem)):
        if isinstance(access, nodes.Getattr):
            key: Any = access.attr
        elif isinstance(access, nodes.Getitem) and isinstance(access.arg, nodes.Const):
            key = access.arg.value
        else:
            continue
        if isinstance(access.node, nodes.Name) and access.node.name == "values":
            names.add(str(key))
            counted.add(id(access.node))
    takes_all = False
    for name in tree.find_all(nodes.Name):
        if id(name) in counted:
            continue
        names.add(name.name)
        takes_all = takes_all or name.name == "values"
    return frozenset(names), takes_all


def check_body(body: object) -> str:
    """The body of a version; Invalid, with field `body`, for one that is not in the language."""
    if not isinstance(body, str) or not body.strip():
        raise Invalid("body must be YAML text", field="body")
    if "\x00" in body:
        raise Invalid("body must not have null characters", field="body")
    try:
        compile_body(body)
    except TemplateFault as fault:
        raise as_invalid(fault) from None
    return body


def as_invalid(fault: TemplateFault, field: str = "body") -> Invalid:
    """The fault as the error that callers see."""
    where = f" (line {fault.line})" if fault.line else ""
    return Invalid(
        f"the template cannot be used: {fault.message}{where}",
        field=field,
    )
