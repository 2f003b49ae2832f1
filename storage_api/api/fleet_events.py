"""GET /multicluster/events: what happened in all clusters in the last hour."""

from collections.abc import Collection
from typing import Any

from rest_framework.request import Request

from clusters import event_series
from clusters.kinds import KINDS, lookup_kind
from core.api.auth import AccessAttributes, authorise
from core.api.dialect import DialectView
from core.api.pagination import page_request
from core.api.parsing import search_text
from core.api.schema import (
    BOOLEAN,
    INTEGER,
    KUBERNETES_OBJECT,
    PAGING,
    TEXT,
    OperationSchema,
    QueryParameter,
    array,
    record,
)
from core.errors import Invalid, NotFound
from storage_api.api.multicluster import (
    PROBLEM,
    SINGULAR,
    list_parameter,
    refuse_past,
    select_places,
    stale_places,
    tagged_item,
    visible_places,
)
from storage_api.history import fleet_events
from storage_api.history.fleet_events import EventSearch
from storage_api.services import multicluster
from storage_api.services.sync import database_now

EVENTS = record(
    items=array(KUBERNETES_OBJECT),
    total=INTEGER,
    page=INTEGER,
    pageSize=INTEGER,
    truncated=BOOLEAN,
    partial_errors=array(PROBLEM),
)
# Parameters that are a text of the Event, and what that is called in a search.
TEXTS = {
    "type": "event_type",
    "reason": "reason",
    "source": "source",
    "resource_name": "name",
    "keyword": "keyword",
    "message": "message",
}


class MulticlusterEvents(DialectView):
    """GET /multicluster/events: the Events of all clusters, out of the store."""

    operations = {
        "get": OperationSchema(
            "Events of many clusters, newest first",
            EVENTS,
            query=(
                QueryParameter(
                    "clusters",
                    TEXT,
                    description="Ids or names, comma list; all that the caller may see if absent.",
                ),
                QueryParameter("namespaces", TEXT, description="Comma list."),
                QueryParameter("type", TEXT, description="Warning or Normal."),
                QueryParameter("reason", TEXT),
                QueryParameter("source", TEXT, description="The component that reported it."),
                QueryParameter("resource_type", TEXT),
                QueryParameter("resource_name", TEXT),
                QueryParameter(
                    "message",
                    TEXT,
                    description="A part of the message, in any case; at most 200 characters.",
                ),
                *PAGING,
            ),
            also_query=("at", *SINGULAR.values()),
        )
    }

    def get(self, request: Request) -> Any:
        """Events with `cluster_id` and `cluster_name` in front of their own members.

        Of the last hour. `truncated`: there were more than the store looks through.
        """
        refuse_past(request)
        query = request.query_params
        scope = authorise(self, request, AccessAttributes("list", "clusters"))
        kind = KINDS["events"]
        places, problems = select_places(
            list_parameter(request, "clusters"),
            visible_places(self, request, kind),
        )
        texts = {field: search_text(query, name) for name, field in TEXTS.items()}
        search = EventSearch(
            places=places,
            namespaces=list_parameter(request, "namespaces"),
            kind=_kind_name(search_text(query, "resource_type"), scope.clusters),
            **texts,
        )
        number = page_request(query)
        events = fleet_events.page(
            search,
            database_now(),
            offset=number.offset,
            size=number.size,
        )
        ids = {place.name: place.cluster for place in places}
        late, _age = stale_places(places, kind)
        return {
            "items": [
                tagged_item(event_series.with_count(event), kind, ids[name], name)
                for name, event in events.items
            ],
            "total": events.total,
            "page": number.page,
            "pageSize": number.size,
            "truncated": events.truncated,
            "partial_errors": problems + late,
        }


def _kind_name(text: str, within: Collection[int] | None) -> str:
    """`Pod` for Pod, pod, pods or po; any other word is looked for as it is."""
    if not text:
        return ""
    if kind := lookup_kind(text):
        return kind.name
    try:
        return multicluster.find_kind(text, within=within).name
    except (NotFound, Invalid):
        return text
