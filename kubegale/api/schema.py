"""drf-spectacular's hook: answers described inside the dialect's envelope."""

from drf_spectacular.openapi import AutoSchema


class DialectSchema(AutoSchema):
    """Describes each route's real request and response."""
