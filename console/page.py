"""What every page shares: sign-in, the frame around it, its headers, the page of a refusal."""

import logging
import secrets
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar, cast
from urllib.parse import urlencode, urlsplit

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.translation import gettext as _

from clusters.kinds import KINDS
from console import kind_names, navigation
from console.api_client import FORBIDDEN, ApiRefusal
from console.locations import Location, locate
from console.rendering import form_errors, hints
from core.api.client_ip import socket_base

log = logging.getLogger(__name__)
P = ParamSpec("P")
R = TypeVar("R", bound=HttpResponseBase)
THEMES = ("light", "dark")
# What hints to give on pages about errors outside every view, by status.
FAILURE_CODES = {403: FORBIDDEN, 404: 404, 500: 5001}
FAILURE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
# What may stand in the dock at the foot of other pages.
DOCKED_VIEWS = ("console-logs", "console-terminal")


def require_sign_in(
    view: Callable[Concatenate[HttpRequest, P], HttpResponseBase],
) -> Callable[Concatenate[HttpRequest, P], HttpResponseBase]:
    """Decorate a view for people who are signed in; others are sent to sign in and come back.

    What the API refuses becomes a page that says so.
    """

    @wraps(view)
    def guarded(
        request: HttpRequest,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return _redirect_to_sign_in(request)
        try:
            return view(request, *args, **kwargs)
        except ApiRefusal as refusal:
            return _redirect_to_kind(request, refusal) or render_refusal(request, refusal)
        # Django turns these into the right status itself.
        except (Http404, PermissionDenied, SuspiciousOperation):
            raise
        except Exception:
            # The visitor sees no trace; the log has it under the request id.
            log.exception("a page failed", extra={"path": request.path, "method": request.method})
            return render_refusal(request, ApiRefusal(5001, _("KubeGale itself failed."), {}, 500))

    return cast("Callable[Concatenate[HttpRequest, P], HttpResponseBase]", guarded)


def object_view(
    view: Callable[[HttpRequest, Location], R],
) -> Callable[[HttpRequest, int, str, str, str], R]:
    """Decorate a view of one object: it gets the location that the four parts of its address name.

    Stands below `require_sign_in`, as an address that names no kind is refused as a page.
    """

    @wraps(view)
    def located(
        request: HttpRequest,
        cluster: int,
        plural: str,
        namespace: str,
        name: str,
    ) -> R:
        return view(request, locate(cluster, plural, namespace, name))

    return located


def _redirect_to_kind(
    request: HttpRequest,
    refusal: ApiRefusal,
) -> HttpResponse | None:
    """A redirect to the address with the kind's canonical name; None when there is none.

    A name of kinds in several groups gets the refusal that lists them.
    """
    match = request.resolver_match
    names = match.kwargs if match else {}
    text = str(names.get("plural", ""))
    # Only a GET can be redirected without losing its body.
    if refusal.status != 404 or request.method != "GET" or not text or text in KINDS:
        return None
    # A table over all clusters has no cluster whose kinds could be asked.
    if "cluster" not in names:
        return None
    try:
        plural = kind_names.canonical_name(request, names["cluster"], text)
    except ApiRefusal as unclear:
        return render_refusal(request, unclear) if unclear.code == 1001 else None
    if plural in ("", text):
        return None
    address = reverse(str(match.view_name), kwargs={**names, "plural": plural}) if match else ""
    query = request.META.get("QUERY_STRING", "")
    return HttpResponseRedirect(address + (f"?{query}" if query else ""))


def _redirect_to_sign_in(request: HttpRequest) -> HttpResponse:
    current_page = request.get_full_path()
    if request.method != "GET" or is_fragment(request):
        # Its address cannot be opened: the person returns to the page around it.
        current_page = _page_of_fragment(request)
    address = "/signin?" + urlencode({"next": current_page})
    if is_fragment(request):
        return HttpResponse(status=401, headers={"HX-Redirect": address})
    return HttpResponseRedirect(address)


def _page_of_fragment(request: HttpRequest) -> str:
    """The page that requested a fragment."""
    parts = urlsplit(request.headers.get("HX-Current-URL") or request.headers.get("Referer") or "/")
    return parts.path + (f"?{parts.query}" if parts.query else "")


def is_fragment(request: HttpRequest) -> bool:
    """Whether htmx requests a part of a page; it restores its history from whole ones."""
    return (
        request.headers.get("HX-Request") == "true"
        and "HX-History-Restore-Request" not in request.headers
    )


def render_page(
    request: HttpRequest,
    template: str,
    context: Mapping[str, Any] | None = None,
    *,
    status: int = 200,
) -> HttpResponse:
    """Render a template in the console's frame, or bare for htmx.

    `cluster_id` in the context chooses the cluster that the frame shows. Templates begin with
    `{% extends layout %}` and fill the blocks title, content and head (scripts and styles).
    """
    bare = is_fragment(request)
    context = dict(context or {})
    frame = {} if bare else navigation.frame_context(request, context.get("cluster_id"))
    # New for each answer: a nonce that repeats protects nothing.
    nonce = secrets.token_urlsafe(16)
    values = {
        "layout": "console/fragment.html" if bare else "console/base.html",
        "nonce": nonce,
        **preferences(request),
        **frame,
        "docked": is_docked(request),
        **context,
    }
    content: str = render_to_string(template, values, request)
    refusal = values.get("refusal")
    if isinstance(refusal, ApiRefusal) and request.method == "POST":
        content = form_errors.mark_fields(content, request, refusal)
    response = HttpResponse(content, status=status)
    with_security_headers(request, response, nonce)
    # The overview and pages without a cluster keep the last choice.
    if frame.get("chosen_cluster") and context.get("cluster_id"):
        response.set_cookie(
            navigation.LAST_CLUSTER_COOKIE,
            str(context["cluster_id"]),
            samesite="Lax",
            secure=settings.SECURE_COOKIES,
            httponly=True,
        )
    return response


def name_fields(
    request: HttpRequest,
    template: str,
    context: Mapping[str, Any],
    refusal: ApiRefusal,
) -> str:
    """For an answer that goes beside a form: have a refusal speak of the fields of its template.

    The name of the first control that is wrong, "" for none.
    """
    values = {"layout": "console/fragment.html", **context}
    return form_errors.name_fields(render_to_string(template, values, request), request, refusal)


def preferences(request: HttpRequest) -> dict[str, Any]:
    """The viewer's theme out of their cookies ("" follows the system), and the languages."""
    theme = request.COOKIES.get("theme", "")
    # A cookie is the visitor's to edit, and this value stands in the page.
    return {"theme": theme if theme in THEMES else "", "languages": settings.LANGUAGES}


def with_security_headers(
    request: HttpRequest,
    response: HttpResponse,
    nonce: str = "",
) -> HttpResponse:
    """Set the console's headers: no inline script or style, no framing, no copy in caches."""
    style = f"'self' 'nonce-{nonce}'" if nonce else "'self'"
    # Pages of the dock stand in a frame of another page of the console, and in no other.
    ancestors = "'self'" if is_docked(request) else "'none'"
    if is_docked(request):
        response["X-Frame-Options"] = "SAMEORIGIN"
    response["Content-Security-Policy"] = (
        f"default-src 'none'; script-src 'self'; style-src {style}; "
        "img-src 'self' data:; font-src 'self'; "
        f"connect-src 'self' {_socket_origin(request)}; form-action 'self'; "
        f"frame-src 'self'; frame-ancestors {ancestors}; base-uri 'none'"
    )
    response["Cache-Control"] = "no-store"
    response["Vary"] = "Cookie, HX-Request"
    return response


def is_docked(request: HttpRequest) -> bool:
    """Whether the page is a log or a terminal in the dock of another page."""
    match = request.resolver_match
    view_name = match.view_name if match else ""
    return "dock" in request.GET and view_name in DOCKED_VIEWS


def _socket_origin(request: HttpRequest) -> str:
    """Scheme and host of the WebSockets for logs, terminals and progress."""
    parts = urlsplit(socket_base(request))
    return f"{parts.scheme}://{parts.netloc}"


def render_refusal(request: HttpRequest, refusal: ApiRefusal) -> HttpResponse:
    """A refusal of the API as a page; for a fragment as a notice above the page around it."""
    context = {
        "refusal": refusal,
        "hint": hints.for_code(refusal.code, refusal.details),
        "request_id": getattr(request, "id", ""),
        "copy_address": _copy_address(request) if refusal.status == 502 else "",
    }
    if not is_fragment(request):
        return render_page(request, "console/refused.html", context, status=refusal.status)
    content = render_to_string("console/parts/refused.html", context, request)
    response = HttpResponse(content, status=refusal.status)
    with_security_headers(request, response)
    # htmx puts the notice there, wherever the fragment would have gone.
    response["HX-Retarget"] = "#notices"
    response["HX-Reswap"] = "innerHTML"
    return response


def _copy_address(request: HttpRequest) -> str:
    """The page of the object that the address is about, which shows the store's copy; or empty."""
    match = request.resolver_match
    names = match.kwargs if match else {}
    parts = ("cluster", "plural", "namespace", "name")
    if not names.keys() >= set(parts):
        return ""
    address = locate(*(names[part] for part in parts)).address
    # That page itself was refused: the store has no copy.
    return "" if address == request.path else address


def allow_style_attributes(response: HttpResponse) -> HttpResponse:
    """Allow style attributes on a page; its scripts stay strict.

    Terminal and editor set style attributes by setAttribute, which no nonce covers.
    """
    response["Content-Security-Policy"] += "; style-src-attr 'unsafe-inline'"
    return response


def render_not_found(request: HttpRequest) -> HttpResponse:
    """The page for an address that does not exist."""
    return render_refusal(request, ApiRefusal(404, _("There is no page at this address."), {}, 404))


def render_failure(request: HttpRequest, status: int, message: str) -> HttpResponse:
    """A page about an error outside every view, without the frame: it asks no database.

    The request may be one that Django refuses, so that not even its host is read.
    """
    refusal = ApiRefusal(FAILURE_CODES.get(status, 1001), message, {}, status)
    context = {
        "layout": "console/base.html",
        **preferences(request),
        "refusal": refusal,
        "hint": hints.for_code(refusal.code, {}),
        "request_id": getattr(request, "id", ""),
    }
    # Without the request, as its session and its user stand in the database.
    content = render_to_string("console/refused.html", context)
    response = HttpResponse(content, status=status)
    response["Content-Security-Policy"] = FAILURE_POLICY
    response["Cache-Control"] = "no-store"
    return response


def redirect(
    request: HttpRequest,
    address: str,
    notice: str = "",
) -> HttpResponse:
    """Send the person to another page of the console, with a notice there."""
    if notice:
        messages.success(request, notice)
    if is_fragment(request):
        return HttpResponse(status=204, headers={"HX-Redirect": address})
    return HttpResponseRedirect(address)
