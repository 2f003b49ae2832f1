"""Orders: what was sold, what it uses and costs; making them, noting payments, secrets, refunds."""

from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from console import forms, permissions
from console.api_client import call
from console.page import redirect, render_page, require_sign_in
from console.rendering import charts
from console.views import tenants

SIZE = 50
STATUS = {
    "OrderPending": (gettext_lazy("not paid"), "warn"),
    "OrderPaid": (gettext_lazy("paid"), "busy"),
    "OrderFiled": (gettext_lazy("paid"), "good"),
}
SERVICE = {
    "ServicePending": (gettext_lazy("not deployed"), "idle"),
    "ServiceRunning": (gettext_lazy("running"), "good"),
    "ServiceDone": (gettext_lazy("over"), "idle"),
    "ServiceAbort": (gettext_lazy("refunded"), "warn"),
}
STATES = {"applied": "busy", "ready": "good", "failed": "bad"}
STEPS = {
    "hour": gettext_lazy("by hour"),
    "day": gettext_lazy("by day"),
    "month": gettext_lazy("by month"),
}


def _order_context(order: dict[str, Any]) -> dict[str, Any]:
    status = STATUS.get(order["status"], (order["status"], "idle"))
    service = SERVICE.get(order["service"], (order["service"], "idle"))
    due = int(order["amount"]) - int(order["amount_paid"])
    return {
        **order,
        "status_word": status[0],
        "status_severity": status[1],
        "service_word": service[0],
        "service_severity": service[1],
        "due": due,
    }


@require_GET
@require_sign_in
def index(request: HttpRequest) -> HttpResponse:
    """Orders, newest first; their owners see their own."""
    chosen = {
        name: request.GET.get(name, "") for name in ("status", "service", "region", "keyword")
    }
    number = forms.query_number(request, "page", least=1)
    data = call(request, "GET", "orders", query={**chosen, "page": number, "pageSize": SIZE}).data
    rest = urlencode({name: value for name, value in chosen.items() if value})
    context = {
        "orders": [_order_context(order) for order in data["items"]],
        "total": data["total"],
        "chosen": chosen,
        "filtered": any(chosen.values()),
        "sells": permissions.administers_everything(request),
        "statuses": STATUS.items(),
        "services": SERVICE.items(),
        "rest": rest,
        "previous": f"?{rest}&page={number - 1}" if number > 1 else "",
        "next": f"?{rest}&page={number + 1}" if number * SIZE < data["total"] else "",
    }
    return render_page(request, "console/orders.html", context)


@require_GET
@require_sign_in
def export(request: HttpRequest) -> HttpResponseBase:
    """The same orders as CSV, with what each has cost."""
    chosen = {
        name: request.GET.get(name, "") for name in ("status", "service", "region", "keyword")
    }
    response = call(request, "GET", "orders/export", query=chosen).response
    return response or HttpResponse(status=204)


@require_http_methods(["GET", "POST"])
@require_sign_in
def create(request: HttpRequest) -> HttpResponse:
    """The form of an order, and making it; paid at once it shows the secret."""
    data = call(request, "GET", "orders/plans").data
    sold = [{**plan, "sizes": ", ".join(map(str, plan["units"]))} for plan in data["items"]]
    units = sorted({unit for plan in sold for unit in plan["units"]})
    context = {
        "plans": sold,
        "regions": data["regions"],
        "units": units,
        "people": tenants.list_usernames(request),
    }
    return forms.render_form(
        request,
        "console/order_new.html",
        context,
        lambda: _create_order(request),
    )


def _create_order(request: HttpRequest) -> HttpResponse:
    body = {
        name: forms.form_text(request, name)
        for name in ("plan", "region", "owner", "address", "public_key")
    }
    order_body: dict[str, Any] = {name: value for name, value in body.items() if value}
    order_body |= {
        "units": forms.form_number(request, "units"),
        "duration": forms.form_number(request, "duration"),
    }
    order_body |= {name: request.POST.get(name) == "1" for name in ("random_ports", "paid")}
    order = call(request, "POST", "orders", body=order_body).data
    # Only an order that was paid at once has a secret by now.
    if order["secret"]:
        return _render_secret(request, order["id"], order["secret"])
    return redirect(
        request,
        f"/orders/{order['id']}",
        _("The order was created. It can be used once it is paid."),
    )


def _render_secret(
    request: HttpRequest,
    pk: str,
    secret: str,
) -> HttpResponse:
    """The page with an order's secret: it is shown once, since only its hash is stored."""
    return render_page(request, "console/order_secret.html", {"id": pk, "secret": secret})


@require_GET
@require_sign_in
def detail(request: HttpRequest, pk: str) -> HttpResponse:
    """An order: what it is, what runs for it, what it used and cost, its ledger."""
    return render_page(request, "console/order.html", _detail_context(request, pk))


def _detail_context(request: HttpRequest, pk: str) -> dict[str, Any]:
    step = request.GET.get("step", "hour")
    # An address that was edited by hand shows the page, not an error.
    step = step if step in STEPS else "hour"
    order = _order_context(call(request, "GET", f"orders/{pk}").data)
    usage = call(request, "GET", f"orders/{pk}/usage", query={"step": step}).data
    ledger = call(request, "GET", f"orders/{pk}/ledger", query={"pageSize": 200}).data
    return {
        "order": order,
        "sells": permissions.administers_everything(request),
        "deployments": [
            {**row, "severity": STATES.get(row["state"], "idle")} for row in order["deployments"]
        ],
        "usage": usage,
        "bars": charts.bars(
            [
                (f"{row['start']}: {row['cost']}", float(row["cost"]))
                for row in usage["items"][-120:]
            ]
        ),
        "rows": usage["items"][::-1][:48],
        "ledger": ledger["items"][::-1],
        "step": step,
        "steps": STEPS.items(),
        "open": order["service"] in ("ServicePending", "ServiceRunning"),
        "paid": order["status"] == "OrderFiled",
    }


@require_GET
@require_sign_in
def usage_file(request: HttpRequest, pk: str) -> HttpResponseBase:
    """Use and cost as CSV."""
    response = call(
        request,
        "GET",
        f"orders/{pk}/usage",
        query={"step": request.GET.get("step", "hour"), "format": "csv"},
    ).response
    return response or HttpResponse(status=204)


@require_POST
@require_sign_in
def pay(request: HttpRequest, pk: str) -> HttpResponse:
    """Record a payment; the one that completes the amount shows the secret."""

    def record_payment() -> HttpResponse:
        body = {
            "amount": forms.form_text(request, "amount"),
            "reference": forms.form_text(request, "reference"),
        }
        order = call(request, "POST", f"orders/{pk}/pay", body=body).data
        return (
            _render_secret(request, pk, order["secret"])
            if order["secret"]
            else redirect(request, f"/orders/{pk}", _("The payment was recorded."))
        )

    return forms.render_form(
        request, "console/order.html", _detail_context(request, pk), record_payment
    )


@require_http_methods(["GET", "POST"])
@require_sign_in
def secret(request: HttpRequest, pk: str) -> HttpResponse:
    """Replace the secret; the old one stops working."""
    context = {
        "id": pk,
        "title": _("Rotate the secret"),
        "explains": _("The old secret stops working. The new one is shown once."),
        "button": _("Rotate the secret"),
    }

    def rotate_secret() -> HttpResponse:
        # The old secret stops at once, so the order's id has to be typed.
        forms.require_name(request, pk)
        return _render_secret(
            request,
            pk,
            call(request, "POST", f"orders/{pk}/secret").data["secret"],
        )

    return forms.render_form(request, "console/order_act.html", context, rotate_secret)


@require_http_methods(["GET", "POST"])
@require_sign_in
def refund(request: HttpRequest, pk: str) -> HttpResponse:
    """What a refund returns and which deployments it removes; POST does it."""
    order = call(request, "GET", f"orders/{pk}").data
    left = call(request, "GET", f"orders/{pk}/usage").data["balance"]
    running = sum(row["state"] in STATES for row in order["deployments"])
    context = {
        "id": pk,
        "title": _("Refund what was not used"),
        "explains": _("The order ends, and with it all that runs for it. This cannot be undone."),
        "impact": [
            _("%(left)s would be refunded now") % {"left": left},
            _("%(n)s deployment is removed") % {"n": running},
        ],
        "button": _("Refund"),
        "reference": True,
    }

    def refund_order() -> HttpResponse:
        body = {"reference": forms.form_text(request, "reference")}
        data = forms.call_confirmed(request, "POST", f"orders/{pk}/refund", name=pk, body=body).data
        return redirect(
            request,
            f"/orders/{pk}",
            _("%(amount)s was refunded.") % {"amount": data["refunded"]},
        )

    return forms.render_form(request, "console/order_act.html", context, refund_order)
