"""Silences: alerts that are not notified for a time."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from console import forms
from console.api_client import ApiRefusal, call
from console.filtered_lists import read_list
from console.page import redirect, render_page, require_sign_in
from console.views.alerts import list_contexts, section_context

STATES = {
    "active": (gettext_lazy("active"), "busy"),
    "pending": (gettext_lazy("pending"), "idle"),
    "expired": (gettext_lazy("expired"), "idle"),
}
# How long a silence may last without a time of its own, in hours.
DURATIONS = {
    "1": gettext_lazy("1 hour"),
    "2": gettext_lazy("2 hours"),
    "8": gettext_lazy("8 hours"),
    "24": gettext_lazy("1 day"),
    "168": gettext_lazy("1 week"),
}
# Labels by which the silence of one alert is narrowed to what it is about.
NARROWING = ("alertname", "cluster", "namespace", "kind", "name")
_MATCHER = re.compile(
    r"""\s*(?P<name>[^\s=!~"']+)\s*(?P<operator>=~|!~|!=|=)\s*(?P<value>.*?)\s*\Z""",
    re.DOTALL,
)
_OPERATORS = {
    "=": {"regex": False, "equal": True},
    "!=": {"regex": False, "equal": False},
    "=~": {"regex": True, "equal": True},
    "!~": {"regex": True, "equal": False},
}


def parse_matchers(text: str) -> list[dict[str, Any]]:
    """The matchers of a text, a line each, in Alertmanager's words: `namespace=~"shop-.*"`.

    Raises ApiRefusal for a line that is none.
    """
    matchers = []
    for line in text.splitlines():
        if not line.strip():
            continue
        match = _MATCHER.match(line)
        if match is None:
            message = _("{line} is no matcher; write one as {example}").format(
                line=line.strip()[:100],
                example='namespace="shop"',
            )
            raise ApiRefusal(1001, message, {"field": "matchers"}, 400)
        value = match["value"]
        # Quotes are Alertmanager's; a value without them is meant as it stands.
        if len(value) > 1 and value[0] == value[-1] == '"':
            value = value[1:-1].replace('\\"', '"').replace("\\\\", "\\")
        matchers.append({"name": match["name"], "value": value, **_OPERATORS[match["operator"]]})
    return matchers


def matcher_text(matcher: Mapping[str, Any]) -> str:
    """A matcher in Alertmanager's words."""
    flags = {"regex": matcher["regex"], "equal": matcher["equal"]}
    operator = next(name for name, meaning in _OPERATORS.items() if meaning == flags)
    value = str(matcher["value"]).replace("\\", "\\\\").replace('"', '\\"')
    return f'{matcher["name"]}{operator}"{value}"'


@require_GET
@require_sign_in
def index(request: HttpRequest) -> HttpResponse:
    """Silences, newest first: the person's own, and all for who sees every alert."""
    items, listing = read_list(request, "alerts/silences", ["state"])
    context = {
        **section_context(request, "silences"),
        "silences": [_silence_context(silence) for silence in items],
        "states": [(value, word) for value, (word, _severity) in STATES.items()],
        **listing,
    }
    return render_page(request, "console/silences.html", context)


def _silence_context(silence: Mapping[str, Any]) -> dict[str, Any]:
    word, severity = STATES.get(silence["state"], (silence["state"], "idle"))
    return {
        **silence,
        "word": word,
        "severity": severity,
        "texts": [matcher_text(matcher) for matcher in silence["matchers"]],
    }


@require_http_methods(["GET", "POST"])
@require_sign_in
def create(request: HttpRequest) -> HttpResponse:
    """The form of a silence, begun from an alert when the address names one."""
    context = {
        **section_context(request, "silences"),
        "values": {"matchers": _matchers_of_alert(request), "hours": "2"},
        "durations": DURATIONS.items(),
    }

    def act() -> HttpResponse:
        call(request, "POST", "alerts/silences", body=_read_body(request))
        return redirect(request, "/alerts/silences", _("The silence was created."))

    return forms.render_form(request, "console/silence_new.html", context, act)


def _matchers_of_alert(request: HttpRequest) -> str:
    """Matchers of the alert that the address names, a line each; "" without one."""
    number = forms.query_number(request, "alert")
    if not number:
        return ""
    labels = call(request, "GET", f"alerts/{number}").data["labels"]
    lines = [
        matcher_text({"name": name, "value": labels[name], "regex": False, "equal": True})
        for name in NARROWING
        if labels.get(name)
    ]
    return "\n".join(lines)


def _read_body(request: HttpRequest) -> dict[str, Any]:
    body: dict[str, Any] = {
        "matchers": parse_matchers(request.POST.get("matchers", "")),
        "comment": forms.form_text(request, "comment"),
    }
    starts_at = forms.form_text(request, "starts_at")
    ends_at = forms.form_text(request, "ends_at")
    if starts_at:
        body["starts_at"] = starts_at
    if not ends_at:
        hours = request.POST.get("hours", "")
        length = timedelta(hours=int(hours)) if hours in DURATIONS else timedelta(hours=2)
        ends_at = (_begin(starts_at) + length).isoformat()
    return {**body, "ends_at": ends_at}


def _begin(text: str) -> datetime:
    """When a silence begins: what was entered, or now."""
    try:
        entered = datetime.fromisoformat(text)
    except ValueError:
        # Nothing was entered, or something that the API refuses by itself.
        return datetime.now(UTC)
    return entered if entered.tzinfo else entered.replace(tzinfo=UTC)


@require_POST
@require_sign_in
def preview(request: HttpRequest) -> HttpResponse:
    """Which alerts a silence of these matchers would keep quiet now, as a part of the form."""
    context: dict[str, Any] = {}
    try:
        matchers = parse_matchers(request.POST.get("matchers", ""))
        if matchers:
            data = call(
                request,
                "POST",
                "alerts/silences/preview",
                body={"matchers": matchers},
            ).data
            context = {
                "alerts": list_contexts(request, data["items"]),
                "total": data["total"],
            }
    except ApiRefusal as refusal:
        context = {"problem": refusal.message}
    return render_page(request, "console/parts/silence_preview.html", context)


@require_POST
@require_sign_in
def end(request: HttpRequest, pk: int) -> HttpResponse:
    """End a silence now."""
    call(request, "DELETE", f"alerts/silences/{pk}")
    return redirect(request, "/alerts/silences", _("The silence has ended."))
