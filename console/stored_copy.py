"""What pages show of a cluster that does not answer: the store's copy, with its age."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.http import HttpRequest

from clusters.kinds import Kind
from console.api_client import FORBIDDEN, UNREACHABLE, ApiRefusal, call
from console.locations import Location
from console.rendering import html
from console.rendering.health import Object, get, regular_object
from core.times import rfc3339

MAX_NAMESPACES = 1000
# The moment of the newest copy, whatever the clock of the database says.
NEWEST = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class StoredCopy:
    """The store's copy of a kind: its age in seconds, and why the cluster was not asked."""

    age: float
    problem: str

    @property
    def age_text(self) -> str:
        """`46m`: the age as tables write it."""
        return html.short_age(self.age)


def read(
    request: HttpRequest,
    path: str,
    query: Mapping[str, Any],
) -> tuple[dict[str, Any], ApiRefusal | None]:
    """(the API's list of objects, the cluster's refusal when the list is out of the store).

    Raises ApiRefusal for every other failure, and the cluster's own when the store has nothing.
    """
    data, refusal = _read(request, path, query)
    return {**data, "items": [regular_object(item) for item in data["items"]]}, refusal


def _read(
    request: HttpRequest,
    path: str,
    query: Mapping[str, Any],
) -> tuple[Any, ApiRefusal | None]:
    """The same for any answer, as it is."""
    try:
        return call(request, "GET", path, query=query).data, None
    except ApiRefusal as refusal:
        if refusal.code != UNREACHABLE:
            raise
        moment = rfc3339(datetime.now(UTC) + NEWEST, digits=3)
        try:
            return call(request, "GET", path, query={**query, "at": moment}).data, refusal
        except ApiRefusal:
            # Why the cluster does not answer says more than what the store lacks.
            raise refusal from None


def read_object(
    request: HttpRequest,
    location: Location,
) -> tuple[Object, StoredCopy | None]:
    """(the object, the copy that it comes from: None when the cluster was asked)."""
    answer, refusal = _read(request, location.path, location.query)
    item = regular_object(answer)
    if refusal is None:
        return item, None
    age = copy_age(request, location.cluster, location.kind)
    return item, StoredCopy(age or 0.0, refusal.message)


def list_namespaces(request: HttpRequest, cluster: int, chosen: Sequence[str]) -> list[str]:
    """The names that a cluster has, of the store when it does not answer.

    Credentials that may not list namespaces offer those in use (`chosen`) alone.
    """
    try:
        rows = call(request, "GET", f"clusters/{cluster}/namespaces").data["namespaces"]
    except ApiRefusal as refusal:
        if refusal.code not in (FORBIDDEN, UNREACHABLE):
            raise
        if refusal.code == FORBIDDEN:
            return list(chosen)
        rows = _copied_namespaces(request, cluster)
    return [name for row in rows if (name := get(row, "metadata", "name"))]


def _copied_namespaces(request: HttpRequest, cluster: int) -> list[Object]:
    query = {"cluster_id": cluster, "pageSize": MAX_NAMESPACES}
    try:
        rows: list[Object] = read(request, "namespaces", query)[0]["items"]
    except ApiRefusal:
        # A picker without choices is no reason for an error beside the page's own.
        return []
    return rows


def copy_age(request: HttpRequest, cluster: int, kind: Kind) -> float | None:
    """Seconds since the copy of a kind was true; None for a kind that was never collected."""
    try:
        copies = call(request, "GET", f"clusters/{cluster}/sync").data["kinds"]
    except ApiRefusal:
        return None
    ages = [
        _age_of(copy)
        for copy in copies
        if (copy["plural"], copy["group"]) == (kind.plural, kind.group) and copy["listed_at"]
    ]
    return max(ages, default=None)


def _age_of(copy: Mapping[str, Any]) -> float:
    """Seconds since the copy was true; since it last changed while nobody can tell."""
    if copy["age"] is not None:
        return float(copy["age"])
    moment = html.parse_time(copy["changed_at"] or copy["listed_at"])
    return (datetime.now(UTC) - moment).total_seconds() if moment else 0.0
