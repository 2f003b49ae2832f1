"""What happened to objects: /history and /history/diff, out of the store's log of changes."""

from datetime import datetime
from typing import Any

import orjson
from django.utils import timezone
from rest_framework.request import Request

from clusters import services as registry
from clusters.kinds import Kind
from clusters.models import Cluster
from kubegale.api.auth import Act, Scope, authorise
from kubegale.api.dialect import DialectView
from kubegale.api.pagination import page_request
from kubegale.api.parsing import integer, moment
from kubegale.api.schema import ANYTHING, CLUSTER, INTEGER, NAMESPACE, PAGING, TEXT, Described, Query, array, nullable, record
from kubegale.errors import Invalid
from storage_api.api.sync import utc
from storage_api.differences import differences
from storage_api.kinds import SECRETS
from storage_api.services import across, past
from storage_api.services.past import Asked, Version

MASK = "***"
CHANGE = record(path=array(TEXT), op={"type": "string", "enum": ["add", "remove", "replace"]}, **{"from": ANYTHING, "to": ANYTHING})
VERSION = record(
    seq=INTEGER,
    at=TEXT,
    op={"type": "string", "enum": ["add", "change", "delete"]},
    kind=TEXT,
    namespace=TEXT,
    name=TEXT,
    uid=TEXT,
    resource_version=TEXT,
    changes=nullable(array(CHANGE)),
)
OBJECT = (CLUSTER, Query("kind", TEXT, required=True), NAMESPACE, Query("name", TEXT))
TIMES = (Query("since", TEXT, description="RFC 3339 or unix seconds."), Query("before", TEXT))


class HistoryView(DialectView):
    """What both routes share: whose history, and whether the caller may read it."""

    def subject(self, request: Request, *, item: bool) -> tuple[Cluster, Kind, str, str, Scope]:
        """(cluster, kind, namespace, name, scope); rights first."""
        query = request.query_params
        reference, text = query.get("cluster_id", query.get("clusterId", "")), query.get("kind", "")
        authorise(self, request, Act("get", "clusters", cluster=reference or "0"))
        namespace, name = query.get("namespace", ""), query.get("name", "")
        if not text or "\0" in f"{text}{namespace}{name}":
            raise Invalid("kind is required", field="kind")
        kind = across.find_kind(text)
        namespace = namespace if kind.namespaced else ""
        verb = "history" if name else "list"
        act = Act(verb, kind.plural, kind.group, reference, namespace, name, cluster_scoped=not kind.namespaced)
        scope = authorise(self, request, act)
        if item and (not name or (kind.namespaced and not namespace)):
            raise Invalid("namespace and name are required", field="name")
        if not reference:
            raise Invalid("cluster_id is required", field="cluster_id")
        return registry.find(integer(reference, "cluster_id", minimum=0)), kind, namespace, name, scope


class History(HistoryView):
    """GET /history: what was added, changed and deleted, newest first."""

    operations = {
        "get": Described(
            "What happened to objects of a kind",
            record(items=array(VERSION), next_cursor=TEXT),
            query=(*OBJECT, *TIMES, *PAGING[1:2], Query("op", TEXT, description="add, change or delete."), Query("cursor", TEXT)),
        )
    }

    def get(self, request: Request) -> Any:
        """Versions of one object or of all that the caller may list. `changes` is null when the version before is no longer kept."""
        cluster, kind, namespace, name, scope = self.subject(request, item=False)
        query, size = request.query_params, min(page_request(request.query_params).size, 200)
        if (op := query.get("op", "")) not in ("", "add", "change", "delete"):
            raise Invalid("op must be add, change or delete", field="op")
        below = query.get("cursor", "")
        asked = Asked(
            namespace=namespace,
            name=name,
            namespaces=scope.namespaces,
            op=op,
            since=moment(query.get("since", ""), "since"),
            until=moment(query.get("before", ""), "before"),
            below=integer(below, "cursor", minimum=1) if below else None,
            size=size + 1,
        )
        found = past.versions(cluster, kind, asked)
        more = str(found[size - 1].seq) if len(found) > size else ""
        return {"items": [_version(version, kind) for version in found[:size]], "next_cursor": more}


def _version(version: Version, kind: Kind) -> dict[str, Any]:
    changes: list[dict[str, Any]] | None = []
    if version.op == "change":
        before = version.before
        changes = None if before is None else _masked(differences(orjson.loads(before), orjson.loads(version.data)), kind)
    return {
        "seq": version.seq,
        "at": utc(version.at),
        "op": version.op,
        "kind": kind.name,
        "namespace": version.namespace,
        "name": version.name,
        "uid": version.uid,
        "resource_version": version.resource_version,
        "changes": changes,
    }


def _masked(changes: list[dict[str, Any]], kind: Kind) -> list[dict[str, Any]]:
    """That a Secret's value changed may be seen, the hashes not."""
    if (kind.group, kind.plural) != SECRETS:
        return changes
    hidden = ({"from": MASK, "to": MASK} if change["path"][0] in ("data", "stringData") else {} for change in changes)
    return [{**change, **mask} for change, mask in zip(changes, hidden, strict=True)]


class Diff(HistoryView):
    """GET /history/diff: how one object differs between two moments."""

    operations = {
        "get": Described(
            "How an object differs between two moments",
            record(**{"from": TEXT, "to": TEXT}, changes=array(CHANGE)),
            query=(*OBJECT, Query("from", TEXT, required=True), Query("to", TEXT, description="Now when absent.")),
        )
    }

    def get(self, request: Request) -> Any:
        """The changes from the object as it was at `from` to what it was at `to`."""
        cluster, kind, namespace, name, _ = self.subject(request, item=True)
        begin, end = (moment(request.query_params.get(word, ""), word) for word in ("from", "to"))
        if begin is None:
            raise Invalid("from is required", field="from")
        end = end or timezone.now()
        before, after = (self._then(cluster, kind, name, namespace, at) for at in (begin, end))
        return {"from": utc(begin), "to": utc(end), "changes": _masked(differences(before, after), kind)}

    @staticmethod
    def _then(cluster: Cluster, kind: Kind, name: str, namespace: str, at: datetime) -> Any:
        return orjson.loads(past.get(cluster, kind, name, namespace=namespace, at=at))
