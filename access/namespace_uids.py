"""Which namespaces a cluster has right now, by uid: a namespace made anew under an old name is another one."""

from collections.abc import Iterable, Iterator

import msgspec

from clusters import registry
from clusters.client import Chunk
from clusters.kinds import KINDS
from clusters.models import Cluster
from core.errors import NotFound

NAMESPACE = KINDS["namespaces"]


class _Meta(msgspec.Struct):
    name: str = ""
    uid: str = ""


class _NamespaceHead(msgspec.Struct):
    metadata: _Meta = msgspec.field(default_factory=_Meta)


_HEADS = msgspec.json.Decoder(_NamespaceHead)
FEW_NAMES = 3


def uid(cluster: Cluster, name: str) -> str:
    """The uid of a namespace as the cluster has it now; nothing when there is none. ClusterUnavailable is passed on."""
    try:
        return _HEADS.decode(registry.client(cluster).get(NAMESPACE, name)).metadata.uid
    except NotFound:
        return ""


def uids(cluster: Cluster, names: Iterable[str]) -> dict[str, str]:
    """Uid by name, for those of the names that exist now: asked one by one when they are few, else out of one list."""
    wanted = frozenset(names)
    if len(wanted) <= FEW_NAMES:
        return {name: seen for name in sorted(wanted) if (seen := uid(cluster, name))}
    client = registry.client(cluster)

    def read(chunks: Iterator[Chunk]) -> dict[str, str]:
        heads = (_HEADS.decode(item).metadata for chunk in chunks for item in chunk.items or [])
        return {head.name: head.uid for head in heads if head.name in wanted}

    return client.read_list(read, NAMESPACE)
