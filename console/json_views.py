"""JSON for the scripts of pages: the same rights and refusals as a page's, without its frame."""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Concatenate, ParamSpec, cast

import orjson
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _

from console.api_client import Refused
from console.rendering import hints
from core.errors import Invalid
from core.jsontext import Unrepresentable, loads

P = ParamSpec("P")
MOST_BYTES = 4 * 1024 * 1024


def answered(data: object, status: int = 200) -> HttpResponse:
    """Any data as JSON, for nobody's cache."""
    return HttpResponse(
        orjson.dumps(data),
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


def for_scripts(
    view: Callable[Concatenate[HttpRequest, P], HttpResponse],
) -> Callable[Concatenate[HttpRequest, P], HttpResponse]:
    """A view that answers a page's script; what the API refuses becomes {"message", "hint", "code", "details"}, with a fitting status."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        if not request.user.is_authenticated:
            return answered(
                {
                    "message": _("You are signed out."),
                    "hint": _("Sign in again."),
                    "code": 2001,
                    "details": {},
                },
                401,
            )
        try:
            return view(request, *args, **kwargs)
        except Refused as refused:
            return refusal(refused)

    return cast("Callable[Concatenate[HttpRequest, P], HttpResponse]", guarded)


def refusal(refused: Refused) -> HttpResponse:
    """What the API said no to, and what to do next."""
    hint = hints.of(refused.code, refused.details)
    body = {
        "message": refused.message,
        "hint": hint,
        "code": refused.code,
        "details": refused.details,
    }
    return answered(body, refused.status)


def sent(request: HttpRequest) -> Mapping[str, Any]:
    """The JSON object that a script sent; Refused when it is none."""
    try:
        found = loads(request.body) if len(request.body) <= MOST_BYTES else None
    except Unrepresentable as error:
        raise Refused(1001, error.message, {}, 400) from None
    except Invalid:
        found = None
    if not isinstance(found, dict):
        raise Refused(1001, _("The request was not understood."), {}, 400)
    return found
