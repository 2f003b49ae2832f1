"""Documents of a type in any cluster or in none, as today's Go server keeps them.

`customresources`, their indexes, and `clusters/{id}`.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, product
from typing import Any, ClassVar

import orjson
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from core.api import audit
from core.api.parsing import raw_body
from core.database.prepared import StatementCall
from core.errors import Invalid
from storage_api.api import base, dynamic, schemas
from storage_api.api.base import StorageView
from storage_api.api.bodies import Body, parameters
from storage_api.query import conditions, document_filters, extra, jsontext
from storage_api.query.conditions import Clause, Context
from storage_api.query.paths import Path
from storage_api.query.queries import DocumentQuery
from storage_api.query.shapes import FREE, RESOURCE
from storage_api.services import free_documents, resources, write_errors
from storage_api.services.free_documents import CLUSTER_KEYS, DocumentOwner
from storage_api.services.resources import Key

MAX_OWNERS = 500
_RESOURCE_MEMBERS = (
    frozenset(column.key for column in RESOURCE.columns) | free_documents.OWN_MEMBERS
)
# The directions of an index as clients write them: 1 and -1, or these in BSON's extended JSON.
_DIRECTIONS = (1, -1, "1", "-1")
_NUMBERS = ("$numberInt", "$numberLong", "$numberDouble")
_SLICE = ("offset", "limit")


class FreeView(StorageView):
    """A view whose documents name their cluster themselves, or none."""

    names_cluster_itself = True

    def authorise_owner(self, request: Request, owner: DocumentOwner) -> None:
        """Forbidden unless the caller may do to the owner's documents what the request does."""
        namespace = owner.namespace if owner.cluster else ""
        self.authorise_cluster(
            request,
            owner.cluster,
            namespace=namespace,
        )

    def put_free(
        self,
        request: Request,
        resource_type: str,
        members: Mapping[str, bytes],
        *,
        keys: Sequence[Path] = (),
    ) -> None:
        """Store a free document together with the request's audit lines, in one commit."""
        free_documents.put(
            resource_type,
            members,
            lambda owner: self.authorise_owner(request, owner),
            keys=keys,
            statements=lambda: self.audit_statements(request),
        )
        audit.forget(request)


class CustomResources(FreeView):
    """The documents of one type: those of clusters, then the free ones."""

    actions = {"GET": base.GET_LISTED, "PUT": base.PUT, "DELETE": base.DELETE_MANY}
    operations = schemas.CUSTOM_OPERATIONS
    filtered = FREE

    def own_parameters(self, request: Request) -> frozenset[str]:
        """As in the table, but the cluster is one more path of the documents."""
        return super().own_parameters(request) - {CLUSTER_KEYS[0]}

    @property
    def type(self) -> str:
        """The type under which the documents are stored."""
        return dynamic.stored_type("mesos", str(self.kwargs["type"])).name

    def get(self, request: Request, **_: Any) -> HttpResponseBase:
        """A counted list of the documents that match every parameter.

        Those of clusters come first, oldest first, then the free ones.
        """
        self._authorise(request)
        values = self.query(request)
        offset, limit = base.parse_slice(values)
        fields = base.fields(values)
        of_clusters, free = self._queries(request)
        cluster_count = write_errors.count_matching(of_clusters)
        free_count = write_errors.count_matching(free)
        # A projection of a cluster's document has the id by itself.
        free_fields = {**fields, "_id": None} if fields else fields
        # Offset and limit go over both queries as if they were one list.
        parts: list[Iterator[list[bytes]]] = []
        to_skip = offset
        to_read = limit
        for query, count, projection in (
            (of_clusters, cluster_count, fields),
            (free, free_count, free_fields),
        ):
            if to_skip < count and to_read != 0:
                part = DocumentQuery(query.shape, query.where, to_skip, to_read)
                parts.append(
                    resources.read_chunks(
                        part,
                        projection,
                        self.style,
                        reveals=self.reveals,
                    )
                )
                if to_read is not None:
                    to_read = max(0, to_read - (count - to_skip))
            to_skip = max(0, to_skip - count)
        return self.stream_response(
            chain.from_iterable(parts),
            total=cluster_count + free_count,
            extra={"pageSize": limit or 0, "offset": offset},
        )

    def put(self, request: Request, **_: Any) -> None:
        """Store the body as a cluster's document when it is one, else as a free document.

        The paths of the type's index identify a free document.
        """
        members = jsontext.members(raw_body(request))
        document = {key: orjson.loads(raw) for key, raw in members.items() if _is_short(raw)}
        for owner in free_documents.owners(document):
            self.authorise_owner(request, owner)
        self.refuse_unknown(request, request.query_params)
        key = self._key(document, members)
        if key is not None:
            put = partial(resources.put, key, members["data"].decode())
            self.write_audited(request, put)
            return
        self.put_free(request, self.type, members)

    def delete(self, request: Request, **_: Any) -> None:
        """Delete the documents that match every parameter; without any, all of the type.

        All or nothing. Those of clusters are only deleted with a clusterId: a client that loses
        its parameters must not empty every cluster.
        """
        self._authorise(request)
        if parameters(raw_body(request)):
            raise Invalid("the body of this deletion has unknown members")
        for name in _SLICE:
            if name in request.query_params:
                raise Invalid(f"{name} is not supported here", field=name)
        values = self.query(request)
        if values.get(document_filters.LABEL_SELECTOR, "?").strip() == "":
            raise Invalid("labelSelector is empty: leave it out to delete all of the type")
        for name in self.own_parameters(request):
            if len(set(request.query_params.getlist(name))) > 1:
                raise Invalid(f"{name} is given more than once")
        of_clusters, free = self._queries(request)
        if not self._named(request, CLUSTER_KEYS[0]) and write_errors.count_matching(of_clusters):
            raise Invalid("documents of clusters are deleted by naming them: clusterId is needed")
        clusters = self._clusters(request)

        def sweep(statements: Sequence[StatementCall]) -> None:
            free_documents.sweep(
                clusters,
                self.type,
                of_clusters,
                free,
                statements=statements,
            )

        self.write_audited(request, sweep)

    def _key(
        self,
        document: Mapping[str, Any],
        members: Mapping[str, bytes],
    ) -> Key | None:
        """The key of a cluster's document; None for a free one."""
        cluster = document.get("clusterId")
        name = document.get("resourceName")
        namespace = document.get("namespace") or ""
        if not isinstance(cluster, str) or not cluster or not isinstance(name, str) or not name:
            return None
        if not isinstance(namespace, str) or "data" not in members:
            return None
        if (document.get("resourceType") or self.type) != self.type:
            return None
        if not members.keys() <= _RESOURCE_MEMBERS:
            return None
        return Key(cluster, self.type, namespace, name)

    def _authorise(self, request: Request) -> None:
        """Check the right to the clusters and namespaces of the parameters, without any to all.

        Unknown parameters are refused after that.
        """
        clusters = self._named(request, CLUSTER_KEYS[0]) or self._named(request, CLUSTER_KEYS[1])
        namespaces = self._named(request, "namespace")
        is_bounded = len(clusters) * max(1, len(namespaces)) <= MAX_OWNERS
        if not clusters or not is_bounded:
            self.authorise_owner(request, DocumentOwner(""))
        else:
            for cluster, namespace in product(clusters, namespaces or [""]):
                self.authorise_owner(request, DocumentOwner(cluster, namespace))
        self.refuse_unknown(request, request.query_params)

    def _named(self, request: Request, name: str) -> list[str]:
        lists = request.query_params.getlist(name)
        return list(dict.fromkeys(value for text in lists for value in text.split(",")))

    def _clusters(self, request: Request) -> list[str]:
        """The clusters to look into."""
        named = self._named(request, CLUSTER_KEYS[0])
        return named if named and all(named) else resources.clusters_with_type(self.type)

    def _queries(self, request: Request) -> tuple[DocumentQuery, DocumentQuery]:
        """The query of clusters' documents, and that of free ones."""
        pairs = self.filter_pairs(request)
        equalities = extra.equalities(self.query(request).get("extra", ""), any_of=False)
        clusters = self._clusters(request)
        lower = resources.lower_ascii(self.type)
        roots = tuple(resources.index_root(cluster, lower) for cluster in clusters)
        context = Context(RESOURCE, self.style.info, (lower,), roots)
        # A path that a cluster's document cannot have matches none of them.
        filters = [conditions.MATCH_NONE]
        if all(document_filters.is_filter(RESOURCE, name) for name, _ in pairs):
            filters = document_filters.clauses(context, pairs)
        of_clusters: list[Clause] = [
            *resources.clusters_type_clauses(clusters, self.type),
            *conditions.equality_clauses(context, equalities),
            *filters,
        ]
        context = Context(FREE, self.style.info)
        free = [
            free_documents.free_type_clause(self.type),
            *conditions.equality_clauses(context, equalities),
            *document_filters.clauses(context, pairs),
        ]
        # The right was checked for a text. A member that is a list with this text matches as well,
        # but may name others' clusters, too.
        for name in (*CLUSTER_KEYS, "namespace"):
            values = self._named(request, name)
            if any(values):
                free.append(free_documents.text_member_clause(name, values))
        return DocumentQuery(RESOURCE, tuple(of_clusters)), DocumentQuery(FREE, tuple(free))


class CustomIndex(StorageView):
    """An index of a type's free documents."""

    actions = {"PUT": base.PUT, "DELETE": base.DELETE}
    operations = schemas.CUSTOM_INDEX_OPERATIONS

    def put(self, request: Request, **_: Any) -> None:
        """Declare the index: body `{"path": 1, …}`, or the same as a list of {"Key", "Value"}."""
        keys = _index_keys(jsontext.check(raw_body(request)))
        free_documents.declare_index(
            self.kwargs["type"],
            self.kwargs["name"],
            keys,
        )

    def delete(self, request: Request, **_: Any) -> None:
        """Delete it; one that does not exist is no failure."""
        if parameters(raw_body(request)):
            raise Invalid("the body of this deletion has unknown members")
        free_documents.drop_index(self.kwargs["type"], self.kwargs["name"])


class ClusterInfo(FreeView):
    """The data that clients report of a cluster; read as `customresources/Cluster?clusterID=`."""

    actions = {"PUT": base.PUT, "DELETE": base.DELETE}
    operations = schemas.CLUSTER_INFO_OPERATIONS
    names_cluster_itself = False
    allowed_members: ClassVar[frozenset[str]] = (
        frozenset({"data", *CLUSTER_KEYS}) | free_documents.OWN_MEMBERS
    )

    def put(self, request: Request, **_: Any) -> None:
        """Create or replace it by the body's `data`; the path wins over a clusterID in the body."""
        body = Body(raw_body(request))
        body.refuse_unknown(self.allowed_members)
        members = {
            "clusterID": orjson.dumps(self.kwargs["cluster"]),
            "data": body.json("data").encode(),
        }
        self.put_free(
            request,
            free_documents.CLUSTER_TYPE,
            members,
            keys=[("clusterID",)],
        )

    def delete(self, request: Request, **_: Any) -> None:
        """Delete it; one that does not exist is no failure."""
        if parameters(raw_body(request)):
            raise Invalid("the body of this deletion has unknown members")
        where = [
            free_documents.free_type_clause(free_documents.CLUSTER_TYPE),
            free_documents.text_member_clause("clusterID", [self.kwargs["cluster"]]),
        ]
        self.write_audited(request, partial(free_documents.delete, where))


def _is_short(raw: bytes) -> bool:
    """Whether a member may be one that names a document: a scalar, and not a large one."""
    return len(raw) <= 8192 and raw[:1] not in (b"{", b"[")


def _index_keys(sent: object) -> list[str]:
    """The paths of an index; Invalid for anything else."""
    keys = []
    for key, direction in _index_pairs(sent):
        is_path = isinstance(key, str) and "" not in key.split(".")
        if not is_path or not _is_direction(direction):
            raise Invalid("an index holds paths, each with the direction 1 or -1")
        keys.append(key)
    if len(set(keys)) < len(keys):
        raise Invalid("an index names each path once")
    return keys


def _index_pairs(sent: object) -> list[tuple[Any, Any]]:
    if isinstance(sent, dict):
        return list(sent.items())
    # Go's bson.D: a list, as the order of an index matters.
    is_list = isinstance(sent, list) and all(
        isinstance(pair, dict) and pair.keys() == {"Key", "Value"} for pair in sent
    )
    if not isinstance(sent, list) or not is_list:
        raise Invalid("the body must be an object of paths and directions")
    return [(pair["Key"], pair["Value"]) for pair in sent]


def _is_direction(value: Any) -> bool:
    if isinstance(value, dict) and len(value) == 1:
        value = next((value[name] for name in _NUMBERS if name in value), None)
    return not isinstance(value, bool) and value in _DIRECTIONS
