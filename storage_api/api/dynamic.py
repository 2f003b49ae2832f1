"""Dynamic resources: one, many, typed queries, namespaces of a cluster, and batches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, ClassVar

import orjson
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from core.api.parsing import raw_body
from core.database.prepared import StatementCall
from core.errors import Invalid, NotFound
from storage_api.api import base, schemas
from storage_api.api.base import StorageView
from storage_api.api.bodies import Body, parameters
from storage_api.query import conditions, filters, times
from storage_api.query.conditions import Clause
from storage_api.query.document_filters import LABEL_SELECTOR
from storage_api.query.extra import Equals
from storage_api.query.filters import TypedQuery
from storage_api.query.queries import DocumentQuery
from storage_api.query.shapes import RESOURCE
from storage_api.services import bulk, resources
from storage_api.services.bulk import BatchCounts, WriteRecord
from storage_api.services.resources import Key

PROCESS = "process"
LINE = frozenset({"op", "namespace", "resourceType", "resourceName", "resourceVersion", "data"})
SWEEP_RANGE = ("updateTimeBegin", "updateTimeEnd")


@dataclass(frozen=True, slots=True)
class StoredType:
    """The type under which a path's documents are stored.

    `kinds` are the values of data.kind that its documents have; () for any.
    """

    name: str
    kinds: tuple[str | None, ...] = ()


def stored_type(env: str, resource_type: str) -> StoredType:
    """How a type of a path is stored: mesos stores processes among the applications."""
    if (env, resource_type) == ("mesos", PROCESS):
        return StoredType("application", (PROCESS,))
    return StoredType(resource_type)


class DynamicView(StorageView):
    """A view on documents of one type in one cluster."""

    env: ClassVar[str] = ""
    filtered = RESOURCE

    def clauses(
        self,
        resource_type: str,
        equalities: list[Equals],
        request: Request,
        sent: Mapping[str, str] | None = None,
    ) -> tuple[Clause, ...]:
        """The conditions of the path, of `extra`, and of the filters.

        Filters are in the query and in `sent`, the body's parameters.
        """
        cluster = str(self.kwargs["cluster"])
        stored = stored_type(self.env, resource_type)
        context = resources.condition_context(
            cluster,
            (resources.lower_ascii(stored.name),),
            self.style,
        )
        kinds = (conditions.kind_among(context, stored.kinds),) if stored.kinds else ()
        return (
            *resources.type_clauses(cluster, stored.name),
            *kinds,
            *conditions.equality_clauses(context, equalities),
            *self.filters(request, context, sent),
        )


class NamespacedResource(DynamicView):
    """One resource of a namespace."""

    actions = {"GET": base.GET_LISTED, "PUT": base.PUT, "DELETE": base.DELETE}
    operations = schemas.ONE_OPERATIONS
    # The document keys that the path fixes.
    fixed: ClassVar[tuple[str, ...]] = ("clusterId", "namespace", "resourceType", "resourceName")

    def key(self) -> Key:
        """The key that the path names."""
        stored = stored_type(self.env, self.kwargs["type"])
        return Key(
            self.kwargs["cluster"],
            stored.name,
            self.kwargs.get("namespace", ""),
            self.kwargs["name"],
        )

    def name_query(
        self,
        request: Request,
        namespace: tuple[Clause, ...],
    ) -> DocumentQuery:
        """The query for the path's name, within the namespace conditions, `extra`, and filters."""
        equalities = base.equalities(self.query(request), fixed=self.fixed)
        name = conditions.equals("resource_name", self.kwargs["name"])
        clauses = self.clauses(self.kwargs["type"], equalities, request)
        return DocumentQuery(RESOURCE, (*clauses, *namespace, name))

    def own_namespace(self) -> tuple[Clause, ...]:
        """The condition of the path's own namespace; "" is cluster scope."""
        return (conditions.equals("namespace", self.kwargs.get("namespace", "")),)

    def is_narrowed(self, request: Request) -> bool:
        """Whether anything but the path decides which document it is, or what of it is read."""
        stored = stored_type(self.env, self.kwargs["type"])
        return bool(request.query_params or stored.kinds)

    def own_document(self, request: Request) -> bytes | None:
        """The JSON text of the document that the path names, or None."""
        if self.is_narrowed(request):
            tree = base.fields(self.query(request))
            return self.first(self.name_query(request, self.own_namespace()), tree)
        return resources.read_by_key(self.key(), self.style, reveals=self.reveals)

    def get(self, request: Request, **_: Any) -> base.SingleDocument:
        """The document; NotFound when there is none."""
        document = self.own_document(request)
        if document is None:
            raise NotFound("resource does not exist")
        return base.SingleDocument(orjson.Fragment(document))

    def put(self, request: Request, **_: Any) -> None:
        """Create or replace the document by the body's `data`.

        Other members of a document may be in the body, as clients send back what they read; the
        path wins.
        """
        body = Body(raw_body(request))
        body.refuse_unknown({column.key for column in RESOURCE.columns})
        put = partial(resources.put, self.key(), body.json("data"))
        self.write_audited(request, put)

    def delete(self, request: Request, **_: Any) -> None:
        """Delete the document; one that is not there is no failure."""
        # A body may have been meant to limit the deletion.
        if parameters(raw_body(request)):
            raise Invalid("the body of this deletion has unknown members")
        if self.is_narrowed(request):
            query = self.name_query(request, self.own_namespace())
            self.write_audited(request, partial(resources.delete, query))
        else:
            self.write_audited(request, partial(resources.delete_by_key, self.key()))


class ClusterResource(NamespacedResource):
    """One resource of a cluster; GET falls back to the oldest document of that name."""

    fixed = ("clusterId", "resourceType", "resourceName")

    def get(self, request: Request, **_: Any) -> base.SingleDocument:
        """The cluster-scoped document of that name, else the oldest namespaced one."""
        document = self.own_document(request)
        if document is None:
            # No condition on the namespace: any of them, oldest document first.
            tree = base.fields(self.query(request))
            document = self.first(self.name_query(request, ()), tree)
        if document is None:
            raise NotFound("resource does not exist")
        return base.SingleDocument(orjson.Fragment(document))


class ResourceList(DynamicView):
    """All resources of a type, in the path's namespace or in the whole cluster."""

    actions = {"GET": base.LIST, "DELETE": base.DELETE_MANY}
    operations = schemas.LIST_OPERATIONS

    def where(
        self,
        request: Request,
        values: Mapping[str, str],
        sent: Mapping[str, str] | None = None,
    ) -> tuple[Clause, ...]:
        """The conditions of the path, of `extra`, and of the filters.

        Filters are in the query and in `sent`, the body's parameters.
        """
        namespace = self.kwargs.get("namespace")
        fixed: tuple[str, ...] = ("clusterId", "resourceType")
        within: tuple[Clause, ...] = ()
        if namespace:
            fixed = (*fixed, "namespace")
            within = (conditions.equals("namespace", namespace),)
        equalities = base.equalities(values, fixed=fixed)
        clauses = self.clauses(self.kwargs["type"], equalities, request, sent)
        return (*clauses, *within)

    def get(self, request: Request, **_: Any) -> HttpResponseBase:
        """The documents, oldest first."""
        values = self.query(request)
        offset, limit = base.parse_slice(values)
        query = DocumentQuery(
            RESOURCE,
            self.where(request, values),
            offset,
            limit,
        )
        return self.list_response(query, base.fields(values))

    def delete(self, request: Request, **_: Any) -> None:
        """Delete the documents that match every filter and were updated within the open range.

        Without filter and range all of the type. All or nothing; Invalid, and nothing is deleted,
        for any parameter that is unknown or cannot be parsed.
        """
        sent = parameters(raw_body(request))
        self.refuse_unknown(request, sent)
        values = self.deletion_values(request, sent)
        within = resources.update_time_range(
            sweep_bound("updateTimeBegin", values), sweep_bound("updateTimeEnd", values)
        )
        query = DocumentQuery(RESOURCE, (*self.where(request, values, sent), *within))
        stored = stored_type(self.env, self.kwargs["type"])
        cluster = self.kwargs["cluster"]
        sweep = partial(resources.sweep, cluster, stored.name, query)
        self.write_audited(request, sweep)

    def deletion_values(
        self,
        request: Request,
        sent: Mapping[str, str],
    ) -> dict[str, str]:
        """The parameters of a deletion: updateTimeBegin and updateTimeEnd of the body win.

        Invalid for another one that is there twice with different values: it is undefined which
        of them was meant to limit.
        """
        values = {**self.query(request), **sent}
        for name in self.own_parameters(request):
            texts = set(request.query_params.getlist(name))
            if name in sent and name not in SWEEP_RANGE:
                texts.add(sent[name])
            if len(texts) > 1:
                raise Invalid(f"{name} is given more than once")
        if values.get(LABEL_SELECTOR, "?").strip() == "":
            raise Invalid(f"{LABEL_SELECTOR} is empty: leave it out to delete all of the type")
        return values


def sweep_bound(name: str, values: Mapping[str, str]) -> datetime | None:
    """A side of the range of a deletion, in unix seconds; 0 and less are no bound.

    Invalid when the value is no integer, or empty: an unclear deletion deletes nothing.
    """
    seconds = times.parse_int64(values.get(name, "0"))
    if seconds is None:
        raise Invalid(f"{name} must be a whole number of unix seconds")
    return times.to_instant(min(seconds, times.LAST_SECOND)) if seconds > 0 else None


class TypedList(StorageView):
    """A typed query: the table's parameters, `extra`, `field`, `offset`, `limit`.

    POST takes them as a JSON object, too.
    """

    actions = {"GET": base.LIST, "POST": base.LIST}
    typed: ClassVar[TypedQuery] = None  # type: ignore[assignment]  # bound per route by as_view
    filtered = RESOURCE

    def get(self, request: Request, **_: Any) -> HttpResponseBase:
        """The documents that match, oldest first."""
        cluster = self.kwargs["cluster"]
        sent = self.body_parameters(request)
        values = {**self.query(request), **sent}
        context = resources.condition_context(cluster, self.typed.types, self.style)
        kinds = (conditions.kind_among(context, self.typed.kinds),) if self.typed.kinds else ()
        # As the published server: here an array in `extra` means any of its elements.
        equalities = base.equalities(values, fixed=("clusterId",), any_of=True)
        where = (
            *resources.query_type_clauses(cluster, self.typed),
            *kinds,
            *conditions.typed_clauses(context, self.typed.filters, values),
            *conditions.equality_clauses(context, equalities),
            *self.filters(request, context, sent),
        )
        offset, limit = base.parse_slice(values)
        return self.list_response(
            DocumentQuery(RESOURCE, where, offset, limit),
            base.fields(values),
        )

    post = get


class NamespacesInUse(StorageView):
    """The namespaces in which a cluster runs something."""

    actions = {"GET": base.LIST, "POST": base.LIST}
    operations = schemas.NAMESPACE_OPERATIONS
    filtered = RESOURCE
    env: ClassVar[str] = ""

    def get(self, request: Request, **_: Any) -> list[str]:
        """The names, sorted; `name`, `namespace` and `extra` narrow them."""
        return self.names(request, self.body_parameters(request))

    post = get

    def names(
        self,
        request: Request,
        sent: Mapping[str, str],
    ) -> list[str]:
        """The names under the parameters of the query and of `sent`, the body's parameters."""
        values = {**self.query(request), **sent}
        cluster = self.kwargs["cluster"]
        types = filters.NAMESPACE_SOURCES[self.env]
        context = resources.condition_context(cluster, types, self.style)
        # Here both parameters name namespaces.
        narrowing = [
            conditions.equals_any("namespace", conditions.split_choices(values[key]))
            for key in ("name", "namespace")
            if values.get(key)
        ]
        equalities = base.equalities(values, fixed=("clusterId",), any_of=True)
        where = (
            *narrowing,
            *conditions.equality_clauses(context, equalities),
            *self.filters(request, context, sent),
        )
        names = resources.namespaces(cluster, types, where)
        offset, limit = base.parse_slice(values)
        return names[offset:] if limit is None else names[offset : offset + limit]


class NamespaceDocuments(TypedList):
    """The Namespace documents of a k8s cluster; with `used=1` the names of those in use."""

    def get(self, request: Request, **kwargs: Any) -> Any:
        """Documents, or sorted names."""
        values = self.all_parameters(request)
        if values.get("used", "").lower() in ("1", "true"):
            names = NamespacesInUse(
                env="k8s",
                dialect=self.dialect,
                operations=self.operations,
                kwargs=self.kwargs,
            )
            return names.names(request, self.body_parameters(request))
        return super().get(request, **kwargs)

    post = get


class Batch(StorageView):
    """Many writes to one cluster in one transaction, as lines of JSON."""

    actions = {"POST": base.PUT}
    operations = schemas.BATCH_OPERATIONS

    def post(self, request: Request, **_: Any) -> dict[str, int]:
        """Apply every line or none; answers how many documents were added, changed and so on.

        A line is `{"op": "put"|"delete", "namespace", "resourceType", "resourceName", "data"}`.
        `guard=1` keeps documents whose stored resourceVersion is newer.
        """
        guard = self.query(request).get("guard", "").lower() in ("1", "true")
        # Empty lines count, so that numbers in errors are those of an editor.
        lines = raw_body(request).split(b"\n")
        records = [
            self._record(number, line) for number, line in enumerate(lines, 1) if line.strip()
        ]

        def write(statements: Sequence[StatementCall]) -> BatchCounts:
            return bulk.write(records, guard=guard, in_turn=True, statements=statements)

        return self.write_audited(request, write).as_dict()

    def _record(self, number: int, line: bytes) -> WriteRecord:
        try:
            body = Body(line)
            body.refuse_unknown(LINE)
            key = Key(
                self.kwargs["cluster"],
                body.text("resourceType"),
                body.text("namespace"),
                body.text("resourceName"),
            )
        except Invalid as error:
            raise Invalid(f"line {number}: {error.message}", line=number) from None
        if not key.resource_type or not key.resource_name:
            raise Invalid(f"line {number}: resourceType and resourceName are needed", line=number)
        match body.text("op"):
            case "put":
                return WriteRecord(key, body.members.get("data", b"null"))
            case "delete":
                return WriteRecord(key, None, body.text("resourceVersion"))
        raise Invalid(f"line {number}: op must be put or delete", line=number)
