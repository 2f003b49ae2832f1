"""The audit trail: writing it, reading it, letting it expire. Never a secret goes in."""

import datetime
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson
from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from access import policy, redaction
from access.models import AuditEntry
from clusters.models import Cluster
from core.errors import DomainError, Forbidden, Unauthenticated
from core.times import rfc3339

BATCH = 2000
MOST_WRITES = 5000
EXACT_FILTERS = ("kind", "namespace", "name", "verb", "result", "dialect", "request_id")


# --- writing --------------------------------------------------------------------------------------------------------
def build_entry(deed: Any, who: Mapping[str, Any], error: DomainError | None) -> AuditEntry:
    """The line for one deed (an `Act`, whether it was allowed, and what was noted about it)."""
    act, facts = deed.act, deed.facts
    cluster = _cluster(act)
    named = facts.get("username")
    return AuditEntry(
        **{**who, **({"username": clean(named)[:150]} if named is not None else {})},
        verb=clean(act.verb)[:64],
        cluster_pk=cluster.pk if cluster else None,
        cluster=clean(cluster.name if cluster else act.cluster),
        group=clean(act.group),
        kind=clean(act.kind),
        namespace=clean(act.namespace),
        name=clean(facts.get("name") or act.name),
        result=result_of(deed, error),
        reason=error.code if error else "",
        diff=_strip_nul(
            redaction.diff(facts.get("before"), facts.get("after")) if "after" in facts else []
        ),
        details=_strip_nul(
            {**(facts.get("details") or {}), **_written_version(facts.get("after"))}
        ),
    )


def _written_version(after: bytes | None) -> dict[str, str]:
    """Which version of the object the act made, so that the store's history finds its author."""
    try:
        metadata = orjson.loads(after or b"null")["metadata"]
        found = {"uid": metadata["uid"], "resource_version": metadata["resourceVersion"]}
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return {}
    return {name: clean(text) for name, text in found.items()}


def _cluster(act: Any) -> Cluster | None:
    """The cluster meant, one that was just removed too; the store's clusterIds are no registered clusters."""
    reference = clean(act.cluster)
    if not reference or act.kind == "storage":
        return None
    is_id = reference.isascii() and reference.isdigit() and len(reference) < 18
    named = Q(pk=int(reference)) if is_id else Q(name__iexact=reference)
    return (
        Cluster.objects.filter(named)
        .defer("kubeconfig")
        .order_by(F("deleted_at").desc(nulls_first=True))
        .first()
    )


def clean(text: object) -> str:
    """Text that the column takes: no NUL, not too long."""
    return str(text or "").replace("\x00", "")[:253]


def _strip_nul(value: Any) -> Any:
    """JSON data as PostgreSQL takes it. A Kubernetes object may hold NUL characters, and its line must not be lost for them."""
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd")
    if isinstance(value, Mapping):
        return {_strip_nul(key): _strip_nul(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strip_nul(item) for item in value]
    return value


def result_of(deed: Any, error: DomainError | None) -> str:
    """success, denied or failed."""
    if not deed.allowed or isinstance(error, Forbidden | Unauthenticated):
        return AuditEntry.Result.DENIED
    return AuditEntry.Result.FAILED if error else AuditEntry.Result.SUCCESS


def is_recorded(deed: Any) -> bool:
    """Whether the deed leaves a line."""
    if deed.act.kind == "storage" and not settings.AUDIT_STORE_WRITES:
        return False
    return policy.is_audited(deed.act.verb, deed.act.kind, deed.act.group)


def append(entries: Sequence[AuditEntry]) -> None:
    """Add lines, all or none. One alone is one statement: a transaction around it would be two exchanges more for each write."""
    if len(entries) == 1:
        entries[0].save(force_insert=True)
    else:
        AuditEntry.objects.bulk_create(entries)


# --- reading --------------------------------------------------------------------------------------------------------
def search(
    filters: Mapping[str, Any], *, clusters: Sequence[int] | None = None
) -> QuerySet[AuditEntry]:
    """Entries that fit all filters, newest first; `clusters` narrows to what the caller may see."""
    found = (
        AuditEntry.objects.all()
        if clusters is None
        else AuditEntry.objects.filter(cluster_pk__in=clusters)
    )
    for field in EXACT_FILTERS:
        if value := filters.get(field):
            found = found.filter(**{field: value})
    if user := filters.get("user"):
        found = found.filter(username=user)
    if cluster := filters.get("cluster"):
        is_id = cluster.isascii() and cluster.isdigit() and len(cluster) < 18
        found = found.filter(
            Q(cluster=cluster) | Q(cluster_pk=int(cluster)) if is_id else Q(cluster=cluster)
        )
    if since := filters.get("since"):
        found = found.filter(at__gte=since)
    if until := filters.get("until"):
        found = found.filter(at__lt=until)
    return found.order_by("-id")


def iterate(found: QuerySet[AuditEntry]) -> Iterator[AuditEntry]:
    """All of them, a batch at a time, so that an export of years needs little memory."""
    before: int | None = None
    while batch := list((found if before is None else found.filter(id__lt=before))[:BATCH]):
        yield from batch
        before = batch[-1].pk


def writes(
    cluster: int,
    kind: tuple[str, str],
    names: Iterable[tuple[str, str]],
    *,
    since: datetime.datetime,
    until: datetime.datetime,
) -> list[dict[str, Any]]:
    """What was done through us to some objects of a kind (group, plural) in [since, until], newest first.

    {"at","user","verb","namespace","name","uid","resource_version"}; uid and version are "" where they were not noted.
    """
    wanted = set(names)
    group, plural = kind
    found = AuditEntry.objects.filter(
        cluster_pk=cluster,
        group=group,
        kind=plural,
        at__gte=since,
        at__lte=until,
        result=AuditEntry.Result.SUCCESS,
    ).filter(
        name__in={name for _, name in wanted}, namespace__in={namespace for namespace, _ in wanted}
    )
    rows = found.order_by("-id").values("at", "username", "verb", "namespace", "name", "details")[
        :MOST_WRITES
    ]
    return [
        {
            "at": row["at"],
            "user": row["username"],
            "verb": row["verb"],
            "namespace": row["namespace"],
            "name": row["name"],
        }
        | {key: str(row["details"].get(key, "")) for key in ("uid", "resource_version")}
        for row in rows
        if (row["namespace"], row["name"]) in wanted
        and policy.is_write(row["verb"])
        and not row["details"].get("dry_run")
    ]


def represent(row: AuditEntry) -> dict[str, Any]:
    """An entry as plain data."""
    return {
        "id": row.pk,
        "at": rfc3339(row.at, digits=3),
        "user": row.username or None,
        "token": row.token or None,
        "address": row.address,
        "request_id": row.request_id,
        "dialect": row.dialect,
        "verb": row.verb,
        "cluster_id": row.cluster_pk,
        "cluster": row.cluster or None,
        "group": row.group,
        "kind": row.kind,
        "namespace": row.namespace or None,
        "name": row.name or None,
        "result": row.result,
        "reason": row.reason or None,
        "diff": row.diff,
        "details": row.details,
    }


# --- letting it expire ----------------------------------------------------------------------------------------------
def expire(*, days: int) -> int:
    """Delete what is older; the trigger lets only this through. 0 days keeps everything."""
    if days <= 0:
        return 0
    limit, gone = timezone.now() - datetime.timedelta(days=days), 0
    while True:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(
                "SELECT set_config('kubegale.audit_expiry', %s, true)", [limit.isoformat()]
            )
            cursor.execute(
                "DELETE FROM access_auditentry WHERE id IN (SELECT id FROM access_auditentry WHERE at < %s ORDER BY at LIMIT %s)",
                [limit, BATCH],
            )
            count = int(cursor.rowcount)
        gone += count
        if count < BATCH:
            return gone
