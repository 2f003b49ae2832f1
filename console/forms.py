"""Forms that are sent to the API: a refusal is shown above the form, which keeps its values."""

from collections.abc import Callable, Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _

from console.api_client import ApiRefusal, ApiResult, call
from console.page import render_page
from console.rendering import hints
from core.api.parsing import WHOLE_NUMBER

# The API's code for what has to be confirmed first.
CONFIRMATION_REQUIRED = 1010


def render_form(
    request: HttpRequest,
    template: str,
    context: Mapping[str, Any],
    act: Callable[[], HttpResponse],
) -> HttpResponse:
    """The form for GET; for POST what `act` answers, or the form again with the refusal."""
    if request.method != "POST":
        return render_page(request, template, context)
    try:
        return act()
    except ApiRefusal as refusal:
        context_with_values = {
            **context,
            "refusal": refusal,
            "hint": hints.for_code(refusal.code, refusal.details),
            "values": request.POST,
        }
        # What became protected while the form was open has to be confirmed after all.
        if refusal.code == CONFIRMATION_REQUIRED:
            context_with_values["needs_name"] = True
        return render_page(request, template, context_with_values, status=refusal.status)


def form_text(request: HttpRequest, name: str) -> str:
    """What was entered, without blanks around it."""
    return request.POST.get(name, "").strip()


def form_lines(request: HttpRequest, name: str) -> list[str]:
    """The words of a field, separated by lines or commas, without empty ones."""
    return split_words(request.POST.get(name, ""))


def split_words(text: str) -> list[str]:
    """The words of a text, separated by lines or commas, without empty ones."""
    words = text.replace(",", "\n").splitlines()
    return [word.strip() for word in words if word.strip()]


def form_number(request: HttpRequest, name: str) -> int | None:
    """The whole number that was entered, None for nothing; ApiRefusal for anything else."""
    entered = form_text(request, name)
    if not entered:
        return None
    if not WHOLE_NUMBER.match(entered):
        raise ApiRefusal(
            1001,
            _("%(given)s is not a whole number.") % {"given": entered[:60]},
            {"field": name},
            400,
        )
    return int(entered)


def query_number(request: HttpRequest, name: str, *, least: int = 0) -> int:
    """A whole number of the address, the least one for anything else."""
    entered = request.GET.get(name, "")
    # 19 digits and more would not fit a bigint column.
    if entered.isascii() and entered.isdecimal() and len(entered) < 19:
        return max(int(entered), least)
    return least


def require_name(request: HttpRequest, name: str) -> None:
    """ApiRefusal unless the name of what is about to be changed was typed."""
    if request.POST.get("typed", "") != name:
        raise ApiRefusal(
            1001,
            _("Type %(name)s to confirm; nothing was changed.") % {"name": name},
            {"field": "typed"},
            400,
        )


def call_confirmed(
    request: HttpRequest,
    method: str,
    path: str,
    *,
    name: str,
    query: Any = None,
    body: Any = None,
) -> ApiResult:
    """Ask the API for what the person confirmed, by typing the name where the form asks for it.

    The API itself refuses what is protected and was not confirmed.
    """
    if "typed" not in request.POST:
        return call(request, method, path, query=query, body=body)
    require_name(request, name)
    try:
        return call(
            request,
            method,
            path,
            query=query,
            body=body,
            headers={"X-Confirm": name} if name.isascii() else {},
        )
    except ApiRefusal as refusal:
        # A name outside of ASCII fits no header: the API gives a token for the same purpose.
        token = refusal.details.get("confirm_token")
        if refusal.code != CONFIRMATION_REQUIRED or not token:
            raise
        return call(
            request,
            method,
            path,
            query=query,
            body=body,
            headers={"X-Confirm-Token": token},
        )
