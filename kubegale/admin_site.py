"""Django's admin site in the console's frame, in the viewer's colours, language and time zone."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from console import navigation, page
from console.rendering import html


class ConsoleAdminSite(admin.AdminSite):
    """The admin site as a part of the console."""

    site_title = "KubeGale"
    site_header = "KubeGale"
    index_title = _("Django admin")
    site_url = "/"

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """What every page needs: the admin's own context and that of the console's frame."""
        context = super().each_context(request)
        # A popup stands for a single field of the page that opened it.
        is_popup = "_popup" in request.GET or "_popup" in request.POST
        frame = {} if is_popup else navigation.frame_context(request)
        return {**frame, **page.preferences(request), **context}

    def admin_view(
        self,
        view: Callable[..., Any],
        cacheable: bool = False,
    ) -> Any:
        """The guarded view; moments are shown, and read out of forms, in the viewer's zone."""
        guarded = super().admin_view(view, cacheable)

        @wraps(view)
        def in_zone(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            with timezone.override(html.zone_of(request)):
                response: HttpResponseBase = guarded(request, *args, **kwargs)
                # Pages are rendered late, when the zone would be the server's again.
                if hasattr(response, "render"):
                    response.render()
            return response

        return in_zone
