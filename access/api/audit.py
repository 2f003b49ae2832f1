"""The audit trail over JSON: one page with filters, and all of it as lines (contract, Audit)."""

from collections.abc import Iterator
from typing import Any

from django.core import signing
from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from rest_framework.request import Request

from access import audit
from access.models import AuditEntry
from core.api.auth import AccessAttributes, Scope, authorise
from core.api.dialect import DialectView, Page
from core.api.pagination import page_request
from core.api.parsing import integer, moment
from core.api.rendering import dumps
from core.api.schema import (
    INTEGER,
    OBJECT,
    PAGING,
    TEXT,
    OperationSchema,
    QueryParameter,
    array,
    nullable,
    record,
)
from core.errors import Invalid

SALT = "audit-cursor"
FILTERS = (
    "user",
    "cluster",
    "kind",
    "namespace",
    "name",
    "verb",
    "result",
    "dialect",
    "request_id",
)
TIMES = ("since", "until")
ENTRY = record(
    id=INTEGER,
    at=TEXT,
    user=nullable(TEXT),
    token=nullable(TEXT),
    address=nullable(TEXT),
    request_id=TEXT,
    dialect=TEXT,
    verb=TEXT,
    cluster_id=nullable(INTEGER),
    cluster=nullable(TEXT),
    group=TEXT,
    kind=TEXT,
    namespace=nullable(TEXT),
    name=nullable(TEXT),
    result={"type": "string", "enum": list(AuditEntry.Result.values)},
    reason=nullable(TEXT),
    diff=array(OBJECT),
    details=OBJECT,
)
QUERY = tuple(QueryParameter(name, TEXT) for name in FILTERS) + tuple(
    QueryParameter(name, TEXT, description="RFC 3339, or seconds since 1970.") for name in TIMES
)


def parse_filters(request: Request) -> dict[str, Any]:
    """The filters of the query, as `audit.search` takes them; Invalid for impossible ones."""
    query = request.query_params
    values: dict[str, Any] = {name: query[name] for name in FILTERS if query.get(name)}
    if any("\x00" in value for value in values.values()):
        raise Invalid("a filter contains a NUL character")
    if values.get("result", AuditEntry.Result.SUCCESS) not in AuditEntry.Result.values:
        raise Invalid(
            f"result must be one of {', '.join(AuditEntry.Result.values)}", field="result"
        )
    for name in TIMES:
        if query.get(name):
            values[name] = moment(query[name], name)
    return values


def _visible_clusters(scope: Scope) -> list[int] | None:
    return None if scope.clusters is None else sorted(scope.clusters)


class Audit(DialectView):
    """GET /audit: newest first, by page or by cursor."""

    operations = {
        "get": OperationSchema(
            "The audit trail, newest first",
            ENTRY,
            query=(*QUERY, *PAGING[:2], QueryParameter("cursor", TEXT)),
            paged=True,
        )
    }

    def get(self, request: Request) -> Any:
        """One page; `next_cursor` leads to the next, even when entries are added meanwhile."""
        scope = authorise(self, request, AccessAttributes("list", "audit"))
        entries = audit.search(parse_filters(request), clusters=_visible_clusters(scope))
        page = page_request(request.query_params)
        total = entries.count()
        start = page.offset
        if cursor := request.query_params.get("cursor"):
            entries = entries.filter(id__lt=_decode_cursor(cursor))
            start = 0
        # One row more than the page tells whether there is a next one.
        rows = list(entries[start : start + page.size + 1])
        next_cursor = None
        if len(rows) > page.size:
            next_cursor = signing.dumps(rows[page.size - 1].pk, salt=SALT)
        items = [audit.represent(row) for row in rows[: page.size]]
        return Page(items, total, page.page, page.size, extra={"next_cursor": next_cursor})


def _decode_cursor(cursor: str) -> int:
    try:
        return integer(signing.loads(cursor, salt=SALT), "cursor")
    except signing.BadSignature:
        raise Invalid("invalid cursor", field="cursor") from None


class AuditExport(DialectView):
    """GET /audit/export: every matching entry, one JSON object a line."""

    operations = {
        "get": OperationSchema(
            "The audit trail as lines of JSON",
            OBJECT,
            query=QUERY,
            answer_types=("application/x-ndjson",),
        )
    }

    def get(self, request: Request) -> StreamingHttpResponse:
        """The lines, as they are read."""
        scope = authorise(self, request, AccessAttributes("list", "audit"))
        entries = audit.search(parse_filters(request), clusters=_visible_clusters(scope))
        response = StreamingHttpResponse(
            _ndjson_lines(entries), content_type="application/x-ndjson"
        )
        response["Content-Disposition"] = 'attachment; filename="audit.ndjson"'
        return response


def _ndjson_lines(entries: QuerySet[AuditEntry]) -> Iterator[bytes]:
    for row in audit.iterate(entries):
        yield dumps(audit.represent(row)) + b"\n"
