"""Pods behind a label selector, the service in front of them, and how many of them there should be."""

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

SELECTOR_SYNTAX = frozenset("=!,( ")


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Pods in the API server's order, and the service in front of them when there is one."""

    pods: list[Object]
    service: Object | None


def behind(cluster: Cluster, namespace: str, selector: str) -> Endpoints:
    """What a selector finds; a bare word that finds nothing is tried as a Deployment's name."""
    client = registry.client(cluster)
    found = _select(client, namespace, selector)
    if not found.pods and found.service is None and not SELECTOR_SYNTAX & set(selector):
        own = _deployment_selector(client, namespace, selector)
        return _select(client, namespace, own) if own else found
    return found


def _select(client: ClusterClient, namespace: str, selector: str) -> Endpoints:
    pods = list_all(client, KINDS["pods"], namespace, labelSelector=selector)
    labelled = next(
        iter(list_all(client, KINDS["services"], namespace, labelSelector=selector)), None
    )
    return Endpoints(pods, labelled or _selecting(client, namespace, pods))


def _selecting(client: ClusterClient, namespace: str, pods: list[Object]) -> Object | None:
    """The service, first by name, whose selector matches one of the pods."""
    labels = [pod["metadata"].get("labels") or {} for pod in pods]
    if not labels:
        return None
    services = list_all(client, KINDS["services"], namespace)
    fitting = [
        service
        for service in services
        if _selects((service.get("spec") or {}).get("selector") or {}, labels)
    ]
    return min(fitting, key=lambda service: str(service["metadata"]["name"]), default=None)


def _selects(selector: Mapping[str, str], labels: list[Mapping[str, str]]) -> bool:
    return bool(selector) and any(selector.items() <= one.items() for one in labels)


def _deployment_selector(client: ClusterClient, namespace: str, name: str) -> str:
    """The label selector of a Deployment as text; empty when there is no such Deployment."""
    try:
        deployment = orjson.loads(client.get(KINDS["deployments"], name, namespace=namespace))
    except NotFound:
        return ""
    return selector_text((deployment.get("spec") or {}).get("selector") or {})


def selector_text(selector: Mapping[str, object]) -> str:
    """A LabelSelector (matchLabels and matchExpressions) in the syntax of the labelSelector parameter."""
    labels, expressions = selector.get("matchLabels") or {}, selector.get("matchExpressions") or []
    parts = [f"{key}={value}" for key, value in labels.items()] if isinstance(labels, dict) else []
    parts += (
        [_requirement(expression) for expression in expressions]
        if isinstance(expressions, list)
        else []
    )
    return ",".join(parts)


def _requirement(expression: Mapping[str, object]) -> str:
    key, operator, values = (
        expression.get("key"),
        expression.get("operator"),
        expression.get("values"),
    )
    listed = ",".join(str(value) for value in values) if isinstance(values, list) else ""
    match operator:
        case "Exists":
            return f"{key}"
        case "DoesNotExist":
            return f"!{key}"
        case "NotIn":
            return f"{key} notin ({listed})"
    return f"{key} in ({listed})"


def set_replicas(cluster: Cluster, namespace: str, name: str, replicas: int) -> int | None:
    """Patch a Deployment's number of replicas; what the API server then has, None when its answer has none."""
    body = orjson.dumps({"spec": {"replicas": replicas}})
    made = orjson.loads(
        registry.client(cluster).patch(
            KINDS["deployments"], name, body, patch="merge", namespace=namespace
        )
    )
    found = (made.get("spec") or {}).get("replicas")
    return found if isinstance(found, int) else None
