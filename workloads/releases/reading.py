"""Reading the records of releases from a cluster, and the objects that belong to a release."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from clusters import registry
from clusters.client import ClusterClient
from clusters.kinds import KINDS, Kind
from clusters.manifest_text import documents
from clusters.manifests import Object, to_yaml
from clusters.models import Cluster
from clusters.wire import Chunk
from core.errors import DomainError, Forbidden, Invalid, NotFound
from workloads.actions import rollouts
from workloads.manifests.documents import KindResolver, as_text
from workloads.manifests.masking import is_secret_object
from workloads.objects.manifests import mask_secret
from workloads.releases.records import (
    RecordError,
    RecordHead,
    decode,
    head_of,
    summary,
)

OWNER = "owner=helm"
RELEASE_TYPE = "helm.sh/release.v1"
# Names and labels alone: the content of all revisions may be hundreds of megabytes.
METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
# Helm stores in Secrets unless HELM_DRIVER says configmap.
STORES: tuple[tuple[Kind, Mapping[str, str]], ...] = (
    (KINDS["secrets"], {"fieldSelector": f"type={RELEASE_TYPE}"}),
    (KINDS["configmaps"], {}),
)
# Objects of a release whose state is looked at; more are named without it.
MAX_RESOURCES = 200
# kstatus' words, as `kubectl` plugins and Flux print them.
CURRENT = "Current"
IN_PROGRESS = "InProgress"
FAILED = "Failed"
MISSING = "NotFound"
TERMINATING = "Terminating"
UNKNOWN = "Unknown"


def list_heads(
    cluster: Cluster, namespaces: Sequence[str], *, name: str = ""
) -> Iterator[RecordHead]:
    """The heads of all records in some namespaces ("" is all); of one release with a name.

    A store that the credentials may not read is left out, unless neither can be read.
    """
    client = registry.client(cluster)
    refusals: list[Forbidden] = []
    for kind, selectors in STORES:
        for namespace in namespaces:
            try:
                yield from _heads(client, kind, namespace, name, selectors)
            except Forbidden as error:
                refusals.append(error)
    if len(refusals) == len(STORES) * len(namespaces) and refusals:
        raise refusals[0]


def _heads(
    client: ClusterClient,
    kind: Kind,
    namespace: str,
    name: str,
    selectors: Mapping[str, str],
) -> list[RecordHead]:
    def read(chunks: Iterator[Chunk]) -> list[RecordHead]:
        items = (orjson.loads(bytes(raw)) for chunk in chunks for raw in chunk.items or [])
        heads = (head_of(kind.plural, item) for item in items)
        return [head for head in heads if head is not None]

    return client.read_list(
        read,
        kind,
        namespace=namespace or None,
        query={"labelSelector": f"{OWNER},name={name}" if name else OWNER, **selectors},
        accept=METADATA_ONLY,
    )


def read_record(cluster: Cluster, head: RecordHead) -> tuple[Object | None, str]:
    """(the release of a record, ""), or (None, why it cannot be read)."""
    kind = KINDS[head.kind]
    try:
        raw = registry.client(cluster).get(kind, head.object_name, namespace=head.namespace)
        return decode({"kind": kind.name, **orjson.loads(raw)}), ""
    except RecordError as error:
        return None, error.reason


def summary_of(cluster: Cluster, head: RecordHead) -> dict[str, Any]:
    """`records.summary` of a record, read now."""
    release, error = read_record(cluster, head)
    return summary(head, release, error)


def find_revision(
    cluster: Cluster, namespace: str, name: str, revision: int | None = None
) -> RecordHead:
    """The head of a revision, the last one by default; NotFound when there is none."""
    heads = [
        head
        for head in list_heads(cluster, [namespace], name=name)
        if revision is None or head.revision == revision
    ]
    if not heads:
        which = f"revision {revision} of release" if revision else "release"
        raise NotFound(f'{which} "{name[:100]}" not found', reason="NotFound")
    return max(heads, key=lambda head: head.revision)


# --- the manifest ---------------------------------------------------------------------------------
def visible_manifest(release: Object, *, reveals: bool) -> str:
    """The manifest as Helm rendered it; values of its Secrets are masked unless `reveals`.

    A masked manifest is written again, without the comments of the chart's author.
    """
    manifest = as_text(release.get("manifest"))
    if reveals:
        return manifest
    objects = manifest_objects(manifest)
    if not any(is_secret_object(obj) for obj in objects):
        return manifest
    parts = []
    for obj in objects:
        shown = mask_secret(obj) if is_secret_object(obj) else obj
        parts.append(f"---\n{to_yaml(shown)}")
    return "".join(parts)


def manifest_objects(manifest: str) -> list[Object]:
    """The objects of a manifest; a document that cannot be read is left out."""
    try:
        return [document.obj for document in documents(manifest) if document.obj is not None]
    except Invalid:
        return []


def resources(cluster: Cluster, release: Object, namespace: str) -> list[dict[str, Any]]:
    """[{"kind","namespace","name","status","message"}] of the manifest's objects, as they are."""
    resolver = KindResolver(cluster)
    client = registry.client(cluster)
    rows = []
    for place, obj in enumerate(manifest_objects(as_text(release.get("manifest")))):
        metadata = obj.get("metadata")
        metadata = metadata if isinstance(metadata, dict) else {}
        row: dict[str, Any] = {
            "kind": as_text(obj.get("kind")),
            "namespace": "",
            "name": as_text(metadata.get("name")),
            "status": UNKNOWN,
            "message": "",
        }
        rows.append(row)
        try:
            kind, _is_new = resolver.resolve(as_text(obj.get("apiVersion")), row["kind"])
        except NotFound as error:
            row["message"] = error.message
            continue
        if kind.namespaced:
            row["namespace"] = as_text(metadata.get("namespace")) or namespace
        if place < MAX_RESOURCES:
            row["status"], row["message"] = _state(client, kind, row["namespace"], row["name"])
    return rows


def _state(client: ClusterClient, kind: Kind, namespace: str, name: str) -> tuple[str, str]:
    """(kstatus' word, a sentence) for a live object."""
    try:
        item = orjson.loads(client.get(kind, name, namespace=namespace or None))
    except NotFound:
        return MISSING, ""
    except DomainError as error:
        return UNKNOWN, error.message
    if item["metadata"].get("deletionTimestamp"):
        return TERMINATING, ""
    if kind.plural in rollouts.ROLLED_OUT:
        generation = int(item["metadata"].get("generation") or 0)
        try:
            status = rollouts.status_of(item, kind.plural, generation=generation)
        except DomainError as error:
            return FAILED, error.message
        return (CURRENT if status.finished else IN_PROGRESS), status.message
    return _state_by_conditions(item)


def _state_by_conditions(item: Object) -> tuple[str, str]:
    conditions = (item.get("status") or {}).get("conditions")
    by_type = {
        str(condition.get("type")): condition
        for condition in (conditions if isinstance(conditions, list) else [])
        if isinstance(condition, dict)
    }
    if by_type.get("Failed", {}).get("status") == "True":
        return FAILED, as_text(by_type["Failed"].get("message"))
    ready = by_type.get("Ready") or by_type.get("Established")
    if ready is not None and ready.get("status") != "True":
        return IN_PROGRESS, as_text(ready.get("message"))
    return CURRENT, ""
