"""What is known about each cluster's copy in the store: positions of the watches, phases, moments. Written under a lease alone."""

import json
import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import DatabaseError, connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from clusters.kinds import Kind
from clusters.models import Cluster
from clusters.resource_types import resource_type
from core.errors import Conflict
from storage_api.models import ClusterSync, KindSync
from storage_api.query import conditions
from storage_api.query.queries import Query
from storage_api.query.shapes import RESOURCE
from storage_api.services import resources

log = logging.getLogger(__name__)
# Kinds in these phases are named even when they were never listed.
UNWATCHED_PHASES = (KindSync.Phase.REFUSED, KindSync.Phase.OVER_LIMIT)


@dataclass(frozen=True, slots=True)
class WatchScope:
    """What one watch covers: a kind, in one namespace or ("") in the whole cluster."""

    kind: Kind
    namespace: str = ""


class Fenced(Conflict):
    """Another collector holds the cluster by now: nothing was written."""

    code = "fenced"


def fence(cluster: int, token: int) -> None:
    """Hold on to the lease until the transaction ends; Fenced when it is another's by now."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM storage_cluster_sync WHERE cluster_id = %s AND token = %s FOR KEY SHARE",
            [cluster, token],
        )
        if cursor.fetchone() is None:
            raise Fenced("another collector holds this cluster")
        # The collector goes on from what was committed: a database set to lose its last commits in a crash would leave a hole.
        cursor.execute("SET LOCAL synchronous_commit = on")


def database_now() -> datetime:
    """The database's clock, which all moments here are read from."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        moment: datetime = cursor.fetchone()[0]
        return moment


# --- written by the collector ---------------------------------------------------------------------------------------
def start_collecting(cluster: int, token: int, name: str) -> tuple[str, str, list[KindSync]]:
    """(the newest revision seen before, the cluster's identity then, the known kinds).

    Rows under a former name of the cluster are taken out, to be collected anew.
    """
    with transaction.atomic():
        fence(cluster, token)
        row = ClusterSync.objects.get(pk=cluster)
        kinds = list(KindSync.objects.filter(cluster_id=cluster))
        if row.stored_as not in ("", name):
            for kind in kinds:
                sweep(row.stored_as, kind.resource_type)
            KindSync.objects.filter(cluster_id=cluster).delete()
            ClusterSync.objects.filter(pk=cluster).update(revision="", identity="", beaten_at=None)
            row.revision, row.identity, kinds = "", "", []
        ClusterSync.objects.filter(pk=cluster).update(stored_as=name)
    return row.revision, row.identity, kinds


_REMOVED = """
SELECT s.cluster_id, s.stored_as FROM storage_cluster_sync s JOIN clusters_cluster c ON c.id = s.cluster_id
WHERE c.deleted_at IS NOT NULL AND s.stored_as <> '' ORDER BY s.cluster_id LIMIT 1 FOR UPDATE OF s SKIP LOCKED
"""
_DISOWN = "UPDATE storage_cluster_sync SET token = token + 1, owner = '', stored_as = '' WHERE cluster_id = %s"


def delete_removed_cluster() -> str:
    """Delete the collected rows of one cluster that is registered no longer, logged; its name, or "" when there is none.

    Whoever still writes for it is fenced off. Rows under a name that is another cluster's by now are that one's.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_REMOVED)
        if (found := cursor.fetchone()) is None:
            return ""
        cluster, name = int(found[0]), str(found[1])
        cursor.execute(_DISOWN, [cluster])
        kinds = KindSync.objects.filter(cluster_id=cluster)
        if not Cluster.objects.filter(deleted_at=None, name=name).exists():
            for kind in kinds:
                sweep(name, kind.resource_type)
        kinds.delete()
    return name


def sweep(cluster_name: str, resource_type: str) -> int:
    """Delete every row of a type in a cluster, logged; how many."""
    return resources.sweep(
        cluster_name, resource_type, Query(RESOURCE, resources.of_type(cluster_name, resource_type))
    )


def sweep_namespace(cluster_name: str, resource_type: str, namespace: str) -> int:
    """Delete every row of a type in one namespace of a cluster, logged; how many."""
    rows = resources.of_type(cluster_name, resource_type)
    query = Query(RESOURCE, (*rows, conditions.equals("namespace", namespace)))
    return resources.sweep(cluster_name, resource_type, query)


def stored_versions(
    cluster_name: str, resource_type: str, namespace: str = ""
) -> dict[tuple[str, str], tuple[str, str]]:
    """(namespace, name) -> (uid, resourceVersion) of a type's rows, in one namespace or in all; documents are not touched."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT namespace, resource_name, coalesce(uid, ''), coalesce(resource_version, '') FROM storage_resource"
            " WHERE cluster_id = %s AND resource_type = %s AND (%s = '' OR namespace = %s)",
            [cluster_name, resource_type, namespace, namespace],
        )
        return {
            (namespace, name): (uid, version) for namespace, name, uid, version in cursor.fetchall()
        }


def existing_event_ids(cluster_name: str, ids: Iterable[str]) -> set[str]:
    """Which of these event ids are kept already."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT event_id FROM storage_event WHERE cluster_id = %s AND event_id = ANY (%s)",
            [cluster_name, list(ids)],
        )
        return {row[0] for row in cursor.fetchall()}


def _rows_of(cluster: int, scope: WatchScope) -> QuerySet[KindSync]:
    return KindSync.objects.filter(
        cluster_id=cluster,
        group=scope.kind.group,
        plural=scope.kind.plural,
        namespace=scope.namespace,
    )


def _facts(kind: Kind) -> dict[str, object]:
    return {
        "version": kind.version,
        "kind": kind.name,
        "namespaced": kind.namespaced,
        "aliases": list(kind.aliases),
        "resource_type": resource_type(kind),
    }


def save_position(cluster: int, scope: WatchScope, resource_version: str, *, changed: bool) -> None:
    """Note how far a kind is followed."""
    values: dict[str, object] = {
        "resource_version": resource_version,
        **({"changed_at": timezone.now()} if changed else {}),
    }
    _rows_of(cluster, scope).update(**values)


def save_list(cluster: int, scope: WatchScope, resource_version: str, *, exact: bool) -> None:
    """Note a complete list of the kind."""
    values = _facts(scope.kind) | {
        "resource_version": resource_version,
        "listed_at": timezone.now(),
        "exact": exact,
        "error": "",
        "lost_after": "",
    }
    KindSync.objects.update_or_create(
        cluster_id=cluster,
        group=scope.kind.group,
        plural=scope.kind.plural,
        namespace=scope.namespace,
        defaults=values,
    )


def save_aliases(cluster: int, kinds: Iterable[Kind]) -> None:
    """Note the names of kinds that are followed already; a definition may have changed them."""
    aliases = {(kind.group, kind.plural): list(kind.aliases) for kind in kinds}
    for row in KindSync.objects.filter(cluster_id=cluster):
        names = aliases.get((row.group, row.plural), row.aliases)
        if names != row.aliases:
            KindSync.objects.filter(pk=row.pk).update(aliases=names)


def mark_watch_lost(cluster: int, scope: WatchScope, after: str) -> None:
    """Note that the kind must be listed, and after which version nothing is known until then."""
    _rows_of(cluster, scope).update(resource_version="", lost_after=after)


def mark_gap(cluster: int, cluster_name: str, scope: WatchScope, after: str, upto: str) -> None:
    """Note that the log shows only the outcome of what happened after a version, until a list; nothing for a kind that is new to us."""
    kind = scope.kind
    with connection.cursor() as cursor:
        cursor.execute(
            _MARK_GAP,
            [cluster_name, after, upto, cluster, kind.group, kind.plural, scope.namespace],
        )


_MARK_GAP = """
INSERT INTO storage_gap (cluster_id, resource_type, namespace, after_version, to_version, since, until, seq)
SELECT %s, resource_type, namespace, %s, %s, greatest(listed_at, changed_at), clock_timestamp(), nextval('storage_change_seq')
FROM storage_kind_sync
WHERE cluster_id = %s AND "group" = %s AND plural = %s AND namespace = %s AND listed_at IS NOT NULL
"""


def mark_lossy(cluster: int, scope: WatchScope) -> None:
    """From now on the kind is read live: a document of it is not in the store as the cluster has it."""
    _rows_of(cluster, scope).update(exact=False)


def mark_types_lossy(cluster: int, resource_types: Iterable[str]) -> None:
    """The same for kinds by the types that they are stored under, in every namespace."""
    KindSync.objects.filter(cluster_id=cluster, resource_type__in=list(resource_types)).update(
        exact=False
    )


def forget_kind(cluster: int, kind: Kind) -> None:
    """The kind is served no longer."""
    KindSync.objects.filter(cluster_id=cluster, group=kind.group, plural=kind.plural).delete()


def forget_namespace(cluster: int, scope: WatchScope) -> None:
    """The kind is no longer followed in that namespace."""
    _rows_of(cluster, scope).delete()


def forget_namespaces(cluster: int, kind: Kind) -> None:
    """The kind is no longer followed namespace by namespace."""
    rows = KindSync.objects.filter(cluster_id=cluster, group=kind.group, plural=kind.plural)
    rows.exclude(namespace="").delete()


def save_heartbeat(
    cluster: int,
    moment: datetime,
    *,
    revision: str,
    identity: str,
    phases: Mapping[WatchScope, tuple[str, str]],
) -> None:
    """Everything until the moment is committed, for the kinds that are watched; `phases` holds those that changed."""
    ClusterSync.objects.filter(pk=cluster).update(
        beaten_at=moment, revision=revision, identity=identity, error=""
    )
    for scope, (phase, error) in phases.items():
        if phase in UNWATCHED_PHASES:
            KindSync.objects.update_or_create(
                cluster_id=cluster,
                group=scope.kind.group,
                plural=scope.kind.plural,
                namespace=scope.namespace,
                defaults={"phase": phase, "error": error, **_facts(scope.kind)},
            )
        else:
            _rows_of(cluster, scope).update(phase=phase, error=error)


def mark_unreachable(cluster: int, token: int, error: str) -> None:
    """The cluster does not answer; what is stored ages from here."""
    ClusterSync.objects.filter(pk=cluster, token=token).update(error=error[:500])


# --- written by whoever changes objects -------------------------------------------------------------------------------
def touched(cluster: int, path: str) -> None:
    """Objects under an API path were changed through us: until the collector has passed this moment, lists of the kind are live."""
    group, plural = parse_api_path(path)
    try:
        with connection.cursor() as cursor:
            cursor.execute(_TOUCH, [cluster, group, plural])
    except DatabaseError:
        # The change itself is done and must be answered.
        log.exception("a change under %s could not be noted", path)


# A kind that is not collected is read live anyway.
_TOUCH = """
INSERT INTO storage_kind_write (cluster_id, "group", plural, at)
SELECT DISTINCT cluster_id, "group", plural, clock_timestamp() FROM storage_kind_sync
WHERE cluster_id = %s AND "group" = %s AND plural = %s
ON CONFLICT (cluster_id, "group", plural) DO UPDATE SET at = greatest(storage_kind_write.at, EXCLUDED.at)
"""


def parse_api_path(path: str) -> tuple[str, str]:
    """(group, plural) of an API path; plural is "" for what is no object."""
    parts = path.strip("/").split("/")
    if parts[0] == "api":
        group, rest = "", parts[2:]
    elif parts[0] == "apis" and len(parts) > 2:
        group, rest = parts[1], parts[3:]
    else:
        return "", ""
    if len(rest) > 2 and rest[0] == "namespaces":
        rest = rest[2:] if rest[2] not in ("status", "finalize") else rest
    return group, rest[0] if rest else ""


# --- read -------------------------------------------------------------------------------------------------------------
# A watch delivers a little later than the API server answers the writer.
WATCH_LAG = 1.0


@dataclass(frozen=True, slots=True)
class Freshness:
    """How old one kind's copy is, in one namespace or ("") in all: `age` in seconds, None while nothing can be said (not listed yet, or
    not watched now).

    `exact`: the copy holds everything as the cluster has it, and what was written through us is in it.
    """

    kind: Kind
    resource_type: str
    phase: str
    age: float | None
    exact: bool
    resource_version: str
    listed_at: datetime | None
    changed_at: datetime | None
    error: str
    namespace: str

    def serves(self, within: float) -> bool:
        """Whether lists may be answered out of the copy when they may be that many seconds old."""
        return self.exact and self.age is not None and self.age <= within


_FRESHNESS = """
SELECT k.kind, k.plural, k."group", k.version, k.namespaced, k.resource_type, k.phase,
       CASE WHEN k.phase = 'watching' THEN greatest(0, extract(epoch FROM clock_timestamp() - s.beaten_at)::float8) END,
       k.exact AND s.stored_as = c.name AND (w.at IS NULL OR w.at < s.beaten_at - %s * interval '1 second'),
       k.resource_version, k.listed_at, k.changed_at, k.error, k.namespace, k.aliases
FROM storage_kind_sync k
JOIN storage_cluster_sync s ON s.cluster_id = k.cluster_id
JOIN clusters_cluster c ON c.id = k.cluster_id
LEFT JOIN storage_kind_write w ON w.cluster_id = k.cluster_id AND w."group" = k."group" AND w.plural = k.plural
WHERE k.cluster_id = %s
"""


def _read(condition: str, *params: int | str) -> list[Freshness]:
    with connection.cursor() as cursor:
        cursor.execute(_FRESHNESS + condition, [WATCH_LAG, *params])
        rows: list[Any] = cursor.fetchall()
    return [
        Freshness(
            Kind(row[0], row[1], row[2], row[3], row[4], tuple(json.loads(row[14]))),
            row[5],
            row[6],
            row[7],
            bool(row[8]),
            *row[9:14],
        )
        for row in rows
    ]


def freshness(cluster: Cluster) -> list[Freshness]:
    """Of every kind of a cluster that was ever collected, by group, plural and namespace."""
    return _read('ORDER BY k."group", k.plural, k.namespace', cluster.pk)


def freshness_of(cluster: Cluster, kind: Kind) -> list[Freshness]:
    """Of one kind in the version asked for, in the whole cluster and in each namespace where it is followed apart."""
    return _read(
        'AND k."group" = %s AND k.plural = %s AND k.version = %s',
        cluster.pk,
        kind.group,
        kind.plural,
        kind.version,
    )


@dataclass(frozen=True, slots=True)
class Coverage:
    """What of a kind can be read out of the store: in these namespaces (None: wherever it is), `age` seconds old."""

    age: float
    namespaces: frozenset[str] | None = None


def coverage(
    cluster: Cluster, kind: Kind, within: float, *, namespace: str = ""
) -> Coverage | None:
    """What the store may answer for, at most `within` seconds old; None when the cluster has to be asked.

    A list of all namespaces by credentials that may look into some is that of these, without those that refuse the kind: as it is live.
    """
    return covered(freshness_of(cluster, kind), cluster.namespaces, within, namespace=namespace)


def covered(
    copies: Iterable[Freshness],
    accessible: Collection[str],
    within: float,
    *,
    namespace: str = "",
    exact: bool = True,
) -> Coverage | None:
    """The same out of the copies of one kind that are known; `accessible` are the cluster's namespaces. Not `exact`: age alone counts."""

    def age_of(copy: Freshness) -> float | None:
        is_fresh = copy.age is not None and copy.age <= within
        return copy.age if is_fresh and (copy.exact or not exact) else None

    by_namespace = {copy.namespace: copy for copy in copies}
    whole = by_namespace.get("")
    if whole is not None and (age := age_of(whole)) is not None:
        return Coverage(age)
    if namespace:
        parts = [by_namespace.get(namespace)]
    elif whole is not None and whole.phase == KindSync.Phase.REFUSED:
        parts = [by_namespace.get(name) for name in accessible]
    else:
        return None
    ages: dict[str, float] = {}
    for part in parts:
        if part is None:
            return None
        if (age := age_of(part)) is not None:
            ages[part.namespace] = age
        elif part.phase != KindSync.Phase.REFUSED:
            return None
    return Coverage(max(ages.values()), frozenset(ages)) if ages else None
