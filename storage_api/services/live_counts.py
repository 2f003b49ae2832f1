"""Counting what clusters hold by asking them, where the store's copy is not fresh.

One thread for each cluster, and one deadline for all.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

import msgspec

from clusters import registry
from clusters.accessible_namespaces import read_each
from clusters.client import ClusterClient
from clusters.fan_out import ask_each
from clusters.kinds import Kind
from clusters.models import Cluster
from clusters.wire import CHUNK_SIZE, Chunk
from core.errors import DomainError, Forbidden

SECONDS = 5.0
AWAY = (Cluster.Status.UNREACHABLE, Cluster.Status.ERROR)
# "total", and for pods each phase, for nodes "ready" and "not_ready".
StateCounts = dict[str, int]


@dataclass(frozen=True, slots=True)
class CountRequest:
    """What to count in one cluster: kinds, each in some namespaces (None is all)."""

    cluster: Cluster
    kinds: Mapping[Kind, frozenset[str] | None]


@dataclass(slots=True)
class ClusterCount:
    """The counts of one cluster by kind, and the error when there was one.

    The counts of a kind are None where the credentials may not list it.
    """

    counts: dict[Kind, StateCounts | None] = field(default_factory=dict)
    error: str = ""


def count_live(wishes: Iterable[CountRequest]) -> dict[int, ClusterCount]:
    """The answers by cluster id; a cluster that does not answer in SECONDS has an error instead."""
    requests = list(wishes)
    answers = {request.cluster.pk: ClusterCount() for request in requests}
    calls: dict[int, Callable[[], None]] = {}
    for request in requests:
        client = _client(request, answers)
        if client is not None:
            pk = request.cluster.pk
            calls[pk] = partial(_count_cluster, request, client, answers[pk])
    in_time = ask_each(calls, seconds=SECONDS)
    for pk in calls.keys() - in_time.keys():
        answers[pk].error = f"did not answer within {SECONDS:.0f} seconds"
    return answers


def _client(request: CountRequest, answers: Mapping[int, ClusterCount]) -> ClusterClient | None:
    """None, with the reason in the answer, for a cluster that cannot be asked."""
    cluster = request.cluster
    answer = answers[cluster.pk]
    if cluster.status in AWAY:
        # The last check did not reach it: waiting for it once more would hold everybody up.
        answer.error = f"the cluster is {cluster.status}"
        return None
    try:
        return registry.client(cluster)
    except DomainError as error:
        answer.error = error.message
        return None


def _count_cluster(request: CountRequest, client: ClusterClient, answer: ClusterCount) -> None:
    try:
        for kind, namespaces in request.kinds.items():
            answer.counts[kind] = _count_allowed(client, request.cluster, kind, namespaces)
    except DomainError as error:
        answer.error = error.message
    except msgspec.DecodeError:
        answer.error = "the cluster's answer is not a Kubernetes list"


def _count_allowed(
    client: ClusterClient,
    cluster: Cluster,
    kind: Kind,
    namespaces: frozenset[str] | None,
) -> StateCounts | None:
    """The counts, by namespace where the credentials may read some only.

    None where they may not read the kind at all.
    """
    try:
        return _count_kind(client, kind, namespaces)
    except Forbidden:
        if not kind.namespaced or not cluster.namespaces:
            return None
    readable = frozenset(cluster.namespaces)
    if namespaces is not None:
        readable &= namespaces
    try:
        # As in lists, namespaces that refuse the kind do not count.
        parts = read_each(
            sorted(readable),
            lambda namespace: _count_kind(client, kind, frozenset({namespace})),
        )
    except Forbidden:
        return None
    total = Counter[str]()
    for part in parts:
        total.update(part)
    return dict(total) if parts else None


class _Condition(msgspec.Struct):
    type: str = ""
    status: str = ""


class _Status(msgspec.Struct):
    phase: str = ""
    conditions: list[_Condition] | None = None


class _ObjectWithStatus(msgspec.Struct):
    status: _Status = msgspec.field(default_factory=_Status)


_STATUSES = msgspec.json.Decoder(_ObjectWithStatus)


def _count_kind(
    client: ClusterClient,
    kind: Kind,
    namespaces: frozenset[str] | None,
) -> StateCounts:
    has_states = kind.plural in ("pods", "nodes")
    # Without states, one item and the number of remaining ones will do.
    limit = CHUNK_SIZE if has_states else 1

    def count_chunks(chunks: Iterator[Chunk]) -> Counter[str]:
        counts: Counter[str] = Counter()
        for chunk in chunks:
            items = chunk.items or []
            counts["total"] += len(items)
            if not has_states:
                counts["total"] += chunk.metadata.remaining_item_count or 0
                break
            counts.update(_state(kind, item) for item in items)
        return counts

    lists: list[str | None] = [None]
    if namespaces is not None and kind.namespaced:
        lists = [*sorted(namespaces)]
    total: Counter[str] = Counter()
    for namespace in lists:
        total.update(client.read_list(count_chunks, kind, namespace=namespace, limit=limit))
    return dict(total)


def _state(kind: Kind, item: msgspec.Raw) -> str:
    """A pod's phase in lower case; "ready" or "not_ready" of a node."""
    status = _STATUSES.decode(item).status
    if kind.plural == "pods":
        return status.phase.lower() or "unknown"
    for condition in status.conditions or []:
        if (condition.type, condition.status) == ("Ready", "True"):
            return "ready"
    return "not_ready"
