"""The project's addresses as they are with OpenID Connect switched on."""

from django.urls import include, path

from kubegale.urls import handler404, handler500, urlpatterns

urlpatterns = [*urlpatterns, path("oidc/", include("mozilla_django_oidc.urls"))]

__all__ = ["handler404", "handler500", "urlpatterns"]
