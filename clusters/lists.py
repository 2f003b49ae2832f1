"""Lists of objects: what a caller asks of one, a page of the answer, and reading one whole."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import orjson

from clusters.client import ClusterClient
from clusters.kinds import Kind
from clusters.manifests import Object
from clusters.wire import Chunk


@dataclass(frozen=True, slots=True)
class ListQuery:
    """What a caller asks of a list of one kind.

    `keyword` is part of a name, `namespaces` what the caller may see (None is every namespace),
    `order` one of `storage_api.query.sorting.ORDERS` or "" for the cluster's own order; `troubled`
    leaves only objects that have a problem. `ranks` are numbers by `namespace/name`, for the order
    "rank": objects without a number come before all others.
    """

    namespace: str = ""
    keyword: str = ""
    label_selector: str = ""
    field_selector: str = ""
    offset: int = 0
    size: int = 20
    namespaces: frozenset[str] | None = None
    order: str = ""
    troubled: bool = False
    ranks: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class ObjectPage:
    """One page of a list: the objects as JSON, and how many there are in all.

    `age` is in seconds when the page comes out of the store, None when the cluster was asked.
    """

    items: list[bytes]
    total: int
    age: float | None = None


def list_all(
    client: ClusterClient,
    kind: Kind,
    namespace: str,
    **selectors: str,
) -> list[Object]:
    """Every object of a kind in a namespace ("" is all), read in chunks.

    `selectors` are query parameters such as labelSelector. Raises as `ClusterClient.read_list`.
    """

    def read(chunks: Iterator[Chunk]) -> list[Object]:
        objects: list[Object] = []
        for chunk in chunks:
            objects += [orjson.loads(bytes(item)) for item in chunk.items or []]
        return objects

    return client.read_list(
        read,
        kind,
        namespace=namespace or None,
        query=selectors,
    )
