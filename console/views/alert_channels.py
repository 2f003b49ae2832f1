"""Channels of alerts, their tests, and what was delivered."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from console import forms, permissions
from console.api_client import call
from console.filtered_lists import SIZE, page_links
from console.page import redirect, render_page, require_sign_in
from console.views.alerts import section_context
from console.views.tenants import list_own_tenants

KINDS = {
    "webhook": gettext_lazy("Webhook (Alertmanager's payload)"),
    "slack": gettext_lazy("Slack"),
    "mail": gettext_lazy("Mail"),
    "dingtalk": gettext_lazy("DingTalk"),
    "feishu": gettext_lazy("Feishu"),
    "wecom": gettext_lazy("WeCom"),
}
# What the settings of a kind hold besides the language.
SETTINGS: Mapping[str, frozenset[str]] = {
    "webhook": frozenset({"url", "secret"}),
    "slack": frozenset({"url"}),
    "mail": frozenset({"to"}),
    "dingtalk": frozenset({"url", "secret"}),
    "feishu": frozenset({"url", "secret"}),
    "wecom": frozenset({"url"}),
}
LANGUAGES = {"en": "English", "zh": "中文"}
# As many channels as the filter of deliveries offers.
MAX_CHANNELS = 200
DELIVERY_STATES = {
    "pending": (gettext_lazy("pending"), "busy"),
    "delivered": (gettext_lazy("delivered"), "good"),
    "failed": (gettext_lazy("failed"), "bad"),
}


@require_GET
@require_sign_in
def index(request: HttpRequest) -> HttpResponse:
    """The channels that the person may use."""
    number = forms.query_number(request, "page", least=1)
    query = {"page": number, "pageSize": SIZE}
    data = call(request, "GET", "alerts/channels", query=query).data
    tenants = list_own_tenants(request)
    context = {
        **section_context(request, "channels"),
        "channels": [_channel_context(request, channel, tenants) for channel in data["items"]],
        **page_links({}, number, data["total"]),
    }
    return render_page(request, "console/alert_channels.html", context)


def _channel_context(
    request: HttpRequest,
    channel: Mapping[str, Any],
    tenants: list[dict[str, Any]],
) -> dict[str, Any]:
    tenant = next((row for row in tenants if row["id"] == channel["tenant_id"]), None)
    config = channel["config"]
    return {
        **channel,
        "kind_word": KINDS.get(channel["kind"], channel["kind"]),
        "address": config.get("url") or ", ".join(config.get("to") or []),
        "tenant": tenant["name"] if tenant else "",
        "changeable": _may_change(request, channel, tenant),
    }


def _may_change(
    request: HttpRequest,
    channel: Mapping[str, Any],
    tenant: Mapping[str, Any] | None,
) -> bool:
    """Whether to offer the person changes of a channel."""
    if not permissions.writes_somewhere(request):
        return False
    if channel["owner"] == request.user.get_username():
        return True
    if channel["tenant_id"] is None:
        return permissions.administers_everything(request)
    return tenant is not None and bool(tenant["writable"])


@require_http_methods(["GET", "POST"])
@require_sign_in
def create(request: HttpRequest) -> HttpResponse:
    """The form of a new channel; the signing key of a webhook is shown once."""
    values = {
        "kind": "webhook",
        "enabled": "1",
        "language": "en",
    }

    def act() -> HttpResponse:
        body = _read_body(request)
        if tenant := forms.form_number(request, "tenant_id"):
            body["tenant_id"] = tenant
        channel = call(request, "POST", "alerts/channels", body=body).data
        if channel.get("secret"):
            return render_page(request, "console/alert_channel_made.html", {"channel": channel})
        notice = _("Channel {name} was created.").format(name=channel["name"])
        return redirect(request, "/alerts/channels", notice)

    context = {
        **_form_context(request, values),
        "tenants": list_own_tenants(request, writable=True),
    }
    return forms.render_form(request, "console/alert_channel_form.html", context, act)


@require_http_methods(["GET", "POST"])
@require_sign_in
def change(request: HttpRequest, pk: int) -> HttpResponse:
    """The form of a channel that there is; secrets are not in it."""
    channel = call(request, "GET", f"alerts/channels/{pk}").data
    config = channel["config"]
    values = {
        "name": channel["name"],
        "kind": channel["kind"],
        "url": config.get("url", ""),
        "to": ", ".join(config.get("to") or []),
        "language": config.get("language", "en"),
        "enabled": "1" if channel["enabled"] else "",
    }

    def act() -> HttpResponse:
        call(request, "PUT", f"alerts/channels/{pk}", body=_read_body(request))
        return redirect(request, "/alerts/channels", _("Saved."))

    context = {**_form_context(request, values), "channel": channel}
    return forms.render_form(request, "console/alert_channel_form.html", context, act)


def _form_context(request: HttpRequest, values: Mapping[str, str]) -> dict[str, Any]:
    return {
        **section_context(request, "channels"),
        "values": values,
        "kinds": KINDS.items(),
        "languages_of_texts": LANGUAGES.items(),
    }


def _read_body(request: HttpRequest) -> dict[str, Any]:
    kind = request.POST.get("kind", "")
    config: dict[str, Any] = {"language": request.POST.get("language", "en")}
    for name in SETTINGS.get(kind, frozenset()):
        if name == "to":
            config["to"] = forms.form_lines(request, "to")
        elif text := forms.form_text(request, name):
            # What is left empty stays as it is.
            config[name] = text
    return {
        "name": forms.form_text(request, "name"),
        "kind": kind,
        "config": config,
        "enabled": "enabled" in request.POST,
    }


@require_POST
@require_sign_in
def send_test(request: HttpRequest, pk: int) -> HttpResponse:
    """Send a test notification now, and what the receiver said."""
    outcome = call(request, "POST", f"alerts/channels/{pk}/test").data
    return render_page(request, "console/parts/channel_test.html", {"outcome": outcome})


@require_http_methods(["GET", "POST"])
@require_sign_in
def delete(request: HttpRequest, pk: int) -> HttpResponse:
    """Delete a channel with its deliveries."""
    channel = call(request, "GET", f"alerts/channels/{pk}").data

    def act() -> HttpResponse:
        call(request, "DELETE", f"alerts/channels/{pk}")
        notice = _("Channel {name} was deleted.").format(name=channel["name"])
        return redirect(request, "/alerts/channels", notice)

    context = {"channel": channel}
    return forms.render_form(request, "console/alert_channel_delete.html", context, act)


@require_GET
@require_sign_in
def deliveries(request: HttpRequest) -> HttpResponse:
    """Notifications and their attempts, newest first."""
    chosen = {name: request.GET.get(name, "") for name in ("channel_id", "rule_id", "state")}
    number = forms.query_number(request, "page", least=1)
    query = {**chosen, "page": number, "pageSize": SIZE}
    data = call(request, "GET", "alerts/deliveries", query=query).data
    channels = call(request, "GET", "alerts/channels", query={"pageSize": MAX_CHANNELS}).data
    rows = []
    for delivery in data["items"]:
        word, severity = DELIVERY_STATES.get(delivery["state"], (delivery["state"], "idle"))
        rows.append({**delivery, "word": word, "severity": severity})
    context = {
        **section_context(request, "deliveries"),
        "deliveries": rows,
        "channels": channels["items"],
        "chosen": chosen,
        "filtered": any(chosen.values()),
        "states": [(value, word) for value, (word, _severity) in DELIVERY_STATES.items()],
        **page_links(chosen, number, data["total"]),
    }
    return render_page(request, "console/alert_deliveries.html", context)
