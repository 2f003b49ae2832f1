"""GET /multicluster/search: objects of every kind in many clusters by name or property.

Deleted objects, too.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.conf import settings
from rest_framework.request import Request

from clusters import registry
from clusters.kinds import Kind
from clusters.models import Cluster
from clusters.resource_types import EVENTS, SECRETS, resource_type
from core.api.auth import AccessAttributes, authorise
from core.api.dialect import DialectView
from core.api.pagination import page_request
from core.api.parsing import boolean
from core.api.schema import (
    BOOLEAN,
    INTEGER,
    OBJECT,
    PAGING,
    TEXT,
    OperationSchema,
    QueryParameter,
    array,
    nullable,
    record,
)
from core.errors import Invalid
from core.times import rfc3339
from storage_api.api.multicluster import (
    FILTERS,
    PROBLEM,
    cluster_problem,
    list_parameter,
    refuse_past,
    select_places,
    visible_places_by_kind,
)
from storage_api.services import name_search, property_search, sync
from storage_api.services.multicluster import ClusterScope
from storage_api.services.sync import CollectedKinds, Freshness

# A name has at most 253 characters, labels and annotations more.
MAX_TEXT = 1000
TERMS = (
    "A part of a name; or what objects have: `label:app=web` or `app=web`,"
    " `annotation:key=value`, `image:nginx` (in any registry, below any path; with a tag only that"
    " one), `ip:10.0.0.1` or the address (pods, Services, nodes), `uid:` with 8 or more characters"
    " of one. Several with blanks between them have to be true together."
)
MATCH = record(
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
MATCH["properties"]["object"] = nullable(OBJECT)


class NameSearch(DialectView):
    """GET /multicluster/search?q=: objects of every kind by a part of their name."""

    operations = {
        "get": OperationSchema(
            "Find objects by name",
            record(
                items=array(MATCH),
                total=nullable(INTEGER),
                partial_errors=array(PROBLEM),
            ),
            query=(
                QueryParameter("q", TEXT, required=True, description=TERMS),
                PAGING[1],
                FILTERS[0],
                QueryParameter(
                    "deleted",
                    BOOLEAN,
                    description="Objects that are gone too,"
                    " as far back as the log of changes goes.",
                ),
                QueryParameter(
                    "total",
                    BOOLEAN,
                    description="Count all; null otherwise.",
                ),
                QueryParameter(
                    "documents",
                    BOOLEAN,
                    description="Each hit with its `object` as the store has it.",
                ),
            ),
            also_query=("cluster_id",),
        )
    }

    def get(self, request: Request) -> Any:
        """The best `pageSize` (20, at most 200) of what the caller may list, without Secrets.

        With `deleted=true` deleted objects too: `deleted_at`, and the `seq` of their deletion in
        the history (to restore them). `partial_errors` names the clusters whose copy is not fresh.
        """
        authorise(self, request, AccessAttributes("list", "clusters"))
        refuse_past(request)
        query = request.query_params
        text = query.get("q", "").strip()
        if not text or "\0" in text or len(text) > MAX_TEXT:
            raise Invalid("q must be part of a name, or properties", field="q")
        terms = property_search.parse(text)
        size = min(page_request(query).size, 200)
        collected = sync.collected_kinds(settings.STORE_FRESH_SECONDS)
        kinds = [
            kind for kind in collected.kinds if (kind.group, kind.plural) not in (SECRETS, EVENTS)
        ]
        # Decrypting a kubeconfig of each cluster would cost more than the search.
        clusters = list(registry.clusters().defer("kubeconfig"))
        # A kind that the caller may not list has no matches.
        visible = visible_places_by_kind(self, request, kinds, clusters)
        scopes, problems = _narrow(visible, list_parameter(request, "clusters"))
        ids = {place.name: place.cluster for _, places in scopes for place in places}
        by_pk = {cluster.pk: cluster for cluster in clusters}
        searched = [by_pk[pk] for pk in ids.values()]
        by_type = {resource_type(kind): kind for kind in kinds}
        is_deleted = boolean(query.get("deleted", "false"), "deleted")
        is_counted = boolean(query.get("total", "false"), "total")
        if terms:
            if is_deleted:
                raise Invalid("deleted objects are found by name only", field="deleted")
            rows = property_search.find_by_property(scopes, terms, size)
            total = property_search.count_by_property(scopes, terms) if is_counted else None
        else:
            rows = name_search.find_by_name(scopes, text, size, deleted=is_deleted)
            total = None
            if is_counted:
                total = name_search.count_by_name(scopes, text, deleted=is_deleted)
        items = [_match(row, ids, by_type) for row in rows]
        if boolean(query.get("documents", "false"), "documents"):
            _add_documents(items, rows)
        return {
            "items": items,
            "total": total,
            "partial_errors": [*problems, *stale_clusters(searched, collected)],
        }


def _narrow(
    visible: Mapping[Kind, Sequence[ClusterScope]], references: Sequence[str]
) -> tuple[list[tuple[Kind, Sequence[ClusterScope]]], list[dict[str, Any]]]:
    """(the scopes within the referenced clusters, a problem for each reference to none).

    Without references all scopes.
    """
    if not references:
        return list(visible.items()), []
    by_cluster = {place.cluster: place for places in visible.values() for place in places}
    matching, problems = select_places(references, list(by_cluster.values()))
    clusters = {place.cluster for place in matching}
    narrowed: list[tuple[Kind, Sequence[ClusterScope]]] = [
        (kind, [place for place in places if place.cluster in clusters])
        for kind, places in visible.items()
    ]
    return narrowed, problems


def stale_clusters(clusters: Iterable[Cluster], collected: CollectedKinds) -> list[dict[str, Any]]:
    """A problem for each cluster with a kind whose copy is not fresh."""
    problems = []
    for cluster in clusters:
        if cluster.pk not in collected.clusters:
            message = "nothing is collected there"
            problems.append(cluster_problem(cluster.pk, cluster.name, message))
            continue
        late = _late_copy(cluster, collected.late.get(cluster.pk, []))
        if late:
            message = (
                f"{late.kind.plural} are {late.phase}, the store's copy may be behind: {late.error}"
            )
            problems.append(cluster_problem(cluster.pk, cluster.name, message.rstrip(": ")))
    return problems


def _late_copy(cluster: Cluster, copies: Sequence[Freshness]) -> Freshness | None:
    """A copy of the first kind that is not fresh, of `CollectedKinds.late`."""
    by_kind: dict[Kind, list[Freshness]] = {}
    for copy in copies:
        by_kind.setdefault(copy.kind, []).append(copy)
    for kind_copies in by_kind.values():
        # Without a row of the whole cluster, that one is fresh and answers for every namespace.
        is_whole_late = any(not copy.namespace for copy in kind_copies)
        if is_whole_late and not sync.coverage_of_copies(
            kind_copies,
            cluster.namespaces,
            settings.STORE_FRESH_SECONDS,
            exact=False,
        ):
            return kind_copies[0]
    return None


def _add_documents(items: Sequence[dict[str, Any]], rows: Sequence[Mapping[str, Any]]) -> None:
    """Give each hit its `object`; null for one that is gone."""
    documents = property_search.read_documents(rows)
    for item, row in zip(items, rows, strict=True):
        key = (row["cluster"], row["type"], row["namespace"], row["name"])
        item["object"] = None if row["deleted"] else documents.get(key)


def _match(
    row: Mapping[str, Any],
    ids: Mapping[str, int],
    kinds: Mapping[str, Kind],
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
