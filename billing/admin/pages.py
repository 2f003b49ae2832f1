"""The page that shows a secret once."""

from collections.abc import Iterable

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse

Rows = Iterable[tuple[object, str]]


def secret_page(
    request: HttpRequest,
    *,
    title: str,
    subject: str,
    what: str,
    rows: Rows,
    model: type[Model],
) -> HttpResponse:
    """A page that is shown once: no cookie has its content and no cache may store it."""
    context = {
        **admin.site.each_context(request),
        "title": title,
        "subject": subject,
        "what": what,
        "explanation": (
            "Copy this now: only a hash or a cipher is kept, and it is never shown again."
        ),
        "rows": list(rows),
        "back": reverse(f"admin:billing_{model._meta.model_name}_changelist"),
    }
    return TemplateResponse(
        request, "admin/billing/shown_once.html", context, headers={"Cache-Control": "no-store"}
    )
