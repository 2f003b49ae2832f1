"""When and how often an Event happened, as `kubectl events` shows it.

Old and new clients, and the APIs v1 and events.k8s.io, write that into different fields.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
import orjson

LONG_AGO = datetime.min.replace(tzinfo=UTC)
# kubectl's order first; then what else an Event may have, as events.k8s.io names it.
TIMES = ("lastTimestamp", "eventTime", "deprecatedLastTimestamp", "firstTimestamp")


def series(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """The Event's series; {} when it happened once, or its reporter uses the old `count`."""
    value = event.get("series")
    return value if isinstance(value, dict) else {}


def last_time(event: Mapping[str, Any]) -> str:
    """When it happened last, as RFC 3339; "" when the Event does not say."""
    times = [series(event).get("lastObservedTime")]
    times += [event.get(name) for name in TIMES]
    metadata = event.get("metadata")
    if isinstance(metadata, dict):
        times.append(metadata.get("creationTimestamp"))
    for time in times:
        if isinstance(time, str) and time:
            return time
    return ""


def count(event: Mapping[str, Any]) -> int:
    """How often it happened, at least once."""
    numbers = (series(event).get("count"), event.get("count"), event.get("deprecatedCount"))
    for number in numbers:
        if isinstance(number, int) and number > 0:
            return number
    return 1


def moment(text: str) -> datetime:
    """An RFC 3339 text as a time to sort by; LONG_AGO when it is not one.

    As texts, times with and without fractions of a second do not sort.
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return LONG_AGO
    return time if time.tzinfo else time.replace(tzinfo=UTC)


class _EventMetadata(msgspec.Struct, rename="camel"):
    creation_timestamp: str | None = None


class _EventSeries(msgspec.Struct, rename="camel"):
    count: int = 0
    last_observed_time: str | None = None


class _EventTimes(msgspec.Struct, rename="camel"):
    metadata: _EventMetadata | None = None
    series: _EventSeries | None = None
    count: int | None = None
    last_timestamp: str | None = None
    event_time: str | None = None
    deprecated_last_timestamp: str | None = None
    first_timestamp: str | None = None


_HEADS = msgspec.json.Decoder(_EventTimes)


def raw_moment(raw: bytes) -> datetime:
    """When the Event in these bytes happened last; only what that needs is decoded."""
    return moment(last_time(msgspec.to_builtins(_HEADS.decode(raw))))


def with_count(raw: bytes) -> bytes:
    """The Event's bytes with the series' `count`, and `lastTimestamp` where it was left out."""
    head = _HEADS.decode(raw)
    if head.series is None or head.count == head.series.count:
        return raw
    event = orjson.loads(raw)
    event["count"] = count(event)
    if not event.get("lastTimestamp"):
        event["lastTimestamp"] = f"{moment(last_time(event)):%Y-%m-%dT%H:%M:%SZ}"
    return orjson.dumps(event)
