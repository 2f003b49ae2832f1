"""Which collector collects which cluster: leases in the database.

Each lease has a token that grows with every change of hands, so that a former owner that still
writes is refused (see `services.sync.fence`).
"""

from dataclasses import dataclass

from django.db import connection, transaction

from clusters import registry


@dataclass(frozen=True, slots=True)
class Lease:
    """One cluster that this collector holds.

    `token` proves it to the database; `namespaces` are the cluster's accessible ones.
    """

    cluster: int
    name: str
    kubeconfig: str
    token: int
    namespaces: tuple[str, ...] = ()


_SIGN_ON = """
INSERT INTO storage_collector (name, seen_at) VALUES (%s, clock_timestamp())
ON CONFLICT (name) DO UPDATE SET seen_at = EXCLUDED.seen_at
"""
_REMOVE_DEAD = """
DELETE FROM storage_collector WHERE seen_at < clock_timestamp() - %s * interval '1 second'
"""
_ADD_MISSING_ROWS = """
INSERT INTO storage_cluster_sync
  (cluster_id, owner, token, expires_at, stored_as, revision, identity, error)
SELECT id, '', 0, clock_timestamp(), '', '', '', '' FROM unnest(%s::bigint[]) AS registered (id)
ON CONFLICT (cluster_id) DO NOTHING
"""
# Also those that have run out, as long as nobody has claimed them: with another token everything
# would be collected from the start.
_RENEW = """
UPDATE storage_cluster_sync SET expires_at = clock_timestamp() + %s * interval '1 second'
WHERE owner = %s RETURNING cluster_id, token
"""
# SKIP LOCKED waits for no writer of the former owner: a row that such a writer still holds is
# left for the next turn.
_CLAIM = """
UPDATE storage_cluster_sync
SET owner = %s, token = token + 1, expires_at = clock_timestamp() + %s * interval '1 second'
WHERE cluster_id IN (
  SELECT cluster_id FROM storage_cluster_sync
  WHERE expires_at <= clock_timestamp() AND cluster_id = ANY (%s)
  ORDER BY cluster_id LIMIT %s FOR UPDATE SKIP LOCKED
) RETURNING cluster_id, token
"""
_RELEASE = """
UPDATE storage_cluster_sync SET owner = '', expires_at = clock_timestamp()
WHERE owner = %s AND cluster_id = ANY (%s)
"""
_RELEASE_ALL = """
UPDATE storage_cluster_sync SET owner = '', expires_at = clock_timestamp() WHERE owner = %s
"""
_COUNT_ALIVE = """
SELECT count(*) FROM storage_collector
WHERE seen_at > clock_timestamp() - %s * interval '1 second'
"""


def renew_leases(collector: str, *, seconds: float) -> list[Lease]:
    """The clusters that this collector holds for the next `seconds`, sorted by id.

    Renews its leases, claims its fair share of the free clusters and releases what is more.
    """
    registered = {cluster.pk: cluster for cluster in registry.clusters()}
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_SIGN_ON, [collector])
        cursor.execute(_REMOVE_DEAD, [seconds * 10])
        cursor.execute(_ADD_MISSING_ROWS, [list(registered)])
        cursor.execute(_RENEW, [seconds, collector])
        tokens = {pk: token for pk, token in cursor.fetchall() if pk in registered}
        cursor.execute(_COUNT_ALIVE, [seconds])
        collectors = max(1, cursor.fetchone()[0])
        # Rounded up: otherwise some clusters would have no collector.
        fair_share = -(-len(registered) // collectors)
        if surplus := sorted(tokens)[fair_share:]:
            cursor.execute(_RELEASE, [collector, surplus])
            tokens = {pk: token for pk, token in tokens.items() if pk not in surplus}
        missing = max(0, fair_share - len(tokens))
        cursor.execute(_CLAIM, [collector, seconds, list(registered), missing])
        tokens.update(dict(cursor.fetchall()))
    leases = []
    for pk, token in sorted(tokens.items()):
        cluster = registered[pk]
        namespaces = tuple(cluster.namespaces)
        leases.append(
            Lease(
                pk,
                cluster.name,
                cluster.kubeconfig,
                token,
                namespaces,
            )
        )
    return leases


def release_all(collector: str) -> None:
    """Release every cluster and sign off, so that others need not wait for the leases to end."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_RELEASE_ALL, [collector])
        cursor.execute(
            "DELETE FROM storage_collector WHERE name = %s",
            [collector],
        )
