"""GET /multicluster/search: objects of every kind in many clusters by a part of their name, those that are gone too."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.conf import settings
from rest_framework.request import Request

from clusters import registry
from clusters.kinds import Kind
from clusters.models import Cluster
from clusters.resource_types import SECRETS, resource_type
from core.api.auth import Act, authorise
from core.api.dialect import DialectView
from core.api.pagination import page_request
from core.api.parsing import boolean
from core.api.schema import (
    BOOLEAN,
    INTEGER,
    PAGING,
    TEXT,
    Described,
    Query,
    array,
    nullable,
    record,
)
from core.errors import Forbidden, Invalid
from core.times import rfc3339
from storage_api.api.multicluster import (
    FILTERS,
    PROBLEM,
    UNREACHED,
    chosen,
    refuse_past,
    visible,
    words,
)
from storage_api.services import multicluster, sync
from storage_api.services.multicluster import Place
from storage_api.services.sync import Freshness

FOUND = record(
    cluster_id=INTEGER,
    cluster_name=TEXT,
    kind=TEXT,
    group=TEXT,
    plural=TEXT,
    namespace=TEXT,
    name=TEXT,
    uid=TEXT,
    status=TEXT,
    created_at=TEXT,
    deleted_at=nullable(TEXT),
    seq=nullable(INTEGER),
)


class Names(DialectView):
    """GET /multicluster/search?q=: objects of every kind by a part of their name."""

    operations = {
        "get": Described(
            "Find objects by name",
            record(items=array(FOUND), total=nullable(INTEGER), partial_errors=array(PROBLEM)),
            query=(
                Query("q", TEXT, required=True),
                PAGING[1],
                FILTERS[0],
                Query(
                    "deleted",
                    BOOLEAN,
                    description="Objects that are gone too, as far back as the log of changes goes.",
                ),
                Query("total", BOOLEAN, description="Count all; null otherwise."),
            ),
            also_query=("cluster_id",),
        )
    }

    def get(self, request: Request) -> Any:
        """The best `pageSize` (20, at most 200) of what the caller may list, Secrets left out.

        With `deleted=true` also what is gone: `deleted_at`, and `seq` of the line in the history (to restore it). `partial_errors` names
        the clusters whose copy is not fresh.
        """
        authorise(self, request, Act("list", "clusters"))
        refuse_past(request)
        query = request.query_params
        text = query.get("q", "").strip()
        if not text or "\0" in text or len(text) > 253:
            raise Invalid("q must be part of a name", field="q")
        size = min(page_request(query).size, 200)
        kinds = [
            kind for kind in multicluster.collected_kinds() if (kind.group, kind.plural) != SECRETS
        ]
        scopes = [(kind, self._places(request, kind)) for kind in kinds]
        scopes, problems = _within(scopes, words(request, "clusters"))
        ids = {place.name: place.cluster for _, places in scopes for place in places}
        by_type = {resource_type(kind): kind for kind in kinds}
        found = multicluster.named(
            scopes, text, size, deleted=boolean(query.get("deleted", "false"), "deleted")
        )
        counted = boolean(query.get("total", "false"), "total")
        return {
            "items": [_found(row, ids, by_type) for row in found],
            "total": multicluster.count_named(
                scopes, text, deleted=boolean(query.get("deleted", "false"), "deleted")
            )
            if counted
            else None,
            "partial_errors": [*problems, *behind(ids)],
        }

    def _places(self, request: Request, kind: Kind) -> list[Place]:
        try:
            return visible(self, request, kind)
        except Forbidden:
            return []


def _within(
    scopes: Sequence[tuple[Kind, list[Place]]], wanted: Sequence[str]
) -> tuple[list[tuple[Kind, list[Place]]], list[dict[str, Any]]]:
    """The scopes cut down to some clusters (none named: all), and those that are none."""
    known = {place.cluster: place for _, places in scopes for place in places}
    left, problems = chosen(wanted, list(known.values()))
    kept = {place.cluster for place in left}
    return [
        (kind, [place for place in places if place.cluster in kept]) for kind, places in scopes
    ], problems


def behind(ids: Mapping[str, int]) -> list[dict[str, Any]]:
    """Of each cluster the first kind whose copy is not fresh, if there is one."""
    found = []
    clusters = registry.clusters().in_bulk(list(ids.values()))
    for name, pk in ids.items():
        known = sync.freshness(clusters[pk]) if pk in clusters else []
        late = _late_copy(clusters[pk], known) if known else None
        if late or not known:
            what = (
                f"{late.kind.plural} are {late.phase}, the store's copy may be behind: {late.error}"
                if late
                else "nothing is collected there"
            )
            found.append(
                {
                    "cluster_id": pk,
                    "cluster_name": name,
                    "code": UNREACHED,
                    "msg": what.rstrip(": "),
                }
            )
    return found


def _late_copy(cluster: Cluster, copies: Sequence[Freshness]) -> Freshness | None:
    """The first kind of which the store is behind."""
    by_kind: dict[Kind, list[Freshness]] = {}
    for copy in copies:
        by_kind.setdefault(copy.kind, []).append(copy)
    for kind_copies in by_kind.values():
        if not sync.covered(
            kind_copies, cluster.namespaces, settings.STORE_FRESH_SECONDS, exact=False
        ):
            return kind_copies[0]
    return None


def _found(
    row: Mapping[str, Any], ids: Mapping[str, int], kinds: Mapping[str, Kind]
) -> dict[str, Any]:
    kind = kinds[row["type"]]
    return {
        "cluster_id": ids[row["cluster"]],
        "cluster_name": row["cluster"],
        "kind": kind.name,
        "group": kind.group,
        "plural": kind.plural,
        "namespace": row["namespace"],
        "name": row["name"],
        "uid": row["uid"] or "",
        "status": row["status"] or "",
        "created_at": rfc3339(row["created"], digits=3) or "",
        "deleted_at": rfc3339(row["deleted"], digits=3),
        "seq": row["seq"],
    }
