"""Counting what clusters hold by asking them, where the store's copy is not fresh: a thread for each cluster, and a deadline for all."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass, field

import msgspec

from clusters import registry
from clusters.accessible_namespaces import read_each
from clusters.client import CHUNK, Chunk, ClusterClient
from clusters.kinds import Kind
from clusters.models import Cluster
from core.errors import DomainError, Forbidden

SECONDS = 5.0
THREADS = 16
AWAY = (Cluster.Status.UNREACHABLE, Cluster.Status.ERROR)
StateCounts = dict[str, int]


@dataclass(frozen=True, slots=True)
class Wish:
    """What to count in one cluster: kinds, each in some namespaces (None is all)."""

    cluster: Cluster
    kinds: Mapping[Kind, frozenset[str] | None]


@dataclass(slots=True)
class Answer:
    """What one cluster said: counts by kind (None: its credentials may not list it), and what went wrong, if anything."""

    counts: dict[Kind, StateCounts | None] = field(default_factory=dict)
    error: str = ""


def count(wishes: Iterable[Wish]) -> dict[int, Answer]:
    """By cluster; one that does not answer in time is named and holds nobody up."""
    wishes = list(wishes)
    answers = {wish.cluster.pk: Answer() for wish in wishes}
    asked = [(wish, client) for wish in wishes if (client := _client(wish, answers))]
    if not asked:
        return answers
    pool = ThreadPoolExecutor(min(THREADS, len(asked)), thread_name_prefix="count")
    running = {
        # In the caller's context: clusters that are asked in their callers' names have to hear whose it is.
        pool.submit(copy_context().run, _one, wish, client, answers[wish.cluster.pk]): wish
        for wish, client in asked
    }
    done, late = wait(running, timeout=SECONDS)
    pool.shutdown(wait=False, cancel_futures=True)
    for future in done:
        future.result()
    for future in late:
        answers[running[future].cluster.pk].error = f"did not answer within {SECONDS:.0f} seconds"
    return answers


def _client(wish: Wish, answers: Mapping[int, Answer]) -> ClusterClient | None:
    """None, with the reason noted, for a cluster that cannot be asked; one that is known to be away is not waited for."""
    if wish.cluster.status in AWAY:
        answers[wish.cluster.pk].error = f"the cluster is {wish.cluster.status}"
        return None
    try:
        return registry.client(wish.cluster)
    except DomainError as error:
        answers[wish.cluster.pk].error = error.message
        return None


def _one(wish: Wish, client: ClusterClient, answer: Answer) -> None:
    try:
        for kind, namespaces in wish.kinds.items():
            answer.counts[kind] = _count_allowed(client, wish.cluster, kind, namespaces)
    except DomainError as error:
        answer.error = error.message
    except msgspec.DecodeError:
        answer.error = "the cluster's answer is not a Kubernetes list"


def _count_allowed(
    client: ClusterClient, cluster: Cluster, kind: Kind, namespaces: frozenset[str] | None
) -> StateCounts | None:
    """The count, by namespace where the credentials may look into some only; None where they may not look at all."""
    try:
        return _counted(client, kind, namespaces)
    except Forbidden:
        if not kind.namespaced or not cluster.namespaces:
            return None
    accessible = frozenset(cluster.namespaces)
    try:
        # As in lists, namespaces that refuse the kind do not count.
        parts = read_each(
            sorted(accessible if namespaces is None else accessible & namespaces),
            lambda namespace: _counted(client, kind, frozenset({namespace})),
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


class _Phased(msgspec.Struct):
    status: _Status = msgspec.field(default_factory=_Status)


_PHASES = msgspec.json.Decoder(_Phased)


def _counted(client: ClusterClient, kind: Kind, namespaces: frozenset[str] | None) -> StateCounts:
    # States are told apart for pods and nodes alone; of others one item and the rest's number will do.
    has_states = kind.plural in ("pods", "nodes")

    def read(chunks: Iterator[Chunk]) -> Counter[str]:
        counts: Counter[str] = Counter()
        for chunk in chunks:
            items = chunk.items or []
            counts["total"] += len(items)
            if not has_states:
                counts["total"] += chunk.metadata.remaining_item_count or 0
                break
            counts.update(_state(kind, item) for item in items)
        return counts

    found: Counter[str] = Counter()
    for namespace in [None] if namespaces is None or not kind.namespaced else sorted(namespaces):
        found.update(
            client.read_list(read, kind, namespace=namespace, limit=CHUNK if has_states else 1)
        )
    return dict(found)


def _state(kind: Kind, item: msgspec.Raw) -> str:
    if kind.plural == "pods":
        return _PHASES.decode(item).status.phase.lower() or "unknown"
    conditions = _PHASES.decode(item).status.conditions or []
    return (
        "ready"
        if any((one.type, one.status) == ("Ready", "True") for one in conditions)
        else "not_ready"
    )
