"""Reading namespaced objects with credentials that may read only some namespaces."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from clusters.kinds import Kind
from clusters.models import Cluster
from core.errors import Forbidden

T = TypeVar("T")


def read_accessible(
    cluster: Cluster,
    kind: Kind,
    read: Callable[[str], T],
) -> list[T]:
    """What `read` returns for the whole cluster (called with "").

    Where that is refused, what it returns for each of the cluster's `namespaces` that may be read.
    Forbidden when none of them may.
    """
    try:
        return [read("")]
    except Forbidden:
        if not kind.namespaced or not cluster.namespaces:
            raise
    return read_each(cluster.namespaces, read)


def read_each(namespaces: Iterable[str], read: Callable[[str], T]) -> list[T]:
    """What `read` returns for each namespace that may be read; Forbidden when none may."""
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
