"""Objects and what is done to them over JSON: CRUD of every kind, actions, pods, nodes, metrics."""

from workloads.api.actions import ActionView, RevisionViewSet, WorkloadEvents, WorkloadPods
from workloads.api.nodes import NodeDrain, NodeSchedule
from workloads.api.objects import (
    AnyObjectViewSet,
    EventViewSet,
    NamespaceContents,
    NamespaceNames,
    ObjectView,
    ObjectViewSet,
    Target,
)
from workloads.api.pods import PodEvents, PodLogs, PodRestart

__all__ = [
    "ActionView",
    "AnyObjectViewSet",
    "EventViewSet",
    "NamespaceContents",
    "NamespaceNames",
    "NodeDrain",
    "NodeSchedule",
    "ObjectView",
    "ObjectViewSet",
    "PodEvents",
    "PodLogs",
    "PodRestart",
    "RevisionViewSet",
    "Target",
    "WorkloadEvents",
    "WorkloadPods",
]
