"""Signing in and out of the console, and what a person prefers: theme, language, zone."""

from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.conf import settings
from django.contrib.auth import login, logout
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from access.sign_in import existing_username, verify_password
from console.page import THEMES, render_page
from core.api.audit import annotate, record, report
from core.api.auth import AccessAttributes
from core.api.client_ip import client_address
from core.errors import DomainError, TooManyRequests

BACKEND = "django.contrib.auth.backends.ModelBackend"
YEAR = 365 * 86400


def destination(request: HttpRequest) -> str:
    """Where `next` leads, as long as it stays on this host."""
    address = request.POST.get("next") or request.GET.get("next") or "/"
    safe = url_has_allowed_host_and_scheme(
        address,
        {request.get_host()},
        require_https=request.is_secure(),
    )
    return address if safe else "/"


@sensitive_post_parameters("password")
@require_http_methods(["GET", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    """The form, and what it sends."""
    if request.method == "GET" and request.user.is_authenticated:
        return HttpResponseRedirect(destination(request))
    problem = ""
    status = 200
    if request.method == "POST":
        try:
            return _start_session(request)
        except DomainError as error:
            problem = _sign_in_problem(error)
            status = 429 if isinstance(error, TooManyRequests) else 401
    context = {
        "next": destination(request),
        "problem": problem,
        "oidc": settings.OIDC_ENABLED,
        "username": request.POST.get("username", ""),
    }
    return render_page(request, "console/signin.html", context, status=status)


def _sign_in_problem(error: DomainError) -> str:
    if isinstance(error, TooManyRequests):
        return _("Too many failed sign-ins. Wait a minute, then try again.")
    return _("Wrong username or password.")


def _start_session(request: HttpRequest) -> HttpResponse:
    """A session for the right password; every attempt is in the audit trail."""
    name = request.POST.get("username", "")
    password = request.POST.get("password", "")
    record(request, AccessAttributes("login", "sessions"))
    account_name = existing_username(name)
    annotate(request, username=account_name, name=account_name)
    failed: DomainError | None = None
    try:
        user = verify_password(name, password, address=client_address(request))
    except DomainError as error:
        failed = error
        raise
    finally:
        # Failed attempts have an audit line too.
        report(request, "console", failed)
    login(request, user, backend=BACKEND)
    return HttpResponseRedirect(destination(request))


def enter_admin(request: HttpRequest) -> HttpResponse:
    """Send people from the admin site's login to the console's, which counts failed sign-ins.

    Raises PermissionDenied for people who are signed in and may not see the admin site: they
    would be redirected back and forth.
    """
    if request.user.is_authenticated and not request.user.is_staff:
        raise PermissionDenied
    address = request.GET.get("next") or "/admin/"
    return HttpResponseRedirect("/signin?" + urlencode({"next": address}))


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """End the session."""
    if request.user.is_authenticated:
        record(request, AccessAttributes("logout", "sessions", name=request.user.get_username()))
        report(request, "console", None)
    logout(request)
    return HttpResponseRedirect("/signin")


@require_POST
def set_preferences(request: HttpRequest) -> HttpResponse:
    """Keep a theme, a language or a time zone in a cookie and go back."""
    response = HttpResponseRedirect(destination(request))
    for name, allowed in {"theme": THEMES, "language": tuple(dict(settings.LANGUAGES))}.items():
        value = request.POST.get(name)
        if value in allowed:
            response.set_cookie(
                name,
                value,
                max_age=YEAR,
                samesite="Lax",
                secure=settings.SECURE_COOKIES,
            )
        elif value == "":
            # Back to what the browser prefers.
            response.delete_cookie(name)
    zone = request.POST.get("zone", "")
    if zone and _is_zone(zone):
        response.set_cookie(
            "zone",
            zone,
            max_age=YEAR,
            samesite="Lax",
            secure=settings.SECURE_COOKIES,
        )
    return response


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        return False
    return True
