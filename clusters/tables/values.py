"""Reading values out of objects, and the texts that tables show: ages, selectors, short lists."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from clusters.manifests import Object

NONE = "<none>"
UNKNOWN = "<unknown>"
UNSET = "<unset>"
INVALID = "<invalid>"
# The API server shows so many members of a longer list.
SHOWN_MEMBERS = 3


def get(value: Any, path: str) -> Any:
    """What stands at a dotted path, None where a part of it is missing."""
    for key in path.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def text_at(obj: Object, path: str, default: str = "") -> str:
    """The text at a dotted path; the default for an absent or empty one."""
    value = get(obj, path)
    return str(value) if value not in (None, "") else default


def number_at(obj: Object, path: str, default: int = 0) -> int:
    """The whole number at a dotted path."""
    value = get(obj, path)
    return default if value is None else int(value)


def mappings_at(value: Any, path: str) -> list[dict[str, Any]]:
    """The objects of the list at a dotted path; [] without one, TypeError for a number."""
    members = get(value, path)
    return [member for member in members or () if isinstance(member, dict)]


def sound_mappings_at(value: Any, path: str) -> list[dict[str, Any]]:
    """The same, and [] for whatever is no list."""
    return mappings_at(value, path) if isinstance(get(value, path), list) else []


def format_bool(value: Any) -> str:
    """`True`, `False`, or `<unset>` for what was left out."""
    if value is None:
        return UNSET
    return "True" if value else "False"


# --- times ----------------------------------------------------------------------------------------
def parse_time(text: Any) -> datetime | None:
    """An RFC 3339 time; None for none. ValueError for what is no time."""
    if not text:
        return None
    moment = datetime.fromisoformat(str(text))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def format_duration(span: timedelta) -> str:
    """A span as `k8s.io/apimachinery/pkg/util/duration` writes it: `54s`, `5m3s`, `3h`, `2d4h`."""
    # Clocks may differ by two seconds.
    if span <= timedelta(seconds=-2):
        return INVALID
    seconds = max(int(span.total_seconds()), 0)
    minutes = seconds // 60
    hours = minutes // 60
    days = hours // 24
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return _in_two_units(minutes, "m", seconds % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _in_two_units(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return _in_two_units(days, "d", hours % 24, "h")
    if days < 2 * 365:
        return f"{days}d"
    years = days // 365
    if years < 8:
        return _in_two_units(years, "y", days % 365, "d")
    return f"{years}y"


def _in_two_units(
    large: int,
    large_unit: str,
    small: int,
    small_unit: str,
) -> str:
    if not small:
        return f"{large}{large_unit}"
    return f"{large}{large_unit}{small}{small_unit}"


def format_age(time: Any, now: datetime) -> str:
    """How long before `now` a time was, given as RFC 3339 text."""
    moment = parse_time(time)
    return UNKNOWN if moment is None else format_duration(now - moment)


# --- texts of parts -------------------------------------------------------------------------------
def join_shortened(
    members: Sequence[str],
    count: int,
    shown: int = SHOWN_MEMBERS,
) -> str:
    """`a,b,c + 2 more...`: the first members of a list that has `count` of them."""
    text = ",".join(members[:shown])
    return f"{text} + {count - shown} more..." if count > shown else text


def format_labels(labels: Any) -> str:
    """`a=1,b=2` in the order of the keys; `<none>` without any."""
    if not isinstance(labels, Mapping) or not labels:
        return NONE
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def format_selector(selector: Any) -> str:
    """A LabelSelector as kubectl writes it: `app=web,tier in (a,b),!old`; "" for an empty one."""
    if not isinstance(selector, Mapping):
        return ""
    terms = [(key, f"{key}={value}") for key, value in (selector.get("matchLabels") or {}).items()]
    terms += [
        (requirement["key"], _format_requirement(requirement))
        for requirement in selector.get("matchExpressions") or ()
    ]
    return ",".join(
        text
        for _, text in sorted(
            terms,
            key=lambda term: term[0],
        )
    )


def _format_requirement(requirement: Mapping[str, Any]) -> str:
    key = str(requirement["key"])
    values = ",".join(sorted(requirement.get("values") or ()))
    match requirement["operator"]:
        case "In":
            return f"{key} in ({values})"
        case "NotIn":
            return f"{key} notin ({values})"
        case "DoesNotExist":
            return f"!{key}"
    return key


def conditions_by_type(obj: Object) -> dict[str, dict[str, Any]]:
    """The conditions of an object's status."""
    return {
        str(condition.get("type")): condition
        for condition in mappings_at(
            obj,
            "status.conditions",
        )
    }


def is_true(
    conditions: Mapping[str, Mapping[str, Any]],
    condition_type: str,
) -> bool:
    """Whether there is a condition of the type, with the status True."""
    return conditions.get(condition_type, {}).get("status") == "True"


def join_fields(
    members: Iterable[Mapping[str, Any]],
    name: str,
) -> str:
    """One field of each member, joined by commas."""
    return ",".join(str(member.get(name, "")) for member in members)
