"""Objects and Events as they were at a moment, out of the store's history."""

from dataclasses import replace
from datetime import datetime

from clusters import event_series
from clusters.kinds import KINDS, Kind
from clusters.lists import ListQuery, ObjectPage
from clusters.models import Cluster
from core.errors import Invalid
from storage_api.history import as_of, past_events
from workloads.objects.events import involved_selector
from workloads.objects.manifests import is_secret, masked_secret


def _check_query(query: ListQuery) -> None:
    if query.order or query.troubled:
        raise Invalid("orderby and troubled cannot be combined with at", field="at")


def list_past(cluster: Cluster, kind: Kind, query: ListQuery, at: datetime) -> ObjectPage:
    """One page of a kind as it was at a moment; Expired when history does not go back that far."""
    _check_query(query)
    listing = as_of.page(cluster, kind, query, at)
    if is_secret(kind):
        return ObjectPage([masked_secret(item) for item in listing.items], listing.total)
    return listing


def get_past(cluster: Cluster, kind: Kind, name: str, *, namespace: str, at: datetime) -> bytes:
    """One object's JSON as it was at a moment; a Secret without values, which the store never has.

    NotFound when it did not exist then, Expired when history does not go back that far.
    """
    if kind == KINDS["events"]:
        return past_events.get(cluster, name, namespace=namespace, at=at)
    content = as_of.get(cluster, kind, name, namespace=namespace, at=at)
    return masked_secret(content) if is_secret(kind) else content


def list_past_events(
    cluster: Cluster,
    query: ListQuery,
    at: datetime,
    *,
    involved_kind: str = "",
    involved_name: str = "",
    message: str = "",
    uids: frozenset[str] | None = None,
) -> ObjectPage:
    """One page of the Events that existed at a moment, newest first.

    Narrowed like `events.list_events`; Expired when history does not go back that far.
    """
    _check_query(query)
    selector = involved_selector(cluster, query, involved_kind, involved_name)
    page = past_events.page(
        cluster,
        replace(query, field_selector=selector),
        at,
        uids=uids,
        message=message,
    )
    return ObjectPage([event_series.with_count(item) for item in page.items], page.total)
