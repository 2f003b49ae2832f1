"""The middleware of pages that OpenID Connect adds; apart, as its library is large."""

from mozilla_django_oidc import middleware as oidc

from kubegale.page_middleware import OnlyPages


class SessionRefresh(OnlyPages, oidc.SessionRefresh):  # type: ignore[misc]  # it has no types
    """A session ends soon after the provider has ended it."""
