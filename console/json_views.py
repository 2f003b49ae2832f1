"""JSON for the scripts of pages: the same rights and refusals as a page's, without its frame."""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Concatenate, ParamSpec, cast

import orjson
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _

from console.api_client import ApiRefusal
from console.rendering import hints
from core.errors import Invalid
from core.jsontext import Unrepresentable, loads

P = ParamSpec("P")
MAX_BYTES = 4 * 1024 * 1024


def json_response(data: object, status: int = 200) -> HttpResponse:
    """Any data as JSON that no cache may keep."""
    return HttpResponse(
        orjson.dumps(data),
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


def json_view(
    view: Callable[Concatenate[HttpRequest, P], HttpResponse],
) -> Callable[Concatenate[HttpRequest, P], HttpResponse]:
    """Decorate a view that answers a page's script.

    What the API refuses becomes {"message", "hint", "code", "details"} with a fitting status;
    401 without a session.
    """

    @wraps(view)
    def guarded(
        request: HttpRequest,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> HttpResponse:
        if not request.user.is_authenticated:
            return json_response(
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
        except ApiRefusal as refusal:
            return refusal_response(refusal)

    return cast("Callable[Concatenate[HttpRequest, P], HttpResponse]", guarded)


def refusal_response(refusal: ApiRefusal) -> HttpResponse:
    """What the API refused, and what to do next."""
    hint = hints.for_code(refusal.code, refusal.details)
    body = {
        "message": refusal.message,
        "hint": hint,
        "code": refusal.code,
        "details": refusal.details,
    }
    return json_response(body, refusal.status)


def json_body(request: HttpRequest) -> Mapping[str, Any]:
    """The JSON object that a script sent; raises ApiRefusal (400) for anything else."""
    try:
        # Django itself allows MAX_BODY_BYTES, which is more than an editor sends.
        document = loads(request.body) if len(request.body) <= MAX_BYTES else None
    except Unrepresentable as error:
        raise ApiRefusal(1001, error.message, {}, 400) from None
    except Invalid:
        document = None
    if not isinstance(document, dict):
        raise ApiRefusal(1001, _("The request was not understood."), {}, 400)
    return document
