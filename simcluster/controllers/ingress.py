"""Ingress: the address of the controller that serves it."""

from simcluster.client import Client
from simcluster.cluster import Cluster
from simcluster.objects import is_terminating
from simcluster.resources import Object

_ADDRESS = {"loadBalancer": {"ingress": [{"ip": "203.0.113.10"}]}}


def reconcile(cluster: Cluster, obj: Object) -> float | None:
    """Publish the address."""
    if obj.get("status") != _ADDRESS and not is_terminating(obj):
        client = Client(cluster, "ingress-nginx")
        client.update_status("ingresses.networking.k8s.io", {**obj, "status": _ADDRESS})
        client.event(obj, "Sync", "Scheduled for sync")
    return None
