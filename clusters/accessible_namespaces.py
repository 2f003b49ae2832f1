"""Reading what lies in namespaces with credentials that may look into some of them only."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from clusters.kinds import Kind
from clusters.models import Cluster
from core.errors import Forbidden

T = TypeVar("T")


def read_accessible(cluster: Cluster, kind: Kind, read: Callable[[str], T]) -> list[T]:
    """What `read` returns for the whole cluster (called with ""), or, where that is refused, for each accessible namespace that does not
    refuse it too. Forbidden when nothing may be read."""
    try:
        return [read("")]
    except Forbidden:
        if not kind.namespaced or not cluster.namespaces:
            raise
    return read_each(cluster.namespaces, read)


def read_each(namespaces: Iterable[str], read: Callable[[str], T]) -> list[T]:
    """What `read` returns for each namespace that does not refuse it; Forbidden when all of them do."""
    refusal: Forbidden | None = None
    answers: list[T] = []
    for namespace in namespaces:
        try:
            answers.append(read(namespace))
        except Forbidden as error:
            refusal = error
    if refusal and not answers:
        raise refusal
    return answers
