"""The JSONPath of printer columns: fields, indexes, slices, wildcards and comparing filters.

That is what `additionalPrinterColumns` use of the language of `k8s.io/client-go/util/jsonpath`.
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

import orjson

# A path comes from a custom resource definition, so from anybody who may write one.
MAX_STEPS = 64
_STEP = re.compile(
    r"""
    \.\.(?P<below>(?:[^.\[\\]|\\.)+)
    | \.?\[\?\(\s*@(?P<test_path>[^()=!<>]*?)\s*
        (?:(?P<test>==|!=|<=|>=|<|>)\s*(?P<literal>'[^']*'|"[^"]*"|[^()'"\s]+)\s*)?\)\]
    | \.?\[(?P<quoted>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")\]
    | \.?\[(?P<slice>-?\d*:-?\d*)\]
    | \.?\[(?P<index>-?\d+)\]
    | \.?\[(?P<all>\*)\]
    | \.(?P<each>\*)
    | \.(?P<field>(?:[^.\[\\]|\\.)+)
    """,
    re.VERBOSE,
)
Step = tuple[str, Any]


@lru_cache(maxsize=1024)
def _parse(path: str) -> tuple[Step, ...]:
    """The steps of a path; ValueError for one that is not understood."""
    text = path.strip().removeprefix("{").removesuffix("}").removeprefix("$")
    if text and text[0] not in ".[":
        text = f".{text}"
    steps: list[Step] = []
    position = 0
    while position < len(text):
        match = _STEP.match(text, position)
        if match is None or len(steps) >= MAX_STEPS:
            raise ValueError(f"JSONPath {path!r} is not supported")
        steps.append(_step(match))
        position = match.end()
    return tuple(steps)


def _step(match: "re.Match[str]") -> Step:
    if match["test_path"] is not None:
        test = (match["test_path"].strip(), match["test"], match["literal"])
        return "filter", test
    if match["quoted"] is not None:
        return "field", _unescape(match["quoted"][1:-1])
    if match["slice"] is not None:
        first, _, last = match["slice"].partition(":")
        return "slice", slice(_bound(first), _bound(last))
    if match["index"] is not None:
        return "index", int(match["index"])
    if match["all"] or match["each"]:
        return "each", None
    if match["below"] is not None:
        return "below", _unescape(match["below"])
    return "field", _unescape(match["field"])


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def _bound(text: str) -> int | None:
    return int(text) if text else None


def find(obj: Any, path: str) -> list[Any]:
    """The values at a path; [] when there are none, or the path is not supported."""
    try:
        steps = _parse(path)
    except ValueError:
        return []
    values = [obj]
    for step in steps:
        values = list(_apply(values, step))
    return values


def _apply(values: Iterable[Any], step: Step) -> Iterator[Any]:
    name, argument = step
    for value in values:
        match name:
            case "field" if (
                isinstance(
                    value,
                    dict,
                )
                and argument in value
            ):
                yield value[argument]
            case "index" if isinstance(
                value,
                list,
            ) and -len(value) <= argument < len(value):
                yield value[argument]
            case "slice" if isinstance(value, list):
                yield from value[argument]
            case "each":
                yield from _members(value)
            case "below":
                yield from _search(value, argument)
            case "filter" if isinstance(value, list):
                yield from (member for member in value if _passes(member, *argument))


def _members(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _search(value: Any, field: str) -> Iterator[Any]:
    """The values of a field at any depth."""
    if isinstance(value, dict) and field in value:
        yield value[field]
    for member in _members(value):
        yield from _search(member, field)


def _passes(
    member: Any,
    path: str,
    test: str | None,
    literal: str | None,
) -> bool:
    values = find(member, path)
    if test is None or literal is None:
        return bool(values)
    return any(
        _compare(
            value,
            test,
            _parse_literal(literal),
        )
        for value in values
    )


def _parse_literal(text: str) -> Any:
    if text[0] in "'\"":
        return text[1:-1]
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _compare(value: Any, test: str, literal: Any) -> bool:
    if test == "==":
        return bool(value == literal)
    if test == "!=":
        return bool(value != literal)
    try:
        match test:
            case "<":
                return bool(value < literal)
            case "<=":
                return bool(value <= literal)
            case ">":
                return bool(value > literal)
        return bool(value >= literal)
    except TypeError:
        return False
