"""One object, and what it refers to, as manifests for another namespace or cluster."""

from collections.abc import Iterator

import orjson

from clusters import registry
from clusters.client import ClusterClient
from clusters.kinds import KINDS, Kind
from clusters.manifests import Object
from clusters.models import Cluster
from core.errors import NotFound
from workloads.manifests.export import clean, is_generated
from workloads.topology.references import configuration_references, mapping, pod_spec

# Kinds that come along; a claim's data would not, so claims stay.
COPIED = ("configmaps", "secrets", "serviceaccounts")
# A copied ServiceAccount brings its pull secrets.
PULL_SECRETS = "imagePullSecrets"


def referenced_objects(cluster: Cluster, kind: Kind, obj: Object) -> list[tuple[Kind, Object]]:
    """ConfigMaps, Secrets and ServiceAccounts that the object's pods need, as they are live.

    What does not exist, or is made by Kubernetes in every namespace, is left out.
    """
    client = registry.client(cluster)
    namespace = str(obj["metadata"].get("namespace") or "")
    objects: list[tuple[Kind, Object]] = []
    seen: set[tuple[str, str]] = set()
    waiting = list(_references(kind.plural, obj))
    while waiting:
        plural, name = waiting.pop(0)
        if (plural, name) in seen:
            continue
        seen.add((plural, name))
        referenced = _read(client, KINDS[plural], namespace, name)
        if referenced is None or is_generated(referenced):
            continue
        objects.append((KINDS[plural], referenced))
        if plural == "serviceaccounts":
            waiting += _pull_secrets(referenced)
    return objects


def _references(plural: str, obj: Object) -> Iterator[tuple[str, str]]:
    spec = pod_spec(plural, obj)
    for reference in configuration_references(spec):
        if reference.plural in COPIED:
            yield reference.plural, reference.name
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if isinstance(account, str) and account:
        yield "serviceaccounts", account
    if plural == "ingresses":
        for entry in mapping(obj, "spec").get("tls") or []:
            name = entry.get("secretName") if isinstance(entry, dict) else None
            if isinstance(name, str) and name:
                yield "secrets", name


def _pull_secrets(account: Object) -> list[tuple[str, str]]:
    entries = account.get(PULL_SECRETS)
    if not isinstance(entries, list):
        return []
    return [("secrets", str(entry["name"])) for entry in entries if entry.get("name")]


def _read(client: ClusterClient, kind: Kind, namespace: str, name: str) -> Object | None:
    try:
        raw = client.get(kind, name, namespace=namespace)
    except NotFound:
        return None
    obj: Object = orjson.loads(raw)
    return obj


def as_manifest(obj: Object) -> Object:
    """The object cleaned, and without its namespace: the target says where it goes."""
    document = clean(obj)
    metadata = {name: value for name, value in document["metadata"].items() if name != "namespace"}
    return {**document, "metadata": metadata}
