"""The audit trail: writing, reading and retention. It never contains a secret."""

import datetime
import json
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
from core import row_cache
from core.database.prepared import PreparedStatement
from core.errors import DomainError, Forbidden, Unauthenticated
from core.row_cache import Topic
from core.times import rfc3339

# Rows that one statement of an export or of retention handles.
BATCH = 2000
MOST_WRITES = 5000
# Filters that are compared with the column of their name.
EXACT_FILTERS = ("kind", "namespace", "name", "verb", "result", "dialect", "request_id")


# --- writing --------------------------------------------------------------------------------------
def build_entry(event: Any, who: Mapping[str, Any], error: DomainError | None) -> AuditEntry:
    """The entry for one event of a request, not saved yet.

    `event` has the `AccessAttributes`, whether they were allowed, and what the handler noted.
    `who` are the columns that describe the caller, `error` is what the request answered.
    """
    act = event.act
    facts = event.facts
    # Of many acts in one request each may end in its own way.
    error = facts.get("error") or error
    cluster = _find_cluster(act)
    columns = dict(who)
    if facts.get("username") is not None:
        # Sign-in and order secrets: the name is known to the handler only.
        columns["username"] = clean(facts["username"])[:150]
    diff: list[dict[str, Any]] = []
    if "after" in facts:
        diff = redaction.diff(facts.get("before"), facts["after"])
    details = {**(facts.get("details") or {}), **written_version(facts.get("after"))}
    return AuditEntry(
        **columns,
        verb=clean(act.verb)[:64],
        cluster_pk=cluster.pk if cluster else None,
        cluster=clean(cluster.name if cluster else act.cluster),
        group=clean(act.group),
        kind=clean(act.kind),
        namespace=clean(act.namespace),
        name=clean(facts.get("name") or act.name),
        result=result_of(event, error),
        reason=error.code if error else "",
        diff=_strip_nul(diff),
        details=_strip_nul(details),
    )


def written_version(after: bytes | None) -> dict[str, str]:
    """{"uid","resource_version"} of the object as written; {} without one.

    With it the store's history finds the author of a version.
    """
    try:
        metadata = orjson.loads(after or b"null")["metadata"]
        version = {"uid": metadata["uid"], "resource_version": metadata["resourceVersion"]}
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return {}
    return {name: clean(text) for name, text in version.items()}


def _find_cluster(act: Any) -> Cluster | None:
    """The cluster of an act, also one that was just removed; None for the store's clusterIds."""
    reference = clean(act.cluster)
    if not reference or act.kind == "storage":
        return None

    def read() -> Cluster | None:
        matches = Q(pk=int(reference)) if _is_id(reference) else Q(name__iexact=reference)
        return (
            Cluster.objects.filter(matches)
            # Decrypting a kubeconfig for every entry would cost more than the entry.
            .defer("kubeconfig")
            .order_by(F("deleted_at").desc(nulls_first=True))
            .first()
        )

    return row_cache.read_row(Topic.CLUSTERS, ("audited", reference), read)


def _is_id(reference: str) -> bool:
    # Short enough for PostgreSQL's bigint.
    return reference.isascii() and reference.isdigit() and len(reference) < 18


def clean(text: object) -> str:
    """Text that fits the column: no NUL characters, at most 253 characters."""
    return str(text or "").replace("\x00", "")[:253]


def _strip_nul(value: Any) -> Any:
    """JSON data without NUL characters, which PostgreSQL's jsonb refuses.

    A Kubernetes object may contain them, and its entry must not be lost for that.
    """
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd")
    if isinstance(value, Mapping):
        return {_strip_nul(key): _strip_nul(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strip_nul(item) for item in value]
    return value


def result_of(event: Any, error: DomainError | None) -> str:
    """success, denied or failed."""
    if not event.allowed or isinstance(error, Forbidden | Unauthenticated):
        return AuditEntry.Result.DENIED
    return AuditEntry.Result.FAILED if error else AuditEntry.Result.SUCCESS


def is_recorded(event: Any) -> bool:
    """Whether the event leaves an entry in the audit trail."""
    if event.act.kind == "storage" and not settings.AUDIT_STORE_WRITES:
        return False
    return policy.is_audited(event.act.verb, event.act.kind, event.act.group)


def append(entries: Sequence[AuditEntry]) -> None:
    """Add entries, all or none.

    In one statement and one round trip, which each write through us waits for: the model's own
    `save` would take longer to write the statement than the database to run it.
    """
    at = timezone.now()
    values: list[Any] = []
    for entry in entries:
        values += column_values(entry, at)
    with connection.cursor() as cursor:
        if len(entries) == 1:
            INSERT_ONE.execute(cursor, values)
        else:
            cursor.execute(_INSERT + ", ".join([_ROW] * len(entries)), values)


def column_values(entry: AuditEntry, at: datetime.datetime) -> list[Any]:
    """What INSERT_ONE takes for an entry that is written at this time."""
    entry.at = at
    return [_column_value(entry, name) for name in _COLUMNS]


# Of the model, without its id.
_COLUMNS = tuple(str(field.column) for field in AuditEntry._meta.concrete_fields[1:])
_NAMES = ", ".join(f'"{name}"' for name in _COLUMNS)
_INSERT = f"INSERT INTO access_auditentry ({_NAMES}) VALUES "  # noqa: S608  # the model's names
_ROW = f"({', '.join(['%s'] * len(_COLUMNS))})"
# One entry, with `column_values`.
INSERT_ONE = PreparedStatement(_INSERT + _ROW)


def _column_value(entry: AuditEntry, name: str) -> Any:
    value = getattr(entry, name)
    return json.dumps(value) if isinstance(value, list | dict) else value


# --- reading --------------------------------------------------------------------------------------
def search(
    filters: Mapping[str, Any], *, clusters: Sequence[int] | None = None
) -> QuerySet[AuditEntry]:
    """Entries that match all filters, newest first.

    `filters` are EXACT_FILTERS, "user", "cluster" (name or id), "since" and "until" (times, the
    latter exclusive). `clusters` are the ids of those that the caller may see, None for all.
    """
    entries = AuditEntry.objects.all()
    if clusters is not None:
        entries = entries.filter(cluster_pk__in=clusters)
    for field in EXACT_FILTERS:
        if value := filters.get(field):
            entries = entries.filter(**{field: value})
    if user := filters.get("user"):
        entries = entries.filter(username=user)
    if cluster := filters.get("cluster"):
        matches = Q(cluster=cluster)
        if _is_id(cluster):
            matches |= Q(cluster_pk=int(cluster))
        entries = entries.filter(matches)
    if since := filters.get("since"):
        entries = entries.filter(at__gte=since)
    if until := filters.get("until"):
        entries = entries.filter(at__lt=until)
    return entries.order_by("-id")


def iterate(entries: QuerySet[AuditEntry]) -> Iterator[AuditEntry]:
    """All entries, BATCH at a time, so that an export of years needs little memory."""
    before: int | None = None
    while True:
        remaining = entries if before is None else entries.filter(id__lt=before)
        batch = list(remaining[:BATCH])
        if not batch:
            return
        yield from batch
        before = batch[-1].pk


def list_writes(
    cluster: int,
    kind: tuple[str, str],
    names: Iterable[tuple[str, str]],
    *,
    since: datetime.datetime,
    until: datetime.datetime,
) -> list[dict[str, Any]]:
    """The successful writes through us to objects of a kind in [since, until], newest first.

    `kind` is (group, plural), `names` are (namespace, name) of the objects. At most MOST_WRITES of
    {"at","user","verb","namespace","name","uid","resource_version"}; uid and resource_version are
    "" where they were not noted.
    """
    objects = set(names)
    group, plural = kind
    entries = AuditEntry.objects.filter(
        cluster_pk=cluster,
        group=group,
        kind=plural,
        at__gte=since,
        at__lte=until,
        result=AuditEntry.Result.SUCCESS,
        name__in={name for _, name in objects},
        namespace__in={namespace for namespace, _ in objects},
    ).order_by("-id")
    rows = entries.values("at", "username", "verb", "namespace", "name", "details")[:MOST_WRITES]
    return [
        {
            "at": row["at"],
            "user": row["username"],
            "verb": row["verb"],
            "namespace": row["namespace"],
            "name": row["name"],
            "uid": str(row["details"].get("uid", "")),
            "resource_version": str(row["details"].get("resource_version", "")),
        }
        for row in rows
        # The query matches names and namespaces apart: a/x and b/y find a/y as well.
        if (row["namespace"], row["name"]) in objects
        and policy.is_write(row["verb"])
        and not row["details"].get("dry_run")
    ]


def represent(row: AuditEntry) -> dict[str, Any]:
    """An entry as JSON data; texts that are empty are None where the contract says so."""
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


# --- retention ------------------------------------------------------------------------------------
def expire(*, days: int) -> int:
    """Delete entries older than `days`, returning how many; 0 days keeps everything."""
    if days <= 0:
        return 0
    limit = timezone.now() - datetime.timedelta(days=days)
    deleted = 0
    while True:
        with transaction.atomic(), connection.cursor() as cursor:
            # The table's trigger refuses every DELETE but those that this setting announces.
            cursor.execute(
                "SELECT set_config('kubegale.audit_expiry', %s, true)", [limit.isoformat()]
            )
            cursor.execute(
                "DELETE FROM access_auditentry WHERE id IN ("
                "SELECT id FROM access_auditentry WHERE at < %s ORDER BY at LIMIT %s)",
                [limit, BATCH],
            )
            count = int(cursor.rowcount)
        deleted += count
        if count < BATCH:
            return deleted
