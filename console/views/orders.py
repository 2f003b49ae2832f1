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
from console.page import go, page, signed_in
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


def _shown(one: dict[str, Any]) -> dict[str, Any]:
    status, service = (
        STATUS.get(one["status"], (one["status"], "idle")),
        SERVICE.get(one["service"], (one["service"], "idle")),
    )
    due = int(one["amount"]) - int(one["amount_paid"])
    return {
        **one,
        "status_word": status[0],
        "status_tone": status[1],
        "service_word": service[0],
        "service_tone": service[1],
        "due": due,
    }


@require_GET
@signed_in
def listed(request: HttpRequest) -> HttpResponse:
    """Orders, newest first; their owners see their own."""
    chosen = {
        name: request.GET.get(name, "") for name in ("status", "service", "region", "keyword")
    }
    number = forms.whole(request, "page", least=1)
    data = call(request, "GET", "orders", query={**chosen, "page": number, "pageSize": SIZE}).data
    rest = urlencode({name: value for name, value in chosen.items() if value})
    context = {
        "orders": [_shown(one) for one in data["items"]],
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
    return page(request, "console/orders.html", context)


@require_GET
@signed_in
def export(request: HttpRequest) -> HttpResponseBase:
    """The same orders as CSV, with what each has cost."""
    chosen = {
        name: request.GET.get(name, "") for name in ("status", "service", "region", "keyword")
    }
    response = call(request, "GET", "orders/export", query=chosen).response
    return response or HttpResponse(status=204)


@require_http_methods(["GET", "POST"])
@signed_in
def new(request: HttpRequest) -> HttpResponse:
    """The form of an order, and making it; paid at once it shows the secret."""
    data = call(request, "GET", "orders/plans").data
    sold = [{**plan, "sizes": ", ".join(map(str, plan["units"]))} for plan in data["items"]]
    units = sorted({unit for plan in sold for unit in plan["units"]})
    context = {
        "plans": sold,
        "regions": data["regions"],
        "units": units,
        "people": tenants.names(request),
    }
    return forms.shown(request, "console/order_new.html", context, lambda: _make(request))


def _make(request: HttpRequest) -> HttpResponse:
    body = {
        name: forms.text(request, name)
        for name in ("plan", "region", "owner", "address", "public_key")
    }
    wanted: dict[str, Any] = {name: value for name, value in body.items() if value}
    wanted |= {
        "units": forms.number(request, "units"),
        "duration": forms.number(request, "duration"),
    }
    wanted |= {name: request.POST.get(name) == "1" for name in ("random_ports", "paid")}
    order = call(request, "POST", "orders", body=wanted).data
    if order["secret"]:
        return _secret(request, order["id"], order["secret"])
    return go(
        request, f"/orders/{order['id']}", _("The order was made. It can be used once it is paid.")
    )


def _secret(request: HttpRequest, pk: str, secret: str) -> HttpResponse:
    """The only page that ever shows it."""
    return page(request, "console/order_secret.html", {"id": pk, "secret": secret})


@require_GET
@signed_in
def one(request: HttpRequest, pk: str) -> HttpResponse:
    """An order: what it is, what runs for it, what it used and cost, its ledger."""
    return page(request, "console/order.html", _context(request, pk))


def _context(request: HttpRequest, pk: str) -> dict[str, Any]:
    step = request.GET.get("step", "hour")
    step = step if step in STEPS else "hour"
    order = _shown(call(request, "GET", f"orders/{pk}").data)
    usage = call(request, "GET", f"orders/{pk}/usage", query={"step": step}).data
    ledger = call(request, "GET", f"orders/{pk}/ledger", query={"pageSize": 200}).data
    return {
        "order": order,
        "sells": permissions.administers_everything(request),
        "deployments": [
            {**row, "tone": STATES.get(row["state"], "idle")} for row in order["deployments"]
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
@signed_in
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
@signed_in
def pay(request: HttpRequest, pk: str) -> HttpResponse:
    """Note a payment; the last one shows the secret."""

    def noted() -> HttpResponse:
        body = {
            "amount": forms.text(request, "amount"),
            "reference": forms.text(request, "reference"),
        }
        order = call(request, "POST", f"orders/{pk}/pay", body=body).data
        return (
            _secret(request, pk, order["secret"])
            if order["secret"]
            else go(request, f"/orders/{pk}", _("The payment is noted."))
        )

    return forms.shown(request, "console/order.html", _context(request, pk), noted)


@require_http_methods(["GET", "POST"])
@signed_in
def secret(request: HttpRequest, pk: str) -> HttpResponse:
    """A new secret; the old one is dead."""
    context = {
        "id": pk,
        "title": _("Give a new secret"),
        "explains": _(
            "Whoever has the old secret can no longer use the order. The new one is shown once."
        ),
        "button": _("Give a new secret"),
    }

    def rotated() -> HttpResponse:
        forms.require_name(request, pk)
        return _secret(request, pk, call(request, "POST", f"orders/{pk}/secret").data["secret"])

    return forms.shown(request, "console/order_act.html", context, rotated)


@require_http_methods(["GET", "POST"])
@signed_in
def refund(request: HttpRequest, pk: str) -> HttpResponse:
    """What goes back and what is taken away; and doing it."""
    order = call(request, "GET", f"orders/{pk}").data
    left = call(request, "GET", f"orders/{pk}/usage").data["balance"]
    running = sum(row["state"] in STATES for row in order["deployments"])
    context = {
        "id": pk,
        "title": _("Refund what was not used"),
        "explains": _("The order ends, and with it all that runs for it. This cannot be undone."),
        "impact": [
            _("%(left)s goes back, as things are now") % {"left": left},
            _("%(n)s deployment is taken away") % {"n": running},
        ],
        "button": _("Refund"),
        "reference": True,
    }

    def refunded() -> HttpResponse:
        body = {"reference": forms.text(request, "reference")}
        data = forms.confirmed(request, "POST", f"orders/{pk}/refund", name=pk, body=body).data
        return go(
            request, f"/orders/{pk}", _("%(amount)s goes back.") % {"amount": data["refunded"]}
        )

    return forms.shown(request, "console/order_act.html", context, refunded)
