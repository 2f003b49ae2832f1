"""Who collects which cluster: leases in the database, each with a token that fences off a former owner."""

from dataclasses import dataclass

from django.db import connection, transaction

from clusters import registry


@dataclass(frozen=True, slots=True)
class Lease:
    """One cluster that this collector holds; `token` proves it to the database, `namespaces` are its accessible ones."""

    cluster: int
    name: str
    kubeconfig: str
    token: int
    namespaces: tuple[str, ...] = ()


_SEEN = """
INSERT INTO storage_collector (name, seen_at) VALUES (%s, clock_timestamp())
ON CONFLICT (name) DO UPDATE SET seen_at = EXCLUDED.seen_at
"""
_BURY = "DELETE FROM storage_collector WHERE seen_at < clock_timestamp() - %s * interval '1 second'"
_ROWS = """
INSERT INTO storage_cluster_sync (cluster_id, owner, token, expires_at, stored_as, revision, identity, error)
SELECT id, '', 0, clock_timestamp(), '', '', '', '' FROM unnest(%s::bigint[]) AS registered (id)
ON CONFLICT (cluster_id) DO NOTHING
"""
_RENEW = """
UPDATE storage_cluster_sync SET expires_at = clock_timestamp() + %s * interval '1 second'
WHERE owner = %s AND expires_at > clock_timestamp() RETURNING cluster_id, token
"""
# FOR UPDATE waits for no writer of the former owner: a row that one still holds is left for the next turn.
_CLAIM = """
UPDATE storage_cluster_sync SET owner = %s, token = token + 1, expires_at = clock_timestamp() + %s * interval '1 second'
WHERE cluster_id IN (
  SELECT cluster_id FROM storage_cluster_sync WHERE expires_at <= clock_timestamp() AND cluster_id = ANY (%s)
  ORDER BY cluster_id LIMIT %s FOR UPDATE SKIP LOCKED
) RETURNING cluster_id, token
"""
_RELEASE = "UPDATE storage_cluster_sync SET owner = '', expires_at = clock_timestamp() WHERE owner = %s AND cluster_id = ANY (%s)"
_ALIVE = "SELECT count(*) FROM storage_collector WHERE seen_at > clock_timestamp() - %s * interval '1 second'"


def renew_leases(me: str, *, seconds: float) -> list[Lease]:
    """Renew what this collector holds, claim its fair share of what nobody holds, give away what is more than that."""
    registered = {cluster.pk: cluster for cluster in registry.clusters()}
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_SEEN, [me])
        cursor.execute(_BURY, [seconds * 10])
        cursor.execute(_ROWS, [list(registered)])
        cursor.execute(_RENEW, [seconds, me])
        held = {pk: token for pk, token in cursor.fetchall() if pk in registered}
        cursor.execute(_ALIVE, [seconds])
        fair = -(-len(registered) // max(1, cursor.fetchone()[0]))
        if surplus := sorted(held)[fair:]:
            cursor.execute(_RELEASE, [me, surplus])
            held = {pk: token for pk, token in held.items() if pk not in surplus}
        cursor.execute(_CLAIM, [me, seconds, list(registered), max(0, fair - len(held))])
        held.update(dict(cursor.fetchall()))
    return [
        Lease(
            pk,
            registered[pk].name,
            registered[pk].kubeconfig,
            token,
            tuple(registered[pk].namespaces),
        )
        for pk, token in sorted(held.items())
    ]


def release_all(me: str) -> None:
    """Give every cluster back and sign off."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "UPDATE storage_cluster_sync SET owner = '', expires_at = clock_timestamp() WHERE owner = %s",
            [me],
        )
        cursor.execute("DELETE FROM storage_collector WHERE name = %s", [me])
