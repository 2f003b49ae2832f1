"""One object over several clusters, each beside the first that has it."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import orjson

from clusters import registry
from clusters.client import ClusterClient
from clusters.differences import changes
from clusters.fan_out import ask_each
from clusters.kinds import Kind
from clusters.manifest_text import comparable_object
from clusters.manifests import Object
from clusters.models import Cluster
from core.errors import DomainError, NotFound
from workloads.manifests.export import clean
from workloads.manifests.masking import is_secret_object
from workloads.objects.manifests import mask_secret

SECONDS = 10.0
MAX_CLUSTERS = 100


def compare(
    clusters: Sequence[Cluster], kind: Kind, name: str, *, namespace: str, reveals: Sequence[bool]
) -> dict[str, Any]:
    """{"base", "clusters":[{"cluster_id","cluster","found","changes","error"}]}.

    `base` is the id of the first cluster that has the object, None when none has. Status,
    bookkeeping and what each cluster fills in are left out. `reveals` says for each cluster whether
    the values of Secrets are shown; without, or with only one of two, keys alone are compared.
    """
    answers = _read_everywhere(clusters, kind, name, namespace)
    return compare_answers(clusters, answers, reveals=reveals)


def compare_answers(
    clusters: Sequence[Cluster],
    answers: Mapping[int, Object | str | None],
    *,
    reveals: Sequence[bool],
) -> dict[str, Any]:
    """As `compare`, of what the clusters have answered: an object, None, or why it is not known."""
    base: tuple[Cluster, Object, bool] | None = None
    rows = []
    for cluster, reveal in zip(clusters, reveals, strict=True):
        answer = answers[cluster.pk]
        row: dict[str, Any] = {
            "cluster_id": cluster.pk,
            "cluster": cluster.name,
            "found": isinstance(answer, dict),
            "changes": [],
        }
        if isinstance(answer, dict):
            if base is None:
                base = (cluster, answer, reveal)
            row["changes"] = _changes(base[1], answer, reveals=reveal and base[2])
        elif isinstance(answer, str):
            row["error"] = answer
        rows.append(row)
    return {"base": base[0].pk if base else None, "clusters": rows}


def _changes(before: Object, after: Object, *, reveals: bool) -> list[dict[str, Any]]:
    if is_secret_object(before) and not reveals:
        # A writer in one cluster could otherwise guess at a value of the other.
        return changes(mask_secret(before), mask_secret(after))
    return changes(before, after)


def _read_everywhere(
    clusters: Sequence[Cluster], kind: Kind, name: str, namespace: str
) -> dict[int, Object | str | None]:
    """By cluster id: the comparable object, None where there is none, or why it is not known."""
    answers: dict[int, Object | str | None] = {}
    calls: dict[int, Callable[[], Object | str | None]] = {}
    for cluster in clusters:
        answers[cluster.pk] = f"did not answer within {SECONDS:.0f} seconds"
        try:
            client = registry.client(cluster)
        except DomainError as error:
            answers[cluster.pk] = error.message
        else:
            calls[cluster.pk] = partial(_read, client, kind, name, namespace)
    return answers | ask_each(calls, seconds=SECONDS)


def _read(client: ClusterClient, kind: Kind, name: str, namespace: str) -> Object | str | None:
    try:
        raw = client.get(kind, name, namespace=namespace or None)
    except NotFound:
        return None
    except DomainError as error:
        return error.message
    return comparable_object(clean(orjson.loads(raw)))
