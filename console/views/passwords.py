"""A new password for oneself."""

from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from console import forms
from console.api_client import ApiRefusal, call
from console.page import redirect, require_sign_in


@sensitive_post_parameters("password", "new_password", "again")
@require_http_methods(["GET", "POST"])
@require_sign_in
def change_password(request: HttpRequest) -> HttpResponse:
    """The old password once, the new one twice; every session of before ends, this one too."""
    return forms.render_form(request, "console/password.html", {}, lambda: _set_password(request))


def _set_password(request: HttpRequest) -> HttpResponse:
    new = request.POST.get("new_password", "")
    if new != request.POST.get("again", ""):
        raise ApiRefusal(
            1001,
            _("The two new passwords differ; nothing was changed."),
            {"field": "again"},
            400,
        )
    call(
        request,
        "POST",
        "/api/v1/auth/password",
        body={"password": request.POST.get("password", ""), "new_password": new},
    )
    logout(request)
    return redirect(request, "/signin", _("The password is changed. Sign in with the new one."))
