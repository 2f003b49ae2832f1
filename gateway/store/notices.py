"""Warning headers: what the store's answer may lack. kubectl prints them."""

from collections.abc import Sequence
from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from clusters.kinds import Kind
from core.times import rfc3339
from gateway.store.views import StoreView
from storage_api.history import as_of
from storage_api.history.as_of import VersionQuery
from storage_api.models import KindSync
from storage_api.services.multicluster import ClusterScope

MAX_NAMES = 10
Header = tuple[str, str]


def notices(
    view: StoreView,
    kind: Kind,
    chosen: Sequence[ClusterScope],
    known: Sequence[ClusterScope],
    namespace: str = "",
) -> tuple[Header, ...]:
    """The Warning headers of a list.

    `chosen` are the clusters that are asked about, `known` those that the store can tell of.
    """
    sentences = []
    if len(known) < len(chosen):
        names = {place.name for place in chosen} - {place.name for place in known}
        sentences.append(f"history does not go back that far in {_join_names(names)}")
    if view.at is None:
        sentences += _stale(kind, known)
    else:
        sentences += _gaps(view, kind, known, namespace)
    return tuple(_warning(sentence) for sentence in sentences)


def _warning(sentence: str) -> Header:
    text = (
        sentence.encode("ascii", "replace")
        .decode()
        .replace("\\", "\\\\")
        .replace(
            '"',
            '\\"',
        )
    )
    return "warning", f'299 kubegale "{text}"'


def _join_names(names: set[str]) -> str:
    shown = sorted(names)[:MAX_NAMES]
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return ", ".join(shown) + more


def _stale(kind: Kind, places: Sequence[ClusterScope]) -> list[str]:
    """Clusters whose copy of the kind is not followed now, or behind."""
    rows = KindSync.objects.filter(
        cluster__in=[place.cluster for place in places], group=kind.group, plural=kind.plural
    ).select_related("cluster__sync")
    limit = timezone.now() - timedelta(seconds=settings.STORE_FRESH_SECONDS)
    fresh = {
        row.cluster_id
        for row in rows.defer("cluster__kubeconfig")
        if row.phase == KindSync.Phase.WATCHING
        and row.cluster.sync.beaten_at is not None
        and row.cluster.sync.beaten_at >= limit
    }
    stale = {place.name for place in places if place.cluster not in fresh}
    if not stale:
        return []
    return [f"{kind.plural} of {_join_names(stale)} may have changed since they were last seen"]


def _gaps(
    view: StoreView,
    kind: Kind,
    places: Sequence[ClusterScope],
    namespace: str,
) -> list[str]:
    """Times around the moment in which changes may be missing from the log."""
    sentences = []
    for place in places:
        cluster = next(row for row in view.clusters if row.pk == place.cluster)
        query = VersionQuery(
            namespace=namespace, namespaces=place.namespaces, since=view.at, until=view.at
        )
        for since, until in as_of.gaps(cluster, kind, query)[:1]:
            sentences.append(
                f"changes of {kind.plural} in {place.name} may be missing between "
                f"{rfc3339(since)} and {rfc3339(until)}"
            )
    return sentences[:MAX_NAMES]
