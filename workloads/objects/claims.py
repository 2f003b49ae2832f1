"""PersistentVolumeClaims; those that a StatefulSet uses cannot be deleted."""

from collections.abc import Iterable

import orjson

from clusters import registry
from clusters.client import ClusterClient
from clusters.kinds import KINDS
from clusters.lists import list_all
from clusters.manifests import Object
from clusters.models import Cluster
from core.errors import NotFound, Rejected

CLAIMS = KINDS["persistentvolumeclaims"]


def list_claims(cluster: Cluster, namespace: str, selector: str = "") -> list[Object]:
    """The claims of a namespace that match a label selector."""
    return list(
        list_all(
            registry.client(cluster),
            CLAIMS,
            namespace,
            labelSelector=selector,
        )
    )


def get_claim(cluster: Cluster, namespace: str, name: str) -> Object:
    """One claim; NotFound when there is none."""
    item: Object = orjson.loads(registry.client(cluster).get(CLAIMS, name, namespace=namespace))
    return item


def delete_claim(cluster: Cluster, namespace: str, name: str) -> None:
    """Delete a claim; nothing when there is none. Rejected when a StatefulSet uses it."""
    try:
        _delete_unused(
            registry.client(cluster),
            namespace,
            [get_claim(cluster, namespace, name)],
        )
    except NotFound:
        return


def delete_selected_claims(cluster: Cluster, namespace: str, selector: str) -> None:
    """Delete all claims that match; Rejected, and none deleted, when one of them is used."""
    _delete_unused(
        registry.client(cluster),
        namespace,
        list_claims(cluster, namespace, selector),
    )


def _delete_unused(client: ClusterClient, namespace: str, items: Iterable[Object]) -> None:
    names = []
    stateful_sets = list(list_all(client, KINDS["statefulsets"], namespace))
    # All are checked before the first is deleted.
    for item in items:
        name = item["metadata"]["name"]
        if users := _stateful_set_users(item, stateful_sets):
            user_list = " ".join(f"{namespace}/{user}" for user in users)
            raise Rejected(
                f"pvc {namespace}/{name} can not be deleted, "
                f"it is still used by statefulsets [{user_list}]"
            )
        names.append(name)
    for name in names:
        try:
            client.delete(CLAIMS, name, namespace=namespace)
        except NotFound:
            continue


def _stateful_set_users(item: Object, stateful_sets: Iterable[Object]) -> list[str]:
    """Names of the StatefulSets that carry every label of the claim.

    A StatefulSet's claims have the labels of its selector, so a claim without labels has no users.
    """
    labels = item["metadata"].get("labels") or {}
    if not labels:
        return []
    users = []
    for stateful_set in stateful_sets:
        metadata = stateful_set["metadata"]
        if labels.items() <= (metadata.get("labels") or {}).items():
            users.append(metadata["name"])
    return users
