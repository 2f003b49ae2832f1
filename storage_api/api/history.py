"""What happened to objects: /history and /history/diff, out of the store's log of changes."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
from django.utils import timezone
from rest_framework.request import Request

from access import audit
from clusters import registry
from clusters.kinds import Kind
from clusters.manifests import MASK
from clusters.models import Cluster
from clusters.resource_types import SECRETS
from core.api.auth import Act, Scope, authorise
from core.api.dialect import DialectView
from core.api.pagination import page_request
from core.api.parsing import boolean, integer, moment
from core.api.schema import (
    ANYTHING,
    BOOLEAN,
    CLUSTER,
    INTEGER,
    NAMESPACE,
    PAGING,
    TEXT,
    Described,
    Query,
    array,
    nullable,
    record,
)
from core.errors import Invalid
from core.times import rfc3339
from operations import lifecycle as operations
from storage_api import protection
from storage_api.history import as_of, attribution
from storage_api.history.as_of import Version, VersionQuery
from storage_api.history.attribution import AttributedChange, AuditedWrite
from storage_api.history.differences import differences
from storage_api.services import multicluster

CHANGE = record(
    path=array(TEXT),
    op={"type": "string", "enum": ["add", "remove", "replace"]},
    **{"from": ANYTHING, "to": ANYTHING},
)
WHO = record(
    source={"type": "string", "enum": ["audit", "managedFields"]},
    **{
        name: nullable(TEXT)
        for name in ("user", "verb", "manager", "operation", "subresource", "at")
    },
)
VERSION = record(
    seq=INTEGER,
    at=TEXT,
    op={"type": "string", "enum": ["add", "change", "delete"]},
    kind=TEXT,
    namespace=TEXT,
    name=TEXT,
    uid=TEXT,
    resource_version=TEXT,
    who=nullable(WHO),
    changes=nullable(array(CHANGE)),
)
OBJECT = (CLUSTER, Query("kind", TEXT, required=True), NAMESPACE, Query("name", TEXT))
TIMES = (Query("since", TEXT, description="RFC 3339 or unix seconds."), Query("before", TEXT))


class HistoryView(DialectView):
    """What both routes share: whose history, and whether the caller may read it."""

    def subject(
        self, request: Request, given: Mapping[str, Any], *, item: bool
    ) -> tuple[Cluster, Kind, str, str, Scope]:
        """(cluster, kind, namespace, name, scope) out of the query or the body; rights first."""
        words = {word: str(given.get(word) or "") for word in ("kind", "namespace", "name")}
        reference = str(given.get("cluster_id", given.get("clusterId", "")))
        authorise(self, request, Act("get", "clusters", cluster=reference or "0"))
        self.check_input(request)
        if not words["kind"] or any("\0" in str(value) for value in given.values()):
            raise Invalid("kind is required", field="kind")
        kind = multicluster.find_kind(words["kind"], cluster=reference)
        namespace, name = words["namespace"] if kind.namespaced else "", words["name"]
        verb = "history" if name else "list"
        act = Act(
            verb,
            kind.plural,
            kind.group,
            reference,
            namespace,
            name,
            cluster_scoped=not kind.namespaced,
        )
        scope = authorise(self, request, act)
        if item and (not name or (kind.namespaced and not namespace)):
            raise Invalid("namespace and name are required", field="name")
        if not reference:
            raise Invalid("cluster_id is required", field="cluster_id")
        cluster = registry.find(integer(reference, "cluster_id", minimum=0))
        return cluster, multicluster.collected_as(cluster, kind), namespace, name, scope


class History(HistoryView):
    """GET /history: what was added, changed and deleted, when and by whom, newest first."""

    operations = {
        "get": Described(
            "What happened to objects of a kind, and who did it",
            record(
                items=array(VERSION), next_cursor=TEXT, gaps=array(record(since=TEXT, until=TEXT))
            ),
            query=(
                *OBJECT,
                *TIMES,
                *PAGING[1:3],
                Query("op", TEXT, description="add, change or delete."),
                Query(
                    "deleted", BOOLEAN, description="Objects that are gone: of each the last line."
                ),
                Query(
                    "diff",
                    BOOLEAN,
                    description="Say what changed. True for one object, false for many, unless given.",
                ),
                Query("cursor", TEXT),
            ),
        )
    }

    def get(self, request: Request) -> Any:
        """Versions of one object or of all that the caller may list.

        `changes` is null when the version before is no longer kept or `diff` is false, `who` when nobody can be named. `gaps` are times
        of whose changes only the outcome is known.
        """
        cluster, kind, namespace, name, scope = self.subject(
            request, request.query_params, item=False
        )
        query, size = request.query_params, min(page_request(request.query_params).size, 200)
        if (op := query.get("op", "")) not in ("", "add", "change", "delete"):
            raise Invalid("op must be add, change or delete", field="op")
        below = query.get("cursor", "")
        asked = VersionQuery(
            namespace=namespace,
            name=name,
            keyword=query.get("keyword", ""),
            namespaces=scope.namespaces,
            op=op,
            deleted=boolean(query.get("deleted", "false"), "deleted"),
            since=moment(query.get("since", ""), "since"),
            until=moment(query.get("before", ""), "before"),
            below=integer(below, "cursor", minimum=1) if below else None,
            size=size + 1,
            documents=boolean(query.get("diff", "true" if name else "false"), "diff"),
        )
        found = as_of.versions(cluster, kind, asked)
        more = str(found[size - 1].seq) if len(found) > size else ""
        deeds = _deeds(cluster, kind, found[:size])
        gaps = [
            {"since": rfc3339(since, digits=3), "until": rfc3339(until, digits=3)}
            for since, until in as_of.gaps(cluster, kind, asked)
        ]
        return {
            "items": [_version(version, kind, deeds) for version in found[:size]],
            "next_cursor": more,
            "gaps": gaps,
        }


def _deeds(cluster: Cluster, kind: Kind, found: Sequence[Version]) -> list[AuditedWrite]:
    """What our audit trail, and the operations that were asked for, know about these objects around these times."""
    if not found:
        return []
    since, until = (
        min(version.at for version in found) - attribution.DELETION,
        max(version.at for version in found) + attribution.SLACK,
    )
    names = {(version.namespace, version.name) for version in found}
    lines: Iterable[Mapping[str, Any]] = audit.writes(
        cluster.pk, (kind.group, kind.plural), names, since=since, until=until
    )
    uids = {version.uid for version in found if version.uid}
    return [
        AuditedWrite(**line)
        for line in (*lines, *operations.deeds(cluster.pk, uids, since=since, until=until))
    ]


def _version(version: Version, kind: Kind, deeds: Iterable[AuditedWrite]) -> dict[str, Any]:
    changes: list[dict[str, Any]] | None = None
    if version.data is not None:
        before = version.before
        changes = [] if version.op != "change" else None
        if version.op == "change" and before is not None:
            changes = _masked(differences(orjson.loads(before), orjson.loads(version.data)), kind)
    change = AttributedChange(
        **{
            name: getattr(version, name)
            for name in ("at", "op", "namespace", "name", "uid", "resource_version")
        },
        written_by=version.written_by,
        written_before=version.written_before,
    )
    return {
        "seq": version.seq,
        "at": rfc3339(version.at, digits=3),
        "op": version.op,
        "kind": kind.name,
        "namespace": version.namespace,
        "name": version.name,
        "uid": version.uid,
        "resource_version": version.resource_version,
        "who": attribution.author(change, deeds),
        "changes": changes,
    }


def _masked(changes: list[dict[str, Any]], kind: Kind) -> list[dict[str, Any]]:
    """That a Secret's value changed may be seen, the value not."""
    changes = protection.masked_value(changes)
    if (kind.group, kind.plural) != SECRETS:
        return changes
    hidden = (
        {"from": MASK, "to": MASK} if change["path"][0] in ("data", "stringData") else {}
        for change in changes
    )
    return [{**change, **mask} for change, mask in zip(changes, hidden, strict=True)]


class Diff(HistoryView):
    """GET /history/diff: how one object differs between two moments."""

    operations = {
        "get": Described(
            "How an object differs between two moments",
            record(**{"from": TEXT, "to": TEXT}, changes=array(CHANGE)),
            query=(
                *OBJECT,
                Query("from", TEXT, required=True),
                Query("to", TEXT, description="Now when absent."),
            ),
        )
    }

    def get(self, request: Request) -> Any:
        """The changes from the object as it was at `from` to what it was at `to`."""
        cluster, kind, namespace, name, _ = self.subject(request, request.query_params, item=True)
        begin, end = (moment(request.query_params.get(word, ""), word) for word in ("from", "to"))
        if begin is None:
            raise Invalid("from is required", field="from")
        end = end or timezone.now()
        before, after = (self._then(cluster, kind, name, namespace, at) for at in (begin, end))
        return {
            "from": rfc3339(begin, digits=3),
            "to": rfc3339(end, digits=3),
            "changes": _masked(differences(before, after), kind),
        }

    @staticmethod
    def _then(cluster: Cluster, kind: Kind, name: str, namespace: str, at: datetime) -> Any:
        return orjson.loads(as_of.read_sealed(cluster, kind, name, namespace=namespace, at=at))
