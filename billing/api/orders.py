"""Orders for admins and for their owners: /api/v1/kubernetes/orders (KubeGale envelope)."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from django.db.models import QuerySet
from rest_framework.request import Request
from rest_framework.viewsets import ViewSetMixin

from access.authorization import token_rights
from access.models import ApiToken
from access.policy import Right
from billing.models import Deployment, Order, Payment, Posting
from billing.services import ledger, usage
from core.api import audit
from core.api.auth import AccessAttributes, authorise
from core.api.csv_answers import csv_response
from core.api.dialect import DialectView, Page
from core.api.pagination import page_request
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
from core.errors import Forbidden, Invalid, NotFound
from core.times import rfc3339

FILTERS = {"status": Order.Status.values, "service": Order.Service.values}


def represent(order: Order) -> dict[str, Any]:
    """An order as JSON: amounts are texts, so that nothing is rounded; the secret is never here."""
    return {
        "id": order.pk,
        "plan": order.plan.name,
        "owner": order.owner.get_username() if order.owner else None,
        "units": order.units,
        "duration": order.duration,
        "seconds": order.seconds,
        "region": order.region,
        "ports": order.ports,
        "price": plain(order.price),
        "amount": plain(order.amount),
        "amount_paid": plain(order.amount_paid),
        "status": order.status,
        "service": order.service,
        "name": str(order.service_name),
        "created_at": rfc3339(order.created_at),
        "updated_at": rfc3339(order.updated_at),
        "activated_at": rfc3339(order.activated_at),
        "expires_at": rfc3339(order.expires_at),
        "closed_at": rfc3339(order.closed_at),
    }


def plain(amount: Decimal) -> str:
    """A decimal without exponent or trailing zeros."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _represent_deployment(row: Deployment) -> dict[str, Any]:
    return {
        "id": row.pk,
        "cluster": row.cluster.name,
        "namespace": row.namespace,
        "name": row.name,
        "region": row.region,
        "containers": row.containers,
        "state": row.state,
        "error": row.error or None,
        "operation_id": row.operation,
        "created_at": rfc3339(row.created_at),
        "ready_at": rfc3339(row.ready_at),
        "removed_at": rfc3339(row.removed_at),
    }


def _represent_payment(row: Payment) -> dict[str, Any]:
    return {
        "amount": plain(row.amount),
        "reference": row.reference,
        "by": row.by,
        "at": rfc3339(row.at),
    }


def _represent_posting(row: Posting) -> dict[str, Any]:
    return {
        "id": row.pk,
        "kind": row.kind,
        "at": rfc3339(row.at),
        "first_sample": row.first_sample,
        "last_sample": row.last_sample,
        "entries": [
            {"account": entry.account, "amount": plain(entry.amount)} for entry in row.entries.all()
        ],
    }


def _represent_bucket(row: usage.Bucket) -> dict[str, Any]:
    return {
        "start": rfc3339(row.start),
        "running_seconds": row.running_seconds,
        "gib_hours": plain(row.gib_hours),
        "cost": plain(row.cost),
    }


_NULLABLE_TEXT = nullable(TEXT)
ORDER_SCHEMA = record(
    id=TEXT,
    plan=TEXT,
    owner=_NULLABLE_TEXT,
    units=INTEGER,
    duration=INTEGER,
    seconds=INTEGER,
    region=TEXT,
    ports=TEXT,
    price=TEXT,
    amount=TEXT,
    amount_paid=TEXT,
    status=TEXT,
    service=TEXT,
    name=TEXT,
    created_at=TEXT,
    updated_at=TEXT,
    activated_at=_NULLABLE_TEXT,
    expires_at=_NULLABLE_TEXT,
    closed_at=_NULLABLE_TEXT,
)
ENTRY_SCHEMA = record(account=TEXT, amount=TEXT)
POSTING_SCHEMA = record(
    id=INTEGER,
    kind=TEXT,
    at=TEXT,
    first_sample=nullable(INTEGER),
    last_sample=nullable(INTEGER),
    entries=array(ENTRY_SCHEMA),
)
ROW_SCHEMA = record(
    start=TEXT,
    running_seconds=INTEGER,
    gib_hours=TEXT,
    cost=TEXT,
)
USAGE_SCHEMA = record(
    id=TEXT,
    step=TEXT,
    items=array(ROW_SCHEMA),
    charged=TEXT,
    balance=TEXT,
)
SELECTION = (
    QueryParameter("status", TEXT),
    QueryParameter("service", TEXT),
    QueryParameter("region", TEXT),
)
STEP = QueryParameter("step", {"type": "string", "enum": list(usage.STEPS), "default": "hour"})
FORMAT = QueryParameter("format", {"type": "string", "enum": ["json", "csv"], "default": "json"})


class OrderViewSet(ViewSetMixin, DialectView):
    """Orders with their use, cost and ledger; owners see their own, admins of everything all."""

    operations = {
        "list": OperationSchema(
            "List orders, newest first",
            ORDER_SCHEMA,
            query=(*PAGING, *SELECTION),
            paged=True,
        ),
        "export": OperationSchema(
            "Orders as CSV",
            TEXT,
            query=SELECTION,
            answer_types=("text/csv",),
        ),
        "retrieve": OperationSchema("One order, with what runs for it", OBJECT),
        "usage": OperationSchema(
            "Use and cost over time",
            USAGE_SCHEMA,
            query=(STEP, FORMAT),
            answer_types=("application/json", "text/csv"),
        ),
        "ledger": OperationSchema(
            "The order's double-entry ledger, oldest first",
            POSTING_SCHEMA,
            query=PAGING[:2],
            paged=True,
        ),
    }

    def _visible(
        self,
        request: Request,
        verb: str,
        name: str = "",
    ) -> QuerySet[Order]:
        """All orders for callers who may see all, else their own.

        Own orders need no right, but an API token needs the right to read; Forbidden.
        """
        rows = Order.objects.select_related("plan", "owner")
        try:
            authorise(self, request, AccessAttributes(verb, "orders", name=name))
        except Forbidden:
            # None for a session, which may do all that its user may.
            rights = token_rights(request.auth) if isinstance(request.auth, ApiToken) else None
            if rights is not None and Right.READ not in rights:
                raise
            # Own orders need no right, so the audit trail must not record a refusal.
            audit.forget_refusals(request)
            self.check_input(request)
            return rows.filter(owner_id=request.user.pk)
        return rows

    def _selected(self, request: Request) -> QuerySet[Order]:
        rows = self._visible(request, "list")
        query = request.query_params
        for column, allowed in FILTERS.items():
            if value := query.get(column):
                if value not in allowed:
                    raise Invalid(f"{column} must be one of {', '.join(allowed)}", field=column)
                rows = rows.filter(**{column: value})
        # PostgreSQL takes no NUL character in a text.
        if region := query.get("region", "").replace("\x00", ""):
            rows = rows.filter(region=region)
        if keyword := query.get("keyword", "").replace("\x00", ""):
            rows = rows.filter(id__icontains=keyword)
        return rows

    def _find(self, request: Request, verb: str, pk: str) -> Order:
        order = self._visible(request, verb, pk).filter(pk=pk.replace("\x00", "")).first()
        if order is None:
            # Also for orders of others: a refusal would tell that they exist.
            raise NotFound(f"order {pk[:60]!r} does not exist")
        return order

    def list(self, request: Request) -> Any:
        """One page of orders."""
        selected = self._selected(request)
        page = page_request(request.query_params)
        rows = [represent(order) for order in selected[page.offset : page.offset + page.size]]
        return Page(rows, selected.count(), page.page, page.size)

    def export(self, request: Request) -> Any:
        """The same orders as CSV, with what each has cost so far."""
        return csv_response("orders.csv", _order_rows(self._selected(request)))

    def retrieve(self, request: Request, pk: str) -> Any:
        """One order, its deploys newest first, and its payments."""
        order = self._find(request, "get", pk)
        # The newest: an order that is deployed again and again has thousands.
        rows = order.deployments.select_related("cluster")[:50]
        return {
            **represent(order),
            "deployments": [_represent_deployment(row) for row in rows],
            "payments": [_represent_payment(row) for row in order.payments.all()],
        }

    def usage(self, request: Request, pk: str) -> Any:
        """{"id","step","items","charged","balance"}, or the items as CSV.

        Items are {"start","running_seconds","gib_hours","cost"}, one for each step.
        """
        order = self._find(request, "usage", pk)
        query = request.query_params
        step = query.get("step") or "hour"
        if step not in usage.STEPS:
            raise Invalid(f"step must be one of {', '.join(usage.STEPS)}", field="step")
        rows = [_represent_bucket(row) for row in usage.usage_by_step(order, step)]
        if query.get("format") == "csv":
            columns = ("start", "running_seconds", "gib_hours", "cost")
            lines = [columns, *([row[name] for name in columns] for row in rows)]
            return csv_response(f"{order.pk}-usage.csv", lines)
        return {
            "id": order.pk,
            "step": step,
            "items": rows,
            "charged": plain(ledger.charged_amount(order)),
            "balance": plain(ledger.balance(order)),
        }

    def ledger(self, request: Request, pk: str) -> Any:
        """One page of postings, each with entries that sum to zero."""
        order = self._find(request, "get", pk)
        page = page_request(request.query_params)
        postings = Posting.objects.filter(order=order).order_by("pk").prefetch_related("entries")
        rows = [_represent_posting(row) for row in postings[page.offset : page.offset + page.size]]
        return Page(rows, postings.count(), page.page, page.size)


COLUMNS = (
    *("id", "plan", "owner", "units", "duration", "region", "price", "amount", "amount_paid"),
    *("status", "service", "created_at", "activated_at", "expires_at", "closed_at"),
)


def _order_rows(orders: QuerySet[Order]) -> Iterator[list[object]]:
    yield [*COLUMNS, "charged", "balance"]
    # One query for all orders instead of one for each.
    totals = ledger.totals()
    # Orders without a posting are not among the totals.
    unpaid = ledger.Totals()
    for order in orders.iterator(chunk_size=500):
        row = represent(order)
        total = totals.get(order.pk, unpaid)
        yield [*(row[name] for name in COLUMNS), plain(total.charged), plain(total.balance)]
