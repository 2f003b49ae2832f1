"""Kubernetes Events over JSON: listed newest first (contract 1.10)."""

from typing import Any

from rest_framework.request import Request

from core.api.pagination import page_request
from core.api.parsing import moment, search_text
from core.api.schema import (
    KUBERNETES_OBJECT,
    PAGING,
    SELECTORS,
    TEXT,
    OperationSchema,
    QueryParameter,
)
from workloads.api.objects import AT, ITEM, ObjectViewSet, raw_page
from workloads.objects import events, past


class EventViewSet(ObjectViewSet):
    """Events: listed newest first, and by the object they are about (contract 1.10)."""

    operations = {
        **ObjectViewSet.operations,
        "list": OperationSchema(
            "List events, newest first",
            KUBERNETES_OBJECT,
            query=(
                *ITEM,
                *PAGING,
                *SELECTORS,
                QueryParameter("resource_type", TEXT),
                QueryParameter("resource_name", TEXT),
                QueryParameter(
                    "message",
                    TEXT,
                    description="A part of the message, in any case; at most 200 characters.",
                ),
                AT,
            ),
            # Accepted without effect: Events always come from the cluster, newest first.
            also_query=("fresh", "orderby"),
            paged=True,
        ),
    }

    def list(self, request: Request) -> Any:
        """One page of events."""
        target, scope = self.resolve(request, "list")
        page = page_request(request.query_params)
        parameters = request.query_params
        query = self.query(request, target, scope, page.offset, page.size)
        involved: dict[str, Any] = {
            "involved_kind": parameters.get("resource_type", ""),
            "involved_name": parameters.get("resource_name", ""),
            "message": search_text(parameters, "message"),
        }
        if at := moment(parameters.get("at", ""), "at"):
            listing = past.list_past_events(target.cluster(), query, at, **involved)
        else:
            listing = events.list_events(target.cluster(), query, **involved)
        return raw_page(listing, page)
