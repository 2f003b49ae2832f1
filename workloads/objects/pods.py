"""One pod: its Events, and its deletion."""

import orjson

from clusters import registry
from clusters.kinds import KINDS
from clusters.lists import list_all
from clusters.manifests import Object
from clusters.models import Cluster

PODS = KINDS["pods"]


def list_pod_events(cluster: Cluster, namespace: str, pod: str) -> list[Object]:
    """The Events about this very pod, not about an earlier one of its name.

    NotFound when the pod does not exist.
    """
    client = registry.client(cluster)
    item = orjson.loads(client.get(PODS, pod, namespace=namespace))
    involved = {
        "name": pod,
        "namespace": namespace,
        "uid": item["metadata"].get("uid", ""),
    }
    selector = ",".join(f"involvedObject.{field}={value}" for field, value in involved.items())
    return list(list_all(client, KINDS["events"], namespace, fieldSelector=selector))


def delete_pod(cluster: Cluster, namespace: str, pod: str) -> None:
    """Delete a pod with Kubernetes' default options; NotFound when there is none."""
    registry.client(cluster).delete(PODS, pod, namespace=namespace)
