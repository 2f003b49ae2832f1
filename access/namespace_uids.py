"""The uids of a cluster's namespaces: one created again under its old name is another one."""

from collections.abc import Iterable, Iterator

import msgspec

from clusters import registry
from clusters.kinds import KINDS
from clusters.models import Cluster
from clusters.wire import Chunk
from core.errors import NotFound

NAMESPACE = KINDS["namespaces"]


class _Meta(msgspec.Struct):
    name: str = ""
    uid: str = ""


class _NamespaceHead(msgspec.Struct):
    metadata: _Meta = msgspec.field(default_factory=_Meta)


_HEADS = msgspec.json.Decoder(_NamespaceHead)
FEW_NAMES = 3


def read_uid(cluster: Cluster, name: str) -> str:
    """The uid of a namespace, "" when it does not exist. ClusterUnavailable is passed on."""
    try:
        return _HEADS.decode(registry.client(cluster).get(NAMESPACE, name)).metadata.uid
    except NotFound:
        return ""


def read_uids(cluster: Cluster, names: Iterable[str]) -> dict[str, str]:
    """Uid by name, for those of the namespaces that exist. ClusterUnavailable is passed on."""
    selected = frozenset(names)
    if len(selected) <= FEW_NAMES:
        # Few reads are cheaper than one list of a thousand namespaces.
        uid_by_name = {name: read_uid(cluster, name) for name in sorted(selected)}
        return {name: text for name, text in uid_by_name.items() if text}
    client = registry.client(cluster)

    def read(chunks: Iterator[Chunk]) -> dict[str, str]:
        uid_by_name: dict[str, str] = {}
        for chunk in chunks:
            for item in chunk.items or []:
                metadata = _HEADS.decode(item).metadata
                if metadata.name in selected:
                    uid_by_name[metadata.name] = metadata.uid
        return uid_by_name

    return client.read_list(read, NAMESPACE)
