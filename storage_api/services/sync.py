"""What is known about each cluster's copy in the store: positions, phases and times.

Written by the collector that holds the cluster's lease; read to decide what the store can answer.
"""

import json
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import DatabaseError, connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from clusters.kinds import Kind
from clusters.models import Cluster
from clusters.resource_types import resource_type
from core.database.prepared import PreparedStatement
from core.errors import Conflict
from storage_api.models import ClusterSync, KindSync
from storage_api.query import conditions
from storage_api.query.queries import DocumentQuery
from storage_api.query.shapes import RESOURCE
from storage_api.services import resources

log = logging.getLogger(__name__)
# Kinds in these phases have a row even when they were never listed: readers learn why.
UNWATCHED_PHASES = (
    KindSync.Phase.REFUSED,
    KindSync.Phase.OVER_LIMIT,
)
MAX_ERROR_LENGTH = 500


@dataclass(frozen=True, slots=True)
class WatchScope:
    """What one watch covers: a kind, in one namespace or ("") in the whole cluster."""

    kind: Kind
    namespace: str = ""


class Fenced(Conflict):
    """Another collector has taken the cluster over: nothing was written."""

    code = "fenced"


def fence(cluster: int, token: int) -> None:
    """Keep the lease until the transaction ends; Fenced when another collector has it."""
    with connection.cursor() as cursor:
        # The collector goes on from what was committed: a database that is set to lose its last
        # commits in a crash would leave a hole. The next owner changes the row, and so waits for
        # this lock.
        cursor.execute(
            "SET LOCAL synchronous_commit = on;"
            "SELECT 1 FROM storage_cluster_sync WHERE cluster_id = %s AND token = %s FOR KEY SHARE",
            [cluster, token],
        )
        if cursor.fetchone() is None:
            raise Fenced("another collector holds this cluster")


def database_now() -> datetime:
    """The database's clock, which all times here are read from."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        moment: datetime = cursor.fetchone()[0]
        return moment


# --- written by the collector -------------------------------------------------------------------
def start_collecting(cluster: int, token: int, name: str) -> tuple[str, str, list[KindSync]]:
    """(the newest revision seen before, the cluster's identity then, its kinds).

    Rows under a former name of the cluster are deleted, to be collected again.
    Fenced when another collector has the lease.
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
            row.revision = ""
            row.identity = ""
            kinds = []
        ClusterSync.objects.filter(pk=cluster).update(stored_as=name)
    return row.revision, row.identity, kinds


_REMOVED_CLUSTER = """
SELECT s.cluster_id, s.stored_as
FROM storage_cluster_sync s JOIN clusters_cluster c ON c.id = s.cluster_id
WHERE c.deleted_at IS NOT NULL AND s.stored_as <> ''
ORDER BY s.cluster_id LIMIT 1 FOR UPDATE OF s SKIP LOCKED
"""
_REVOKE_LEASE = """
UPDATE storage_cluster_sync SET token = token + 1, owner = '', stored_as = '' WHERE cluster_id = %s
"""


def delete_removed_cluster() -> str:
    """Delete the collected rows of one cluster that is no longer registered, logged.

    Returns its name, or "" when there is none. A collector that still writes for it is fenced.
    Rows under a name that another cluster has now are left to that one.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_REMOVED_CLUSTER)
        row = cursor.fetchone()
        if row is None:
            return ""
        cluster = int(row[0])
        name = str(row[1])
        cursor.execute(_REVOKE_LEASE, [cluster])
        kinds = KindSync.objects.filter(cluster_id=cluster)
        if not Cluster.objects.filter(deleted_at=None, name=name).exists():
            for kind in kinds:
                sweep(name, kind.resource_type)
        kinds.delete()
    return name


def sweep(cluster_name: str, resource_type: str) -> int:
    """Delete every row of a type in a cluster, logged; how many."""
    query = DocumentQuery(RESOURCE, resources.type_clauses(cluster_name, resource_type))
    return resources.sweep(cluster_name, resource_type, query)


def sweep_namespace(cluster_name: str, resource_type: str, namespace: str) -> int:
    """Delete every row of a type in one namespace of a cluster, logged; how many."""
    of_type = resources.type_clauses(cluster_name, resource_type)
    query = DocumentQuery(
        RESOURCE,
        (*of_type, conditions.equals("namespace", namespace)),
    )
    return resources.sweep(cluster_name, resource_type, query)


_STORED_VERSIONS = """
SELECT namespace, resource_name, coalesce(uid, ''), coalesce(resource_version, '')
FROM storage_resource
WHERE cluster_id = %s AND resource_type = %s AND (%s = '' OR namespace = %s)
"""


def stored_versions(
    cluster_name: str, resource_type: str, namespace: str = ""
) -> dict[tuple[str, str], tuple[str, str]]:
    """(namespace, name) -> (uid, resourceVersion) of a type's rows, in one namespace or in all.

    Columns alone: documents are not read.
    """
    params = [cluster_name, resource_type, namespace, namespace]
    with connection.cursor() as cursor:
        cursor.execute(_STORED_VERSIONS, params)
        return {
            (row_namespace, name): (uid, version)
            for row_namespace, name, uid, version in cursor.fetchall()
        }


def existing_event_ids(cluster_name: str, ids: Iterable[str]) -> set[str]:
    """Which of these event ids are stored already."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT event_id FROM storage_event WHERE cluster_id = %s AND event_id = ANY (%s)",
            [cluster_name, list(ids)],
        )
        return {row[0] for row in cursor.fetchall()}


def _scope_rows(cluster: int, scope: WatchScope) -> QuerySet[KindSync]:
    return KindSync.objects.filter(
        cluster_id=cluster,
        group=scope.kind.group,
        plural=scope.kind.plural,
        namespace=scope.namespace,
    )


def _save_row(cluster: int, scope: WatchScope, **values: object) -> None:
    """Create or update the row of a scope, with what its kind says of itself."""
    kind = scope.kind
    KindSync.objects.update_or_create(
        cluster_id=cluster,
        group=kind.group,
        plural=kind.plural,
        namespace=scope.namespace,
        defaults={
            "version": kind.version,
            "kind": kind.name,
            "namespaced": kind.namespaced,
            "aliases": list(kind.aliases),
            "resource_type": resource_type(kind),
            **values,
        },
    )


_SAVE_POSITIONS = PreparedStatement("""
UPDATE storage_kind_sync k SET resource_version = position.version,
  changed_at = CASE WHEN position.changed THEN %s::timestamptz ELSE k.changed_at END
FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::boolean[])
  AS position ("group", plural, namespace, version, changed)
WHERE k.cluster_id = %s AND k."group" = position."group" AND k.plural = position.plural
  AND k.namespace = position.namespace
""")


def save_positions(
    cluster: int, versions: Mapping[WatchScope, str], changed: Collection[WatchScope]
) -> None:
    """Save how far kinds are followed; `changed`: their rows have changed since the last time."""
    scopes = list(versions)
    params = [
        timezone.now(),
        [scope.kind.group for scope in scopes],
        [scope.kind.plural for scope in scopes],
        [scope.namespace for scope in scopes],
        list(versions.values()),
        [scope in changed for scope in scopes],
        cluster,
    ]
    with connection.cursor() as cursor:
        _SAVE_POSITIONS.execute(cursor, params)


def save_list(
    cluster: int,
    scope: WatchScope,
    resource_version: str,
    *,
    exact: bool,
) -> None:
    """Save that the kind was listed completely."""
    _save_row(
        cluster,
        scope,
        resource_version=resource_version,
        listed_at=timezone.now(),
        exact=exact,
        error="",
        lost_after="",
    )


def save_aliases(cluster: int, kinds: Iterable[Kind]) -> None:
    """Save the names of kinds that are followed; a CustomResourceDefinition may change them."""
    aliases = {(kind.group, kind.plural): list(kind.aliases) for kind in kinds}
    for row in KindSync.objects.filter(cluster_id=cluster):
        names = aliases.get((row.group, row.plural), row.aliases)
        if names != row.aliases:
            KindSync.objects.filter(pk=row.pk).update(aliases=names)


def invalidate_position(cluster: int, scope: WatchScope, after: str) -> None:
    """Save that the kind must be listed; what happened after version `after` is not known."""
    _scope_rows(cluster, scope).update(resource_version="", lost_after=after)


_MARK_GAP = """
INSERT INTO storage_gap
  (cluster_id, resource_type, namespace, after_version, to_version, since, until, seq)
SELECT %s, resource_type, namespace, %s, %s, greatest(listed_at, changed_at), clock_timestamp(),
       nextval('storage_change_seq')
FROM storage_kind_sync
WHERE cluster_id = %s AND "group" = %s AND plural = %s AND namespace = %s AND listed_at IS NOT NULL
"""


def mark_gap(
    cluster: int,
    cluster_name: str,
    scope: WatchScope,
    after: str,
    upto: str,
) -> None:
    """Save that of what happened between two versions the log shows only the outcome.

    Nothing is saved for a kind that was never listed before: nothing was missed.
    """
    kind = scope.kind
    params: list[str | int] = [
        cluster_name,
        after,
        upto,
        cluster,
        kind.group,
        kind.plural,
        scope.namespace,
    ]
    with connection.cursor() as cursor:
        cursor.execute(_MARK_GAP, params)


def mark_lossy(cluster: int, scope: WatchScope) -> None:
    """Have the kind read live: the store lacks a document of it as the cluster has it."""
    _scope_rows(cluster, scope).update(exact=False)


def mark_types_lossy(cluster: int, resource_types: Iterable[str]) -> None:
    """As `mark_lossy`, for the types that kinds are stored under, in every namespace."""
    rows = KindSync.objects.filter(cluster_id=cluster, resource_type__in=list(resource_types))
    rows.update(exact=False)


def forget_kind(cluster: int, kind: Kind) -> None:
    """Delete what is known of a kind that is no longer served."""
    KindSync.objects.filter(cluster_id=cluster, group=kind.group, plural=kind.plural).delete()


def forget_namespace(cluster: int, scope: WatchScope) -> None:
    """Delete what is known of a kind in a namespace where it is no longer followed."""
    _scope_rows(cluster, scope).delete()


def forget_namespaces(cluster: int, kind: Kind) -> None:
    """Delete what is known of a kind in single namespaces: the whole cluster is followed now."""
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
    """Save that everything until `moment` is committed, for the kinds that are watched.

    `phases`: scope -> (phase, error) of those that changed.
    """
    ClusterSync.objects.filter(pk=cluster).update(
        beaten_at=moment,
        revision=revision,
        identity=identity,
        error="",
    )
    for scope, (phase, error) in phases.items():
        if phase in UNWATCHED_PHASES:
            _save_row(cluster, scope, phase=phase, error=error)
        else:
            _scope_rows(cluster, scope).update(phase=phase, error=error)


def mark_unreachable(cluster: int, token: int, error: str) -> None:
    """Save why the cluster does not answer; what is stored ages from here."""
    rows = ClusterSync.objects.filter(pk=cluster, token=token)
    rows.update(error=error[:MAX_ERROR_LENGTH])


# --- written by those who change objects --------------------------------------------------------
# A kind that is not collected has no row here: it is read live anyway.
_RECORD_WRITE = """
INSERT INTO storage_kind_write (cluster_id, "group", plural, at)
SELECT DISTINCT cluster_id, "group", plural, clock_timestamp() FROM storage_kind_sync
WHERE cluster_id = %s AND "group" = %s AND plural = %s
ON CONFLICT (cluster_id, "group", plural)
  DO UPDATE SET at = greatest(storage_kind_write.at, EXCLUDED.at)
"""


def record_write(cluster: int, path: str) -> None:
    """Save that objects under an API path were changed through us.

    Until the collector has passed this time, lists of the kind are read live.
    """
    group, plural = parse_api_path(path)
    try:
        with connection.cursor() as cursor:
            cursor.execute(_RECORD_WRITE, [cluster, group, plural])
    except DatabaseError:
        # The change itself is done and must be answered.
        log.exception("a change under %s could not be noted", path)


def parse_api_path(path: str) -> tuple[str, str]:
    """(group, plural) of an API path; plural is "" for a path that names no resource."""
    parts = path.strip("/").split("/")
    if parts[0] == "api":
        group = ""
        rest = parts[2:]
    elif parts[0] == "apis" and len(parts) > 2:
        group = parts[1]
        rest = parts[3:]
    else:
        return "", ""
    # /namespaces/{name}/pods is about pods; /namespaces/{name}/status about the namespace.
    is_in_namespace = len(rest) > 2 and rest[0] == "namespaces"
    if is_in_namespace and rest[2] not in ("status", "finalize"):
        rest = rest[2:]
    return group, rest[0] if rest else ""


# --- read ---------------------------------------------------------------------------------------
# Seconds by which a watch may deliver later than the API server answers the writer.
WATCH_LAG = 1.0


@dataclass(frozen=True, slots=True)
class CopyState:
    """How old a copy of a kind is, in one namespace or ("") in the whole cluster.

    `age`: seconds, or None while nothing can be said (not listed yet, or not watched now).
    `exact`: the copy holds everything as the cluster has it, also what was written through us.
    """

    namespace: str
    phase: str
    age: float | None
    exact: bool

    def serves(self, within: float) -> bool:
        """Whether the copy may answer lists that may be that many seconds old."""
        return self.exact and self.age is not None and self.age <= within


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness(CopyState):
    """The state of a kind's copy with all that is known of it."""

    kind: Kind
    resource_type: str
    resource_version: str
    listed_at: datetime | None
    changed_at: datetime | None
    error: str


_STATE = """
  k.namespace, k.phase,
  CASE WHEN k.phase = 'watching'
    THEN greatest(0, extract(epoch FROM clock_timestamp() - s.beaten_at)::float8) END,
  k.exact AND s.stored_as = c.name
    AND (w.at IS NULL OR w.at < s.beaten_at - %s * interval '1 second')
"""
_COPIES = """
FROM storage_kind_sync k
JOIN storage_cluster_sync s ON s.cluster_id = k.cluster_id
JOIN clusters_cluster c ON c.id = k.cluster_id
LEFT JOIN storage_kind_write w
  ON w.cluster_id = k.cluster_id AND w."group" = k."group" AND w.plural = k.plural
"""
_FRESHNESS = """
SELECT k.kind, k.plural, k."group", k.version, k.namespaced, k.aliases,
       k.resource_type, k.resource_version, k.listed_at, k.changed_at, k.error, k.cluster_id,
"""
# One value, to stand in a statement that reads rows: both are then of one moment.
COPY_STATES = f"""(
  SELECT coalesce(json_agg(json_build_array({_STATE})), '[]'::json)::text {_COPIES}
  WHERE k.cluster_id = %s AND k."group" = %s AND k.plural = %s AND k.version = %s
)"""  # all parts are constants


def copy_state_params(cluster: Cluster, kind: Kind) -> list[Any]:
    """The parameters of COPY_STATES."""
    return [WATCH_LAG, cluster.pk, kind.group, kind.plural, kind.version]


def parse_copy_states(text: str | bytes) -> list[CopyState]:
    """The states that COPY_STATES has read, for `coverage_of_copies`."""
    return [
        CopyState(namespace, phase, age, bool(exact))
        for namespace, phase, age, exact in json.loads(text)
    ]


def _read_freshness(
    condition: str, params: Sequence[Any], columns: str = ""
) -> list[tuple[Any, ...]]:
    """(cluster's id, its copy of a kind, and the further `columns`) of each row.

    `condition` is the SQL after the tables, `columns` the SQL after the own ones.
    """
    with connection.cursor() as cursor:
        statement = f"{_FRESHNESS}{_STATE}{columns}{_COPIES}{condition}"
        cursor.execute(statement, [WATCH_LAG, *params])
        rows: list[Any] = cursor.fetchall()
    copies: list[tuple[Any, ...]] = []
    for (
        name,
        plural,
        group,
        version,
        namespaced,
        aliases,
        *values,
    ) in rows:
        kind = Kind(
            name,
            plural,
            group,
            version,
            namespaced,
            tuple(json.loads(aliases)),
        )
        stored_as, resource_version, listed_at, changed_at, error, pk, *state = values
        namespace, phase, age, exact, *extra = state
        copy = Freshness(
            namespace=namespace,
            phase=phase,
            age=age,
            exact=bool(exact),
            kind=kind,
            resource_type=stored_as,
            resource_version=resource_version,
            listed_at=listed_at,
            changed_at=changed_at,
            error=error,
        )
        copies.append((pk, copy, *extra))
    return copies


def list_freshness(cluster: Cluster) -> list[Freshness]:
    """Every kind of a cluster that was ever collected, by group, plural and namespace."""
    return freshness_by_cluster([cluster.pk]).get(cluster.pk, [])


@dataclass(frozen=True, slots=True)
class CollectedKinds:
    """What is collected anywhere, and what of it may be behind.

    `kinds`: each once, in the version of its newest row. `clusters`: the ids of those in which
    anything is collected. `late`: cluster's id -> the copies of kinds that are not followed in the
    whole cluster now, or whose copy is too old.
    """

    kinds: list[Kind]
    clusters: frozenset[int]
    late: dict[int, list[Freshness]]


# Of the many copies that are fresh only one row for each kind is read.
_COLLECTED = """
JOIN (
  SELECT max(m.id) AS id, m."group", m.plural, array_agg(DISTINCT m.cluster_id) AS clusters
  FROM storage_kind_sync m JOIN clusters_cluster x ON x.id = m.cluster_id
  WHERE x.deleted_at IS NULL GROUP BY m."group", m.plural
) member ON member."group" = k."group" AND member.plural = k.plural
WHERE c.deleted_at IS NULL AND (
  k.id = member.id OR NOT (
    k.namespace = '' AND k.phase = 'watching' AND s.beaten_at IS NOT NULL
    AND extract(epoch FROM clock_timestamp() - s.beaten_at) <= %s))
ORDER BY k."group", k.plural, k.namespace
"""


def collected_kinds(within: float) -> CollectedKinds:
    """What is collected in registered clusters; late is what is older than `within` seconds."""
    kinds: dict[tuple[str, str], Kind] = {}
    clusters: set[int] = set()
    copies: dict[int, list[Freshness]] = {}
    columns = ", k.id = member.id, CASE WHEN k.id = member.id THEN member.clusters END"
    for pk, copy, *extra in _read_freshness(_COLLECTED, [within], columns):
        is_newest, members = extra
        if is_newest:
            kinds[copy.kind.group, copy.kind.plural] = copy.kind
            clusters.update(members)
        if copy.age is None or copy.age > within or copy.namespace:
            copies.setdefault(pk, []).append(copy)
    return CollectedKinds(list(kinds.values()), frozenset(clusters), copies)


def kind_freshness(cluster: Cluster, kind: Kind) -> list[Freshness]:
    """One kind, in its version: in the whole cluster, and where it is followed by namespace."""
    return freshness_by_cluster([cluster.pk], kind).get(cluster.pk, [])


def freshness_by_cluster(
    clusters: Collection[int], kind: Kind | None = None
) -> dict[int, list[Freshness]]:
    """Cluster's id -> as `kind_freshness`, or (without a kind) as `list_freshness`.

    Clusters without copies are left out.
    """
    condition = "WHERE k.cluster_id = ANY (%s)"
    params: list[Any] = [list(clusters)]
    if kind is not None:
        condition += ' AND k."group" = %s AND k.plural = %s AND k.version = %s'
        params += [kind.group, kind.plural, kind.version]
    condition += ' ORDER BY k.cluster_id, k."group", k.plural, k.namespace'
    by_cluster: dict[int, list[Freshness]] = {}
    for pk, copy in _read_freshness(condition, params):
        by_cluster.setdefault(pk, []).append(copy)
    return by_cluster


@dataclass(frozen=True, slots=True)
class Coverage:
    """What of a kind can be read from the store.

    `namespaces`: which ones; None is all. `age` is in seconds.
    """

    age: float
    namespaces: frozenset[str] | None = None


def coverage(
    cluster: Cluster,
    kind: Kind,
    within: float,
    *,
    namespace: str = "",
) -> Coverage | None:
    """What the store may answer, at most `within` seconds old; None when the cluster has to.

    Where credentials may read some namespaces only, a list of all namespaces is the list of
    these, without those that refuse the kind: as it is when it is read live.
    """
    copies = kind_freshness(cluster, kind)
    return coverage_of_copies(copies, cluster.namespaces, within, namespace=namespace)


def coverage_of_copies(
    copies: Iterable[CopyState],
    accessible: Collection[str],
    within: float,
    *,
    namespace: str = "",
    exact: bool = True,
) -> Coverage | None:
    """As `coverage`, from the copies of one kind; `accessible` are the cluster's namespaces.

    Not `exact`: the age alone counts.
    """

    def usable_age(copy: CopyState) -> float | None:
        is_fresh = copy.age is not None and copy.age <= within
        return copy.age if is_fresh and (copy.exact or not exact) else None

    by_namespace = {copy.namespace: copy for copy in copies}
    whole = by_namespace.get("")
    if whole is not None and (age := usable_age(whole)) is not None:
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
        if (age := usable_age(part)) is not None:
            ages[part.namespace] = age
        elif part.phase != KindSync.Phase.REFUSED:
            return None
    if not ages:
        # Every namespace refuses the kind: the cluster says so better than we do.
        return None
    return Coverage(max(ages.values()), frozenset(ages))
