"""POST /k8s/dynamic/multicluster_resources/{type}: documents of one type in several clusters.

As today's Go server lists them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import orjson
from django.http.response import HttpResponseBase
from psycopg2 import sql
from rest_framework.request import Request

from core.api.parsing import raw_body
from core.errors import Invalid
from storage_api.api import base, schemas
from storage_api.api.base import StorageView
from storage_api.api.bodies import Body
from storage_api.query import condition_trees, conditions, document_filters, jsontext, paths
from storage_api.query.conditions import Clause, Context
from storage_api.query.queries import DocumentQuery
from storage_api.query.shapes import RESOURCE
from storage_api.services import resources, write_errors

MEMBERS = frozenset(
    {"offset", "limit", "clusteredNamespaces", "field", "labelSelector", "conditions", "sort"}
)
MAX_PLACES = 200


@dataclass(frozen=True, slots=True)
class ClusterNamespaces:
    """One cluster and some of its namespaces; none are all."""

    cluster: str
    namespaces: tuple[str, ...]

    def clause(self) -> Clause:
        """The condition on the row."""
        cluster = conditions.equals("cluster_id", self.cluster)
        if not self.namespaces:
            return cluster
        within = conditions.equals_any("namespace", self.namespaces)
        text = sql.SQL("({} AND {})").format(cluster.text, within.text)
        return Clause(text, (*cluster.params, *within.params))


class MulticlusterList(StorageView):
    """Documents of one type in many places, with the number of all that match."""

    actions: ClassVar[Mapping[str, base.Action]] = {"POST": base.LIST_COUNTED}
    operations = schemas.MULTICLUSTER_OPERATIONS
    names_cluster_itself = True

    def post(self, request: Request, **_: Any) -> HttpResponseBase:
        """A counted list.

        Body: `clusteredNamespaces` [{clusterId, namespaces}], `labelSelector`, `conditions`,
        `field`, `offset`, `limit`, `sort`.
        """
        body = Body(raw_body(request))
        try:
            places = _places(body)
        except Invalid:
            # A caller who may read all clusters learns what is wrong; others are refused.
            self.authorise_cluster(request, "")
            raise
        for place in places:
            # Without namespaces the caller needs the right to all of the cluster.
            for namespace in place.namespaces or ("",):
                self.authorise_cluster(
                    request,
                    place.cluster,
                    namespace=namespace,
                )
        self.refuse_unknown(request, request.query_params)
        body.refuse_unknown(MEMBERS)
        offset = max(body.whole("offset"), 0)
        limit = max(body.whole("limit"), 0)
        context = self._context(places)
        order = condition_trees.orders(context, body.object("sort"))
        query = DocumentQuery(
            replace(RESOURCE, order=order),
            self._where(context, places, body),
            offset,
            limit or None,
        )
        return self.list_response(
            query,
            paths.fields(body.text("field")),
            total=write_errors.count_matching(query),
            extra={"pageSize": limit, "offset": offset},
        )

    def _context(self, places: list[ClusterNamespaces]) -> Context:
        lower = resources.lower_ascii(str(self.kwargs["type"]))
        roots = tuple(resources.index_root(place.cluster, lower) for place in places)
        return Context(RESOURCE, self.style.info, (lower,), roots)

    def _where(
        self,
        context: Context,
        places: list[ClusterNamespaces],
        body: Body,
    ) -> tuple[Clause, ...]:
        clauses = [place.clause() for place in places]
        any_place = sql.SQL(" OR ").join([clause.text for clause in clauses])
        anywhere = Clause(
            sql.SQL("({})").format(any_place),
            tuple(param for clause in clauses for param in clause.params),
        )
        selector = body.text("labelSelector")
        filters = [(document_filters.LABEL_SELECTOR, selector)] if selector else []
        trees = jsontext.load(body.members.get("conditions", b"null"))
        return (
            anywhere,
            # The indexes begin with the lower-case key; the type itself is compared exactly.
            conditions.equals("type_key", context.types[0]),
            conditions.equals("resource_type", str(self.kwargs["type"])),
            *document_filters.clauses(context, filters),
            *condition_trees.clauses(context, trees),
        )


def _places(body: Body) -> list[ClusterNamespaces]:
    """Clusters and namespaces of the body; Invalid without any, for too many, or for a bad one."""
    entries = orjson.loads(body.members.get("clusteredNamespaces", b"null"))
    if not isinstance(entries, list) or not 0 < len(entries) <= MAX_PLACES:
        raise Invalid(f"clusteredNamespaces must name 1 to {MAX_PLACES} clusters")
    return [_place(entry) for entry in entries]


def _place(entry: Any) -> ClusterNamespaces:
    if not isinstance(entry, dict) or not entry.keys() <= {"clusterId", "namespaces"}:
        raise Invalid("clusteredNamespaces holds objects of clusterId and namespaces")
    cluster = entry.get("clusterId")
    namespaces = entry.get("namespaces") or []
    if not isinstance(cluster, str) or not cluster:
        raise Invalid("clusterId is required in clusteredNamespaces")
    if not isinstance(namespaces, list) or len(namespaces) > conditions.MAX_CHOICES:
        raise Invalid("namespaces must be a list of names")
    if not all(isinstance(name, str) and name for name in namespaces):
        raise Invalid("namespaces must be a list of names")
    if any("\0" in text for text in (cluster, *namespaces)):
        raise Invalid("a name contains a NUL character")
    unique = dict.fromkeys(namespaces)
    return ClusterNamespaces(cluster, tuple(unique))
