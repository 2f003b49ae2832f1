"""The rules of section 3 of the contract in plain Python, for comparison: equality over arrays, projections, typed filters."""

import re
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

MISSING = object()
ZONE = ZoneInfo("Asia/Shanghai")
RFC3339 = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(\.\d{1,9})?(Z|[+-]\d\d:?\d\d)")


def same(left: Any, right: Any) -> bool:
    """JSON equality: types are strict, numbers compare by value, objects without order."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, int | float) and isinstance(right, int | float):
        return left == right
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


def reached(node: Any, path: list[str]) -> list[Any]:
    """Every value that a dotted path reaches, with MISSING where a step finds nothing."""
    if not path:
        return [node, *(node if isinstance(node, list) else [])]
    if isinstance(node, dict):
        return reached(node[path[0]], path[1:]) if path[0] in node else [MISSING]
    if not isinstance(node, list):
        return [MISSING]
    found: list[Any] = []
    for place, element in enumerate(node):
        if isinstance(element, dict):
            found += reached(element, path)
        if path[0] == str(place) and (len(path) == 1 or isinstance(element, dict | list)):
            found += reached(element, path[1:])
    return found


def matches(document: Any, path: list[str], wanted: list[Any]) -> bool:
    """Mongo's equality with any of the wanted values; null equals what is missing."""
    values = [None if value is MISSING else value for value in reached(document, path)]
    return any(same(value, want) for value in values for want in wanted)


def projected(document: dict[str, Any], paths: list[list[str]]) -> dict[str, Any]:
    """Inclusion projection, the broader path first."""
    result: dict[str, Any] = {}
    for key in {path[0] for path in paths if path[0] in document}:
        deeper = [path[1:] for path in paths if path[0] == key]
        value = document[key]
        if [] in deeper:
            result[key] = value
        elif isinstance(value, dict):
            result[key] = projected(value, deeper)
        elif isinstance(value, list):
            result[key] = [projected(item, deeper) for item in value if isinstance(item, dict)]
    return result


def at(document: Any, path: list[str]) -> Any:
    """The value at a path of objects."""
    for step in path:
        if not isinstance(document, dict) or step not in document:
            return MISSING
        document = document[step]
    return document


def instant(value: Any) -> Fraction | None:
    """The moment that a document holds, in unix seconds cut at microseconds."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Fraction(value)
    parts = RFC3339.fullmatch(value) if isinstance(value, str) else None
    if parts is None:
        return None
    offset = parts[8]
    minutes = (
        0 if offset == "Z" else int(offset[0] + "1") * (int(offset[1:3]) * 60 + int(offset[-2:]))
    )
    try:
        stamp = datetime(*(int(parts[place]) for place in range(1, 7)), tzinfo=UTC) - timedelta(
            minutes=minutes
        )
    except (ValueError, OverflowError):
        return None
    seconds = Fraction((stamp - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1))
    return seconds + Fraction(int((parts[7] or ".0")[1:7].ljust(6, "0")), 1_000_000)


def not_before(value: Any, bound: int | str) -> bool | None:
    """Whether a stored moment is at or after unix seconds or a wall clock; None when there is no moment."""
    moment = instant(value)
    if moment is None:
        return None
    if isinstance(bound, int):
        return moment >= bound
    if isinstance(value, str):
        return value[:19].replace("T", " ") >= bound
    return moment >= int(
        datetime.strptime(bound, "%Y-%m-%d %H:%M:%S").replace(tzinfo=ZONE).timestamp()
    )
