"""Objects and what is done to them over JSON: CRUD of every kind, actions, pods, nodes, metrics."""

from workloads.api.actions import (
    ActionView,
    RevisionViewSet,
    WorkloadEvents,
    WorkloadPods,
)
from workloads.api.bulk import BulkView
from workloads.api.events import EventViewSet
from workloads.api.metrics import (
    ClusterCost,
    ClusterMetrics,
    NodeMetrics,
    PodMetrics,
    RawNodeMetrics,
    RawPodMetrics,
    ResourceUse,
    Statistics,
)
from workloads.api.namespaces import NamespaceContents, NamespaceNames
from workloads.api.nodes import NodeDrain, NodeSchedule
from workloads.api.objects import (
    AnyObjectViewSet,
    ObjectView,
    ObjectViewSet,
)
from workloads.api.pods import PodEvents, PodLogs, PodRestart
from workloads.api.request_target import RequestTarget

__all__ = [
    "ActionView",
    "AnyObjectViewSet",
    "BulkView",
    "ClusterCost",
    "ClusterMetrics",
    "EventViewSet",
    "NamespaceContents",
    "NamespaceNames",
    "NodeDrain",
    "NodeMetrics",
    "NodeSchedule",
    "ObjectView",
    "ObjectViewSet",
    "PodEvents",
    "PodLogs",
    "PodMetrics",
    "PodRestart",
    "RawNodeMetrics",
    "RawPodMetrics",
    "RequestTarget",
    "ResourceUse",
    "RevisionViewSet",
    "Statistics",
    "WorkloadEvents",
    "WorkloadPods",
]
