"""The Django app, for its commands: it has no models."""

from django.apps import AppConfig


class GatewayConfig(AppConfig):
    """Kubernetes' own API of every cluster."""

    name = "gateway"
