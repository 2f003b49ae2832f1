"""The project's addresses, and one that fails outside of all that our own views answer for."""

from django.http import HttpRequest, HttpResponse
from django.urls import path

from kubegale.urls import handler404, handler500, urlpatterns


def fail(request: HttpRequest) -> HttpResponse:
    """A fault of ours."""
    raise LookupError("the cupboard is bare")


urlpatterns = [path("admin/faulty", fail), *urlpatterns]

__all__ = ["handler404", "handler500", "urlpatterns"]
