"""Pods behind a label selector and the Service in front of them; a Deployment's replicas."""

from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from clusters import registry
from clusters.client import ClusterClient
from clusters.kinds import KINDS
from clusters.lists import list_all
from clusters.manifests import Object
from clusters.models import Cluster
from core.errors import NotFound

# Characters of the label selector syntax; a word without any of them may be a Deployment's name.
SELECTOR_SYNTAX = frozenset("=!,( ")


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Pods in the API server's order, and the Service in front of them when there is one."""

    pods: list[Object]
    service: Object | None


def find_endpoints(cluster: Cluster, namespace: str, selector: str) -> Endpoints:
    """What a label selector matches.

    A bare word that matches nothing is tried as a Deployment's name.
    """
    client = registry.client(cluster)
    endpoints = _select(client, namespace, selector)
    if endpoints.pods or endpoints.service is not None:
        return endpoints
    if SELECTOR_SYNTAX & set(selector):
        return endpoints
    deployment_selector = _deployment_selector(client, namespace, selector)
    if not deployment_selector:
        return endpoints
    return _select(client, namespace, deployment_selector)


def _select(client: ClusterClient, namespace: str, selector: str) -> Endpoints:
    pods = list_all(client, KINDS["pods"], namespace, labelSelector=selector)
    services = list_all(client, KINDS["services"], namespace, labelSelector=selector)
    # A Service that carries the labels itself is preferred to one that selects the pods.
    service = next(iter(services), None) or _service_of_pods(client, namespace, pods)
    return Endpoints(pods, service)


def _service_of_pods(client: ClusterClient, namespace: str, pods: list[Object]) -> Object | None:
    """The Service, first by name, whose selector matches one of the pods."""
    pod_labels = [pod["metadata"].get("labels") or {} for pod in pods]
    if not pod_labels:
        return None
    services = list_all(client, KINDS["services"], namespace)
    matching = []
    for service in services:
        selector = (service.get("spec") or {}).get("selector") or {}
        if _selects_any(selector, pod_labels):
            matching.append(service)
    return min(
        matching,
        key=lambda service: str(service["metadata"]["name"]),
        default=None,
    )


def _selects_any(selector: Mapping[str, str], pod_labels: list[Mapping[str, str]]) -> bool:
    # A Service without a selector selects no pods, although {} is a part of every label set.
    return bool(selector) and any(selector.items() <= labels.items() for labels in pod_labels)


def _deployment_selector(client: ClusterClient, namespace: str, name: str) -> str:
    """The label selector of a Deployment as text; "" when there is no such Deployment."""
    try:
        deployment = orjson.loads(client.get(KINDS["deployments"], name, namespace=namespace))
    except NotFound:
        return ""
    return selector_text((deployment.get("spec") or {}).get("selector") or {})


def selector_text(selector: Mapping[str, object]) -> str:
    """A LabelSelector (matchLabels, matchExpressions) in the syntax of the labelSelector query."""
    labels = selector.get("matchLabels") or {}
    expressions = selector.get("matchExpressions") or []
    parts = []
    if isinstance(labels, dict):
        parts += [f"{key}={value}" for key, value in labels.items()]
    if isinstance(expressions, list):
        parts += [_requirement(expression) for expression in expressions]
    return ",".join(parts)


def _requirement(expression: Mapping[str, object]) -> str:
    key = expression.get("key")
    values = expression.get("values")
    value_list = ",".join(str(value) for value in values) if isinstance(values, list) else ""
    match expression.get("operator"):
        case "Exists":
            return f"{key}"
        case "DoesNotExist":
            return f"!{key}"
        case "NotIn":
            return f"{key} notin ({value_list})"
    return f"{key} in ({value_list})"


def set_replicas(cluster: Cluster, namespace: str, name: str, replicas: int) -> int | None:
    """Set a Deployment's replicas; the number in the API server's answer, None when it has none."""
    body = orjson.dumps({"spec": {"replicas": replicas}})
    deployment = orjson.loads(
        registry.client(cluster).patch(
            KINDS["deployments"],
            name,
            body,
            patch="merge",
            namespace=namespace,
        )
    )
    current = (deployment.get("spec") or {}).get("replicas")
    return current if isinstance(current, int) else None
