"""Documents of a type in any cluster or in none, as today's Go server keeps them: `customresources`, their indexes, and `clusters/{id}`."""

from collections.abc import Iterator, Mapping
from itertools import chain, product
from typing import Any, ClassVar

import orjson
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from core.api.parsing import raw_body
from core.errors import Invalid
from storage_api.api import base, dynamic, schemas
from storage_api.api.base import StorageView
from storage_api.api.bodies import Body, parameters
from storage_api.query import conditions, document_filters, extra, jsontext
from storage_api.query.conditions import Clause, Context
from storage_api.query.queries import Query
from storage_api.query.shapes import FREE, RESOURCE
from storage_api.services import free_documents, resources, write_errors
from storage_api.services.free_documents import CLUSTER_KEYS, Owner
from storage_api.services.resources import Key

MAX_OWNERS = 500
_RESOURCE_MEMBERS = (
    frozenset(column.key for column in RESOURCE.columns) | free_documents.OWN_MEMBERS
)
# An index's keys as clients write them: 1 and -1, or what BSON's own JSON makes of these.
_DIRECTIONS = (1, -1, "1", "-1")
_NUMBERS = ("$numberInt", "$numberLong", "$numberDouble")
_SLICE = ("offset", "limit")


class FreeView(StorageView):
    """A view whose documents name their cluster themselves, or none."""

    names_cluster_itself = True

    def authorise_owner(self, request: Request, owner: Owner) -> None:
        """Forbidden unless the caller may do to this owner's documents what the request does."""
        namespace = owner.namespace if owner.cluster else ""
        self.authorise_cluster(request, owner.cluster, namespace=namespace)


class CustomResources(FreeView):
    """The documents of one type: those of clusters, then the free ones."""

    actions = {"GET": base.GET_LISTED, "PUT": base.PUT, "DELETE": base.DELETE_MANY}
    operations = schemas.CUSTOM_OPERATIONS
    filtered = FREE

    def own_parameters(self, request: Request) -> frozenset[str]:
        """As the table lists them; the cluster is one more path of the documents."""
        return super().own_parameters(request) - {CLUSTER_KEYS[0]}

    @property
    def type(self) -> str:
        """The type under which the documents stand."""
        return dynamic.stored_type("mesos", str(self.kwargs["type"])).name

    def get(self, request: Request, **_: Any) -> HttpResponseBase:
        """The documents that every parameter fits, with the number of all that do; the oldest of clusters first, then the free ones."""
        self._authorise(request)
        values = self.query(request)
        offset, limit = base.slice_of(values)
        fields = base.fields(values)
        of_clusters, free = self._queries(request)
        counts = write_errors.total(of_clusters), write_errors.total(free)
        parts: list[Iterator[list[bytes]]] = []
        skipped, left = offset, limit
        for query, count, kept in (
            (of_clusters, counts[0], fields),
            (free, counts[1], {**fields, "_id": None} if fields else fields),
        ):
            if skipped < count and left != 0:
                part = Query(query.shape, query.where, skipped, left)
                parts.append(resources.reader(part, kept, self.style, reveals=self.reveals))
                left = None if left is None else max(0, left - (count - skipped))
            skipped = max(0, skipped - count)
        return self.streamed(
            chain.from_iterable(parts),
            total=sum(counts),
            extra={"pageSize": limit or 0, "offset": offset},
        )

    def put(self, request: Request, **_: Any) -> None:
        """Store the body: under its cluster when it is one of a cluster's documents, else as a free one, named by the type's index."""
        members = jsontext.members(raw_body(request))
        document = {key: orjson.loads(raw) for key, raw in members.items() if _is_short(raw)}
        for owner in free_documents.owners(document):
            self.authorise_owner(request, owner)
        self.refuse_unknown(request, request.query_params)
        key = self._key(document, members)
        if key is not None:
            resources.put(key, members["data"].decode())
            return
        free_documents.put(self.type, members, lambda owner: self.authorise_owner(request, owner))

    def delete(self, request: Request, **_: Any) -> None:
        """Delete the documents that every parameter fits; without any, all of the type. All or nothing.

        Those of clusters go only where clusterId is given: a client that loses its parameters must not empty every cluster.
        """
        self._authorise(request)
        if parameters(raw_body(request)):
            raise Invalid("the body of this deletion has members that are not known here")
        for name in _SLICE:
            if name in request.query_params:
                raise Invalid(f"{name} is not known here", field=name)
        values = self.query(request)
        if values.get(document_filters.LABEL_SELECTOR, "?").strip() == "":
            raise Invalid("labelSelector is empty: leave it out to delete all of the type")
        for name in self.own_parameters(request):
            if len(set(request.query_params.getlist(name))) > 1:
                raise Invalid(f"{name} is given more than once")
        of_clusters, free = self._queries(request)
        if not self._named(request, CLUSTER_KEYS[0]) and write_errors.total(of_clusters):
            raise Invalid("documents of clusters are deleted by naming them: clusterId is needed")
        free_documents.sweep(self._clusters(request), self.type, of_clusters, free)

    def _key(self, document: Mapping[str, Any], members: Mapping[str, bytes]) -> Key | None:
        """The place of a document that is one of a cluster's; None for a free one."""
        texts = [document.get(name) for name in ("clusterId", "resourceName")]
        stands = all(isinstance(text, str) and text for text in texts) and "data" in members
        namespace = document.get("namespace") or ""
        of_type = document.get("resourceType") or self.type
        if not stands or of_type != self.type or not isinstance(namespace, str):
            return None
        if not members.keys() <= _RESOURCE_MEMBERS:
            return None
        return Key(str(texts[0]), self.type, namespace, str(texts[1]))

    def _authorise(self, request: Request) -> None:
        """Ask for the clusters and namespaces that the parameters name, for everything where they name none.

        What is not known is refused after that.
        """
        clusters = self._named(request, CLUSTER_KEYS[0]) or self._named(request, CLUSTER_KEYS[1])
        namespaces = self._named(request, "namespace")
        is_bounded = len(clusters) * max(1, len(namespaces)) <= MAX_OWNERS
        if not clusters or not is_bounded:
            self.authorise_owner(request, Owner(""))
        else:
            for cluster, namespace in product(clusters, namespaces or [""]):
                self.authorise_owner(request, Owner(cluster, namespace))
        self.refuse_unknown(request, request.query_params)

    def _named(self, request: Request, name: str) -> list[str]:
        lists = request.query_params.getlist(name)
        return list(dict.fromkeys(value for text in lists for value in text.split(",")))

    def _clusters(self, request: Request) -> list[str]:
        """The clusters to look into."""
        named = self._named(request, CLUSTER_KEYS[0])
        return named if named and all(named) else resources.clusters_of(self.type)

    def _queries(self, request: Request) -> tuple[Query, Query]:
        """The query of clusters' documents, and that of free ones."""
        pairs = self.filter_pairs(request)
        given = extra.conditions(self.query(request).get("extra", ""), any_of=False)
        clusters = self._clusters(request)
        lower = resources.lower(self.type)
        roots = tuple(resources.root(cluster, lower) for cluster in clusters)
        context = Context(RESOURCE, self.style.info, (lower,), roots)
        fits = all(document_filters.is_filter(RESOURCE, name) for name, _ in pairs)
        of_clusters: list[Clause] = [
            *resources.in_clusters(clusters, self.type),
            *conditions.matching(context, given),
            *(document_filters.clauses(context, pairs) if fits else [conditions.NEVER]),
        ]
        context = Context(FREE, self.style.info)
        free = [
            free_documents.of_type(self.type),
            *conditions.matching(context, given),
            *document_filters.clauses(context, pairs),
        ]
        # What was authorised is a text: a list that holds it may belong to others too.
        for name in (*CLUSTER_KEYS, "namespace"):
            values = self._named(request, name)
            if any(values):
                free.append(free_documents.exactly(name, values))
        return Query(RESOURCE, tuple(of_clusters)), Query(FREE, tuple(free))


class CustomIndex(StorageView):
    """An index of a type's free documents."""

    actions = {"PUT": base.PUT, "DELETE": base.DELETE}
    operations = schemas.CUSTOM_INDEX_OPERATIONS

    def put(self, request: Request, **_: Any) -> None:
        """Declare the index: body `{"path": 1, …}`, or the same as a list of {"Key", "Value"}."""
        keys = _index_keys(jsontext.check(raw_body(request)))
        free_documents.declare_index(self.kwargs["type"], self.kwargs["name"], keys)

    def delete(self, request: Request, **_: Any) -> None:
        """Forget it; one that is not there is no failure."""
        if parameters(raw_body(request)):
            raise Invalid("the body of this deletion has members that are not known here")
        free_documents.drop_index(self.kwargs["type"], self.kwargs["name"])


class ClusterInfo(FreeView):
    """What is told of one cluster; read as `customresources/Cluster?clusterID=`."""

    actions = {"PUT": base.PUT, "DELETE": base.DELETE}
    operations = schemas.CLUSTER_INFO_OPERATIONS
    names_cluster_itself = False
    known: ClassVar[frozenset[str]] = (
        frozenset({"data", *CLUSTER_KEYS}) | free_documents.OWN_MEMBERS
    )

    def put(self, request: Request, **_: Any) -> None:
        """Create or replace it by the body's `data`; the address wins over a clusterID in the body."""
        body = Body(raw_body(request))
        body.refuse_unknown(self.known)
        members = {
            "clusterID": orjson.dumps(self.kwargs["cluster"]),
            "data": body.json("data").encode(),
        }
        free_documents.put(
            free_documents.CLUSTER_TYPE,
            members,
            lambda owner: self.authorise_owner(request, owner),
            keys=[("clusterID",)],
        )

    def delete(self, request: Request, **_: Any) -> None:
        """Delete it; one that is not there is no failure."""
        if parameters(raw_body(request)):
            raise Invalid("the body of this deletion has members that are not known here")
        free_documents.delete(
            [
                free_documents.of_type(free_documents.CLUSTER_TYPE),
                free_documents.exactly("clusterID", [self.kwargs["cluster"]]),
            ]
        )


def _is_short(raw: bytes) -> bool:
    """Whether a member may be one of those that name a document."""
    return len(raw) <= 8192 and raw[:1] not in (b"{", b"[")


def _index_keys(sent: object) -> list[str]:
    if isinstance(sent, dict):
        pairs = list(sent.items())
    elif isinstance(sent, list) and all(
        isinstance(item, dict) and item.keys() == {"Key", "Value"} for item in sent
    ):
        pairs = [(item["Key"], item["Value"]) for item in sent]
    else:
        raise Invalid("the body must be an object of paths and directions")
    keys = []
    for key, direction in pairs:
        if isinstance(direction, dict) and len(direction) == 1:
            direction = next((direction.get(name) for name in _NUMBERS if name in direction), None)
        is_direction = not isinstance(direction, bool) and direction in _DIRECTIONS
        if not isinstance(key, str) or not key or "" in key.split(".") or not is_direction:
            raise Invalid("an index holds paths, each with the direction 1 or -1")
        keys.append(key)
    if len(set(keys)) < len(keys):
        raise Invalid("an index names a path once")
    return keys
