"""Selling over JSON: plans, new orders, payments, refunds and secrets; for admins of everything."""

from decimal import Decimal, InvalidOperation
from typing import Any

from rest_framework.request import Request

from access import users
from billing.api.orders import ORDER_SCHEMA, OrderViewSet, plain, represent
from billing.models import Order, Plan
from billing.services import expiry, ledger, orders, regions
from core.api.audit import annotate
from core.api.auth import AccessAttributes, authorise
from core.api.confirmation import ConfirmationRequest, require_confirmation
from core.api.dialect import DialectView, Page
from core.api.parsing import boolean, integer, json_body
from core.api.schema import BOOLEAN, INTEGER, TEXT, OperationSchema, array, nullable, record
from core.errors import Invalid

PLAN_SCHEMA = record(
    name=TEXT,
    price=TEXT,
    units=array(INTEGER),
    regions=array(TEXT),
)
PAID_ORDER_SCHEMA = {
    **ORDER_SCHEMA,
    "properties": {**ORDER_SCHEMA["properties"], "secret": nullable(TEXT)},
}
PURCHASE_SCHEMA = record(
    required=("units", "duration"),
    plan=TEXT,
    units=INTEGER,
    duration=INTEGER,
    region=TEXT,
    random_ports=BOOLEAN,
    owner=TEXT,
    address=TEXT,
    public_key=TEXT,
    paid=BOOLEAN,
)


def _text(body: dict[str, Any], name: str, default: str = "") -> str:
    value = body.get(name)
    if value is None or value == "":
        return default
    if not isinstance(value, str) or "\x00" in value:
        raise Invalid(f"{name} must be text", field=name)
    return value


class OrderPlans(DialectView):
    """GET /orders/plans: what is on sale, and where."""

    operations = {
        "get": OperationSchema(
            "Plans on sale; `regions` beside them are those that clusters offer now",
            PLAN_SCHEMA,
            paged=True,
        )
    }

    def get(self, request: Request) -> Any:
        """All active plans by name, and the regions of every reachable cluster."""
        authorise(self, request, AccessAttributes("list", "orders"))
        if not Plan.objects.filter(name=orders.DEFAULT_PLAN).exists():
            # Creates it: a new installation sells the standard plan.
            orders.find_plan(orders.DEFAULT_PLAN)
        items = [_represent_plan(plan) for plan in Plan.objects.filter(active=True)]
        extra = {"regions": regions.list_regions_or_none()}
        return Page(items, len(items), 1, max(len(items), 1), extra=extra)


def _represent_plan(plan: Plan) -> dict[str, Any]:
    return {
        "name": plan.name,
        "price": plain(plan.price),
        "units": plan.units,
        "regions": plan.regions,
    }


class Orders(OrderViewSet):
    """GET and POST /orders."""

    operations = {
        **OrderViewSet.operations,
        "create": OperationSchema(
            "Make an order; with `paid` its secret is shown, this once",
            PAID_ORDER_SCHEMA,
            body=PURCHASE_SCHEMA,
            answer_name="NewOrder",
        ),
    }

    def create(self, request: Request) -> Any:
        """The order, and its secret when it was paid at once."""
        body = json_body(request)
        authorise(self, request, AccessAttributes("create", "orders"))
        name = _text(body, "owner")
        owner = users.find(name) if name else None
        paid = boolean(body.get("paid", False), "paid")
        order = orders.create(_parse_purchase(body), owner=owner)
        secret = None
        annotate(
            request,
            name=order.pk,
            details={"units": order.units, "duration": order.duration, "owner": name, "paid": paid},
        )
        if paid:
            order, secret = orders.pay(order, by=request.user.get_username())
        return {**represent(orders.find(order.pk)), "secret": secret}


class OrderDetail(DialectView):
    """Actions on one order, all of them for admins of everything."""

    refused_as = "PUT"

    def order(self, request: Request, verb: str, pk: str) -> Order:
        """The order; Forbidden before NotFound."""
        authorise(self, request, AccessAttributes(verb, "orders", name=pk[:60]))
        return orders.find(pk)


def _parse_purchase(body: dict[str, Any]) -> orders.PurchaseRequest:
    if body.get("units") is None or body.get("duration") is None:
        raise Invalid("units and duration are required", field="units")
    return orders.PurchaseRequest(
        units=integer(body["units"], "units", minimum=1, maximum=32_000),
        duration=integer(body["duration"], "duration", minimum=1, maximum=orders.LONGEST_DURATION),
        region=_text(body, "region"),
        random_ports=boolean(body.get("random_ports", False), "random_ports"),
        plan=_text(body, "plan", orders.DEFAULT_PLAN),
        address=_text(body, "address"),
        public_key=_text(body, "public_key"),
    )


class OrderPayment(OrderDetail):
    """POST /orders/{id}/pay."""

    operations = {
        "post": OperationSchema(
            "Note a payment, all that is open unless an amount is given; "
            "the last one gives the secret, shown this once",
            PAID_ORDER_SCHEMA,
            body=record(required=(), amount=TEXT, reference=TEXT),
        )
    }

    def post(self, request: Request, pk: str) -> Any:
        """The order with `secret`, null until it is paid in full."""
        order = self.order(request, "pay", pk)
        body = json_body(request)
        reference = _text(body, "reference")
        amount = _parse_amount(body.get("amount"))
        order, secret = orders.pay(
            order,
            by=request.user.get_username(),
            amount=amount,
            reference=reference,
        )
        amount_text = None if amount is None else plain(amount)
        annotate(request, details={"amount": amount_text, "reference": reference[:200]})
        return {**represent(orders.find(order.pk)), "secret": secret}


def _parse_amount(value: object) -> Decimal | None:
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, int | str) or len(str(value)) > 30:
        raise Invalid("amount must be a whole number", field="amount")
    try:
        return Decimal(value)
    except InvalidOperation:
        raise Invalid("amount must be a whole number", field="amount") from None


class OrderRefund(OrderDetail):
    """POST /orders/{id}/refund."""

    operations = {
        "post": OperationSchema(
            "Give back what was not used, and end the order with all that runs for it",
            {**ORDER_SCHEMA, "properties": {**ORDER_SCHEMA["properties"], "refunded": TEXT}},
            body=record(required=(), reference=TEXT, confirm=BOOLEAN),
            guarded=True,
        )
    }

    def post(self, request: Request, pk: str) -> Any:
        """The order with `refunded`; always to be confirmed."""
        order = self.order(request, "refund", pk)
        body = json_body(request)
        reference = _text(body, "reference")
        running = order.deployments.filter(state__in=order.deployments.model.LIVE).count()
        guarded = ConfirmationRequest(
            "refund",
            "Order",
            order.pk,
            identity=order.pk,
            protected="is paid for",
            impact=lambda: {
                "pods": running,
                "warnings": [f"{plain(ledger.balance(order))} would go back, as things are now"],
            },
        )
        require_confirmation(request, guarded)
        refunded = expiry.refund(
            order,
            by=request.user.get_username(),
            reference=reference,
        )
        annotate(request, details={"refunded": plain(refunded), "reference": reference[:200]})
        return {**represent(orders.find(order.pk)), "refunded": plain(refunded)}


class OrderSecret(OrderDetail):
    """POST /orders/{id}/secret."""

    operations = {
        "post": OperationSchema(
            "Give an order a new secret, shown this once; the old one is dead",
            record(id=TEXT, secret=TEXT),
        )
    }

    def post(self, request: Request, pk: str) -> Any:
        """{"id","secret"}."""
        order = self.order(request, "rotate", pk)
        return {"id": order.pk, "secret": orders.rotate_secret(order)}
