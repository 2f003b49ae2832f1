"""Every address: the dialects' prefixes, health, schema, admin and the console."""

from django.conf import settings
from django.contrib import admin
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.templatetags.static import static
from django.urls import include, path
from django.utils.translation import gettext as _
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularSwaggerView

from agents import api as agents
from console import page
from console.messages import translate_message
from console.views import sessions
from core import errors
from core.api.bodies import FrontRefusal
from core.api.dialect import Dialect
from core.api.openapi import SchemaView
from core.api.rendering import dumps
from core.api.routes import table
from dialects import (
    bcs_storage,
    k8s_service,
    kubegale,
    vkube,
    walm,
)
from kubegale import health
from kubegale.admin_words import translate_names

# Whose error shape addresses under a prefix get when no view was reached.
DIALECTS: dict[str, Dialect] = {
    "/bcsapi/": bcs_storage.DIALECT,
    "/bcsstorage/": bcs_storage.DIALECT,
    "/k8s/": vkube.DIALECT,
    "/api/v1/k8s/": vkube.DIALECT,
    "/v1/k8sservice": k8s_service.DIALECT,
    **dict.fromkeys(walm.PREFIXES, walm.DIALECT),
    "/api/": kubegale.DIALECT,
    "/mcp": agents.DIALECT,
}

# Here, as the settings leave it out: only who serves addresses needs the admin site's pages.
admin.autodiscover()
translate_names()


def favicon(request: HttpRequest) -> HttpResponseRedirect:
    """The console's icon, at the address that browsers ask for by themselves."""
    return HttpResponseRedirect(static("console/icon.svg"))


urlpatterns = [
    # Asked most often, so first.
    table("api/v1/kubernetes/", kubegale.urlpatterns),
    table("bcsapi/v4/storage/", bcs_storage.urlpatterns),
    table("bcsstorage/v1/", bcs_storage.urlpatterns),
    # Browsers ask for it on pages that name no icon, as those of the documents.
    path("favicon.ico", favicon, name="favicon"),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", health.metrics, name="metrics"),
    path("api/schema", SchemaView.as_view(), name="schema"),
    path(
        "api/docs",
        # What answers OPTIONS by itself has no words for a template.
        SpectacularSwaggerView.as_view(url_name="schema", metadata_class=None),
        name="docs",
    ),
    path("api/v1/auth/", include(kubegale.auth_urlpatterns)),
    path(
        "api/v1/k8s/",
        include((vkube.urlpatterns, "vkube"), namespace="vkube"),
    ),
    path(
        "k8s/",
        include((vkube.urlpatterns, "vkube"), namespace="vkube-short"),
    ),
    table("v1/k8sservice/", k8s_service.urlpatterns),
    path("", include(walm.urlpatterns)),
    path("mcp", agents.AgentDoor.as_view(dialect=agents.DIALECT), name="mcp"),
    # The console's pages for signing in and out and for passwords serve the admin site, too.
    path("admin/login/", sessions.enter_admin),
    path("admin/logout/", sessions.sign_out),
    path(
        "admin/password_change/",
        RedirectView.as_view(url="/password"),
    ),
    path("admin/", admin.site.urls),
]
if settings.OIDC_ENABLED:
    urlpatterns.append(path("oidc/", include("mozilla_django_oidc.urls")))
urlpatterns.append(path("", include("console.urls")))


def _refuse(
    request: HttpRequest,
    error: errors.DomainError,
    plain_status: int,
) -> HttpResponse:
    """The error in its dialect's shape, else as plain text with `plain_status`."""
    for prefix, dialect in DIALECTS.items():
        if request.path.startswith(prefix):
            status, body = dialect.error(error, request.method or "GET")
            return HttpResponse(
                dumps(body),
                status=status,
                content_type=dialect.content_type,
            )
    if _is_browser(request):
        return page.render_failure(request, plain_status, _sentence(plain_status, error))
    return HttpResponse(
        f"{error.message}\n",
        status=plain_status,
        content_type="text/plain; charset=utf-8",
    )


def _is_browser(request: HttpRequest) -> bool:
    """Whether a person looks at the answer, not a program."""
    return "text/html" in request.headers.get("Accept", "")


def _sentence(status: int, error: errors.DomainError) -> str:
    """What the page says, in the viewer's language."""
    match status:
        case 400:
            return _("The request cannot be read.")
        case 403:
            return _("You may not open this page.")
        case 404:
            return _("There is no page at this address.")
        case 413:
            return _("What was sent is too large.")
        case 500:
            return _("KubeGale itself failed.")
    return translate_message(error.message)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """A request that Django, or the front, refuses before any view is reached."""
    if isinstance(exception, FrontRefusal):
        response = _refuse(
            request,
            errors.Invalid(str(exception)),
            exception.status,
        )
        response.status_code = exception.status
        return response
    if isinstance(exception, RequestDataTooBig):
        return _refuse(
            request,
            errors.PayloadTooLarge("the body is too large"),
            413,
        )
    return _refuse(request, errors.Invalid("bad request"), 400)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Refused before any view is reached."""
    return _refuse(request, errors.Forbidden("permission denied"), 403)


def route_missing(request: HttpRequest, exception: Exception) -> HttpResponse:
    """An address under no dialect's catch-all: people get a page, programs a sentence."""
    # Below an address of an API (`/healthz/x`) nobody has looked who the visitor is: such a page
    # has no frame.
    has_visitor = hasattr(request, "user")
    if _is_browser(request) and has_visitor and not request.path.startswith(tuple(DIALECTS)):
        return page.render_not_found(request)
    error = errors.RouteNotFound(f"no such route: {request.method} {request.path}")
    return _refuse(request, error, 404)


def server_error(request: HttpRequest) -> HttpResponse:
    """A fault outside every view."""
    return _refuse(request, errors.Internal("internal server error"), 500)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form whose token is missing or of another session."""
    if _is_browser(request):
        sentence = _("The form is out of date. Go back, load the page again and send it once more.")
        return page.render_failure(request, 403, sentence)
    return _refuse(request, errors.Forbidden("CSRF verification failed"), 403)


handler400 = "kubegale.urls.bad_request"
handler403 = "kubegale.urls.permission_denied"
handler404 = "kubegale.urls.route_missing"
handler500 = "kubegale.urls.server_error"
