"""Silences: which alerts they keep quiet, by the matchers of Alertmanager."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.db import DatabaseError, connection, transaction
from django.db.models import Q, QuerySet
from psycopg2 import sql

from alerts import scopes
from alerts.models import Alert, Silence
from core.errors import Invalid

MAX_MATCHERS = 20
MAX_TEXT = 500
# A preview looks at so many open alerts.
MAX_PREVIEWED = 10_000
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]{0,199}\Z")
_BACK_REFERENCE = re.compile(r"\\[0-9]|\(\?(?!:)")
MEMBERS = ("name", "value", "regex", "equal")


def parse_matchers(value: object) -> list[dict[str, Any]]:
    """The matchers of a silence; Invalid with the member's path as `field`."""
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_MATCHERS:
        raise Invalid(
            f"matchers must be a list of 1 to {MAX_MATCHERS} matchers",
            field="matchers",
        )
    return [
        _parse_matcher(
            data,
            f"matchers[{index}]",
        )
        for index, data in enumerate(value)
    ]


def _parse_matcher(data: object, field: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise Invalid(f"{field} must be an object", field=field)
    # Alertmanager's own API calls the two flags so.
    data = {
        {"isRegex": "regex", "isEqual": "equal"}.get(
            name,
            name,
        ): data[name]
        for name in data
    }
    for name in data:
        if name not in MEMBERS:
            raise Invalid(
                f"unknown member {f'{field}.{name}'[:200]!r}",
                field=f"{field}.{name}",
            )
    name = data.get("name")
    value = data.get("value")
    if not isinstance(name, str) or not _NAME.match(name):
        raise Invalid(f"{field}.name must be a label's name", field=f"{field}.name")
    if not isinstance(value, str) or len(value) > MAX_TEXT or "\0" in value:
        raise Invalid(
            f"{field}.value must be text of at most {MAX_TEXT} characters",
            field=f"{field}.value",
        )
    flags = {"regex": data.get("regex", False), "equal": data.get("equal", True)}
    for flag, setting in flags.items():
        if not isinstance(setting, bool):
            raise Invalid(
                f"{field}.{flag} must be true or false",
                field=f"{field}.{flag}",
            )
    if flags["regex"]:
        _check_pattern(value, f"{field}.value")
    return {"name": name, "value": value, **flags}


def _check_pattern(pattern: str, field: str) -> None:
    if _BACK_REFERENCE.search(pattern):
        raise Invalid(
            f"{field} must not refer back to groups or look around",
            field=field,
        )
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = '2s'")
            cursor.execute("SELECT '' ~ %s", [_whole(pattern)])
            cursor.execute("SET LOCAL statement_timeout = DEFAULT")
    except DatabaseError:
        raise Invalid(f"{field} is not a regular expression", field=field) from None


def _whole(pattern: str) -> str:
    """The pattern for PostgreSQL, of whole values as in Alertmanager."""
    return f"^(?:{pattern})$"


def check_span(
    starts_at: datetime,
    ends_at: datetime,
    now: datetime,
) -> None:
    """Invalid for a silence that ends before it begins or is over already."""
    if ends_at <= starts_at:
        raise Invalid("ends_at must be after starts_at", field="ends_at")
    if ends_at <= now:
        raise Invalid("ends_at is over already", field="ends_at")


def silences_of(alert_ids: Iterable[int], now: datetime) -> dict[int, list[int]]:
    """Alert's id -> the ids of the active silences that keep it quiet.

    Only of alerts that the maker of the silence may see.
    """
    ids = list(alert_ids)
    silenced: dict[int, list[int]] = {}
    active = Silence.objects.filter(starts_at__lte=now, ends_at__gt=now)
    if not ids:
        return silenced
    fleet: scopes.Fleet | None = None
    for silence in active.select_related("created_by").order_by("pk"):
        matching = _matching_ids(silence.matchers, ids)
        if not matching:
            continue
        fleet = fleet or scopes.Fleet.read()
        seen = scopes.alerts_of_user(silence.created_by, fleet) & Q(pk__in=matching)
        for pk in Alert.objects.filter(seen).values_list("pk", flat=True):
            silenced.setdefault(pk, []).append(silence.pk)
    return silenced


def matching_alerts(
    matchers: Iterable[Mapping[str, Any]],
    visible: Q,
) -> QuerySet[Alert]:
    """The alerts inside `visible` that are not resolved and that such a silence would keep quiet.

    Newest first; of MAX_PREVIEWED alerts at most.
    """
    rows = Alert.objects.exclude(state=Alert.State.RESOLVED).filter(visible)
    newest = rows.order_by("-started_at", "-pk").values_list("pk", flat=True)
    ids = _matching_ids(matchers, list(newest[:MAX_PREVIEWED]))
    return Alert.objects.filter(pk__in=ids).order_by("-started_at", "-pk")


def _matching_ids(matchers: Iterable[Mapping[str, Any]], ids: list[int]) -> list[int]:
    """The alerts whose labels match; the database matches, in bounded time."""
    tests = []
    params: list[Any] = [ids]
    for matcher in matchers:
        test, value = _test(matcher)
        tests.append(test)
        params += [matcher["name"], value]
    statement = sql.SQL("SELECT a.id FROM alerts_alert a WHERE a.id = ANY (%s) AND {}").format(
        sql.SQL(" AND ").join(tests)
    )
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = '5s'")
            cursor.execute(statement, params)
            matching = [int(row[0]) for row in cursor.fetchall()]
            cursor.execute("SET LOCAL statement_timeout = DEFAULT")
            return matching
    except DatabaseError:
        # A silence that cannot be judged keeps nobody from being told.
        return []


def _test(matcher: Mapping[str, Any]) -> tuple[sql.SQL, str]:
    """The SQL of a matcher and its value; an absent label is an empty text, as in Prometheus."""
    operator = "~" if matcher["regex"] else "="
    test = f"coalesce(a.labels ->> %s, '') {operator} %s"
    value = _whole(matcher["value"]) if matcher["regex"] else matcher["value"]
    return sql.SQL(test if matcher["equal"] else f"NOT ({test})"), value
