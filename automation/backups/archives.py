"""Archives of namespaces in the database: taking, listing, reading and dropping them.

An archive is encrypted as a whole, like kubeconfigs: ConfigMaps hold secrets more often than they
should. Values of Secrets are in it only where a task asks for them.
"""

import base64
import hashlib
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

from automation.models import NamespaceArchive, Run
from clusters import registry
from clusters.kinds import KINDS, Kind
from clusters.manifests import Object
from clusters.models import Cluster
from clusters.wire import HEAD_DECODER
from core.errors import Forbidden, Internal, NotFound
from core.times import rfc3339
from workloads.manifests.export import read_named, read_objects, to_text

NAMESPACE = KINDS["namespaces"]


def take(
    run: int,
    cluster: Cluster,
    namespace: str,
    kinds: Iterable[Kind],
    *,
    selector: str = "",
    names: Iterable[str] = (),
    left_out: Iterable[Mapping[str, str]] = (),
) -> NamespaceArchive:
    """Export a namespace and keep it with the run; an archive that is there already is replaced.

    `left_out` are kinds that the owner may not read, with the reason; kinds that the cluster
    refuses or does not serve are added to them. NamespaceNotFound without the namespace.
    """
    missing = [dict(row) for row in left_out]
    objects: list[Object] = []
    try:
        objects += read_named(
            cluster,
            NAMESPACE,
            "",
            [namespace],
        )
    except Forbidden as error:
        missing.append({"kind": NAMESPACE.plural, "reason": error.message})
    chosen = frozenset(names)
    kinds = tuple(kinds)
    for kind in kinds:
        try:
            listed = read_objects(
                cluster,
                [(kind, namespace)],
                selector=selector,
            )
        except (Forbidden, NotFound) as error:
            missing.append({"kind": kind.plural, "reason": error.message})
            continue
        objects += [obj for obj in listed if not chosen or obj["metadata"]["name"] in chosen]
    text = "".join(to_text(objects))
    row, _ = NamespaceArchive.objects.update_or_create(
        run_id=run,
        cluster=cluster,
        namespace=namespace,
        defaults={
            "content": _pack(text),
            "objects_listed": [
                {"kind": obj["kind"], "name": obj["metadata"]["name"]} for obj in objects
            ],
            "left_out": missing,
            "size": len(text.encode()),
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
            "has_secrets": any(obj["kind"] == "Secret" for obj in objects),
        },
    )
    return row


def _pack(text: str) -> str:
    return base64.b64encode(zlib.compress(text.encode(), 6)).decode()


def read_text(archive: NamespaceArchive) -> str:
    """The YAML text of an archive; Internal when it is not what was written."""
    text = zlib.decompress(base64.b64decode(archive.content)).decode()
    if hashlib.sha256(text.encode()).hexdigest() != archive.sha256:
        raise Internal(f"archive {archive.pk} is damaged")
    return text


def archives_of(run: Run) -> list[NamespaceArchive]:
    """The archives of a run without their content; NotFound when it has none."""
    rows = list(run.archives.defer("content").select_related("cluster"))
    if not rows:
        raise NotFound(f"run {run.pk} has no backup")
    return rows


def represent(archive: NamespaceArchive) -> dict[str, Any]:
    """What answers say of an archive, never its content."""
    return {
        "id": archive.pk,
        "run_id": archive.run_id,
        "cluster_id": archive.cluster_id,
        "cluster": archive.cluster.name,
        "namespace": archive.namespace,
        "objects": archive.objects_listed,
        "left_out": archive.left_out,
        "size": archive.size,
        "sha256": archive.sha256,
        "has_secrets": archive.has_secrets,
        "created_at": rfc3339(archive.created_at),
    }


def drop_old(
    task: int,
    cluster: Cluster,
    namespace: str,
    keep: int,
) -> int:
    """Delete all but the newest `keep` archives of a namespace that the task took; how many."""
    rows = NamespaceArchive.objects.filter(
        run__task=task,
        cluster=cluster,
        namespace=namespace,
    )
    old = list(rows.order_by("-run_id", "-pk").values_list("pk", flat=True)[keep:])
    NamespaceArchive.objects.filter(pk__in=old).delete()
    return len(old)


def namespaces_of(cluster: Cluster) -> list[str]:
    """The names of a cluster's namespaces as its credentials see them, sorted."""
    names: list[str] = []
    try:
        for chunk in registry.client(cluster).chunks(NAMESPACE):
            names += [HEAD_DECODER.decode(item).metadata.name for item in chunk.items or []]
    except Forbidden:
        if not cluster.namespaces:
            raise
        names = list(cluster.namespaces)
    return sorted(names)
