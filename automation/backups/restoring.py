"""What of an archive is applied where: which archives, into which namespace, in which parts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import orjson

from automation.backups.archives import NAMESPACE, read_text
from automation.models import NamespaceArchive
from clusters import registry
from clusters.manifest_text import documents
from clusters.manifests import Object
from core.errors import Forbidden, Invalid, NotFound
from workloads.manifests.documents import MAX_OBJECTS


@dataclass(frozen=True, slots=True)
class Restore:
    """An archive, the namespace it goes to, and its manifests in texts that one apply takes."""

    archive: NamespaceArchive
    namespace: str
    texts: Sequence[str] = field(repr=False)


def choose(
    archives: Sequence[NamespaceArchive],
    namespace: str,
    cluster: int | None,
) -> list[tuple[NamespaceArchive, str]]:
    """The archives to restore with the namespace of each.

    A namespace of the backup chooses its archive; any other is where the only archive goes to.
    NotFound for a cluster without an archive, Invalid when it is not clear what is meant.
    """
    rows = [row for row in archives if cluster in (None, row.cluster_id)]
    if not rows:
        raise NotFound("the backup has nothing of this cluster")
    if not namespace:
        return [(row, row.namespace) for row in rows]
    named = [row for row in rows if row.namespace == namespace]
    if named:
        return [(row, namespace) for row in named]
    if len(rows) > 1:
        names = ", ".join(sorted({row.namespace for row in rows}))
        raise Invalid(
            f"the backup has several namespaces ({names}): only a backup of one can be restored"
            " into another namespace",
            field="namespace",
        )
    return [(rows[0], namespace)]


def prepare(archive: NamespaceArchive, namespace: str) -> Restore:
    """The archive's manifests as they go to the namespace.

    The Namespace itself is among them only where it does not exist any more.
    """
    objects = []
    for obj in archived_objects(archive):
        if obj["kind"] == "Namespace":
            if _exists(archive, namespace):
                continue
            obj["metadata"]["name"] = namespace
        else:
            obj["metadata"]["namespace"] = namespace
            _move_subjects(obj, archive.namespace, namespace)
        objects.append(orjson.dumps(obj).decode())
    texts = [
        "\n".join(objects[start : start + MAX_OBJECTS])
        for start in range(0, len(objects), MAX_OBJECTS)
    ]
    return Restore(archive, namespace, texts)


def archived_objects(archive: NamespaceArchive) -> Iterator[Object]:
    """The objects of an archive in the order in which they are applied."""
    text = read_text(archive)
    # The archive is our own writing: it may have more documents than a caller may send.
    for piece in (
        documents(
            text,
            most=len(archive.objects_listed) + 1,
        )
        if text
        else ()
    ):
        if piece.obj is not None:
            yield piece.obj


def _exists(archive: NamespaceArchive, namespace: str) -> bool:
    try:
        registry.client(archive.cluster).get(NAMESPACE, namespace)
    except NotFound:
        return False
    except Forbidden:
        # Who may not see it may use it all the same; who may not, is told so by each object.
        return True
    return True


def _move_subjects(
    obj: Object,
    source: str,
    namespace: str,
) -> None:
    """ServiceAccounts that a binding names in its own namespace are those of the new one."""
    if obj["kind"] != "RoleBinding":
        return
    for subject in obj.get("subjects") or []:
        if subject.get("kind") == "ServiceAccount" and subject.get("namespace") == source:
            subject["namespace"] = namespace
