"""Objects and what is done to them over JSON: CRUD of every kind, actions, pods, nodes, metrics."""

from workloads.api.objects import (
    AnyObjectViewSet,
    EventViewSet,
    NamespaceContents,
    NamespaceNames,
    ObjectView,
    ObjectViewSet,
    Target,
)

__all__ = [
    "AnyObjectViewSet",
    "EventViewSet",
    "NamespaceContents",
    "NamespaceNames",
    "ObjectView",
    "ObjectViewSet",
    "Target",
]
