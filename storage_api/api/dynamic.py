"""Dynamic resources: one, many, typed queries, namespaces of a cluster, and the batch door."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

import orjson
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from kubegale.api.parsing import raw_body
from kubegale.errors import Invalid, NotFound
from storage_api import conditions, filters, times
from storage_api.api import base, schemas
from storage_api.api.base import StorageView
from storage_api.api.bodies import Body
from storage_api.conditions import Clause
from storage_api.documents import RESOURCE
from storage_api.extra import Equals
from storage_api.filters import TypedQuery
from storage_api.queries import Query
from storage_api.services import bulk, resources
from storage_api.services.bulk import Record
from storage_api.services.resources import Key

PROCESS = "process"


@dataclass(frozen=True, slots=True)
class StoredType:
    """The type under which a path's documents are stored, and which values of data.kind the path is bound to."""

    name: str
    kinds: tuple[str | None, ...] = ()


def stored_type(env: str, resource_type: str) -> StoredType:
    """mesos keeps processes among the applications; every other type stands under its own word."""
    return (
        StoredType("application", (PROCESS,))
        if (env, resource_type) == ("mesos", PROCESS)
        else StoredType(resource_type)
    )


class DynamicView(StorageView):
    """A view on documents of one type in one cluster."""

    env: ClassVar[str] = ""

    def clauses(self, resource_type: str, found: list[Equals]) -> tuple[Clause, ...]:
        """The conditions of the address and of `extra`."""
        cluster, stored = str(self.kwargs["cluster"]), stored_type(self.env, resource_type)
        context = resources.context(cluster, (_lower(stored.name),), self.style)
        kinds = (conditions.kind_among(context, stored.kinds),) if stored.kinds else ()
        return (
            *resources.of_type(cluster, stored.name),
            *kinds,
            *conditions.matching(context, found),
        )


def _lower(text: str) -> str:
    """Lower case of ASCII letters alone, as the database's column has it."""
    return "".join(letter.lower() if letter.isascii() else letter for letter in text)


class NamespacedResource(DynamicView):
    """One resource of a namespace."""

    actions = {"GET": base.GET_LISTED, "PUT": base.PUT, "DELETE": base.DELETE}
    operations = schemas.ONE_OPERATIONS
    given: ClassVar[tuple[str, ...]] = ("clusterId", "namespace", "resourceType", "resourceName")

    def key(self) -> Key:
        """The key that the address names."""
        stored = stored_type(self.env, self.kwargs["type"])
        return Key(
            self.kwargs["cluster"],
            stored.name,
            self.kwargs.get("namespace", ""),
            self.kwargs["name"],
        )

    def named(self, values: Mapping[str, str], namespace: tuple[Clause, ...]) -> Query:
        """The query for the address's name, within the namespace conditions and `extra`."""
        found = base.equalities(values, given=self.given)
        name = conditions.equals("resource_name", self.kwargs["name"])
        return Query(RESOURCE, (*self.clauses(self.kwargs["type"], found), *namespace, name))

    def home(self) -> tuple[Clause, ...]:
        """The condition of the address's own namespace; "" is cluster scope."""
        return (conditions.equals("namespace", self.kwargs.get("namespace", "")),)

    def get(self, request: Request, **_: Any) -> base.Single:
        """The document; NotFound when there is none."""
        values = self.query(request)
        found = resources.first(self.named(values, self.home()), base.fields(values), self.style)
        if found is None:
            raise NotFound("resource does not exist")
        return base.Single(orjson.Fragment(found))

    def put(self, request: Request, **_: Any) -> None:
        """Create or replace the document by the body's `data`."""
        resources.put(self.key(), Body(raw_body(request)).json("data"))

    def delete(self, request: Request, **_: Any) -> None:
        """Delete the document; one that is not there is no failure."""
        resources.delete(self.named(self.query(request), self.home()))


class ClusterResource(NamespacedResource):
    """One resource of a cluster; reading falls back to the oldest document of that name in any namespace."""

    given = ("clusterId", "resourceType", "resourceName")

    def get(self, request: Request, **_: Any) -> base.Single:
        """The cluster-scoped document of that name, else the oldest namespaced one."""
        values = self.query(request)
        for namespace in (self.home(), ()):
            found = resources.first(self.named(values, namespace), base.fields(values), self.style)
            if found is not None:
                return base.Single(orjson.Fragment(found))
        raise NotFound("resource does not exist")


class ResourceList(DynamicView):
    """All resources of a type: of one namespace where the address names one, else of the whole cluster."""

    actions = {"GET": base.LIST, "DELETE": base.DELETE_MANY}
    operations = schemas.LIST_OPERATIONS

    def where(self, values: Mapping[str, str]) -> tuple[Clause, ...]:
        """The conditions of the address and of `extra`."""
        namespace = self.kwargs.get("namespace")
        given = ("clusterId", "resourceType", *(("namespace",) if namespace else ()))
        within = (conditions.equals("namespace", namespace),) if namespace else ()
        return (*self.clauses(self.kwargs["type"], base.equalities(values, given=given)), *within)

    def get(self, request: Request, **_: Any) -> HttpResponseBase:
        """The documents, oldest first."""
        values = self.query(request)
        offset, limit = base.slice_of(values)
        query = Query(RESOURCE, self.where(values), offset, limit)
        return self.streamed(resources.reader(query, base.fields(values), self.style))

    def delete(self, request: Request, **_: Any) -> None:
        """Delete the documents whose updateTime lies within the open range; without a range all of the type. All or nothing."""
        values = self.query(request)
        begin, end = sweep_range(values, raw_body(request))
        query = Query(RESOURCE, (*self.where(values), *resources.updated_between(begin, end)))
        resources.sweep(
            self.kwargs["cluster"], stored_type(self.env, self.kwargs["type"]).name, query
        )


def sweep_range(values: Mapping[str, str], body: bytes) -> tuple[datetime | None, datetime | None]:
    """updateTimeBegin and updateTimeEnd, unix seconds, of the query and of the JSON body, which wins key by key; 0 and less are no bound.

    Invalid when the body is no object or a value is no integer: a sweep that was not understood deletes nothing.
    """
    sent = Body(body) if body.strip() else None
    return _sweep_bound("updateTimeBegin", values, sent), _sweep_bound(
        "updateTimeEnd", values, sent
    )


def _sweep_bound(name: str, values: Mapping[str, str], sent: Body | None) -> datetime | None:
    if sent is not None and sent.members.get(name, b"null") != b"null":
        seconds: int | None = sent.whole(name)
    else:
        seconds = times.whole_number(values[name]) if values.get(name) else 0
    if seconds is None:
        raise Invalid(f"{name} must be a whole number of unix seconds")
    return times.instant_of(min(seconds, times.LAST_SECOND)) if seconds > 0 else None


class TypedList(StorageView):
    """A typed query: the table's parameters, `extra`, `field`, `offset`, `limit`; POST takes them as a JSON object too."""

    actions = {"GET": base.LIST, "POST": base.LIST}
    typed: ClassVar[TypedQuery] = None  # type: ignore[assignment]  # bound per route by as_view

    def get(self, request: Request, **_: Any) -> HttpResponseBase:
        """The documents that match, oldest first."""
        cluster, values = self.kwargs["cluster"], self.all_parameters(request)
        context = resources.context(cluster, self.typed.types, self.style)
        kinds = (conditions.kind_among(context, self.typed.kinds),) if self.typed.kinds else ()
        where = (
            *resources.of_query(cluster, self.typed),
            *kinds,
            *conditions.typed(context, self.typed.filters, values),
            *conditions.matching(
                context, base.equalities(values, given=("clusterId",), any_of=True)
            ),
        )
        offset, limit = base.slice_of(values)
        return self.streamed(
            resources.reader(Query(RESOURCE, where, offset, limit), base.fields(values), self.style)
        )

    post = get


class NamespaceNames(StorageView):
    """The namespaces in which a cluster runs something."""

    actions = {"GET": base.LIST, "POST": base.LIST}
    operations = schemas.NAMESPACE_OPERATIONS
    env: ClassVar[str] = ""

    def get(self, request: Request, **_: Any) -> list[str]:
        """The names, sorted; `name`, `namespace` and `extra` narrow them."""
        return self.names(self.all_parameters(request))

    post = get

    def names(self, values: Mapping[str, str]) -> list[str]:
        """The names under the given parameters."""
        cluster, types = self.kwargs["cluster"], filters.NAMESPACE_SOURCES[self.env]
        context = resources.context(cluster, types, self.style)
        chosen = [
            conditions.among("namespace", conditions.choices(values[key]))
            for key in ("name", "namespace")
            if values.get(key)
        ]
        found = conditions.matching(
            context, base.equalities(values, given=("clusterId",), any_of=True)
        )
        return resources.namespaces(cluster, types, (*chosen, *found))


class NamespaceDocuments(TypedList):
    """The Namespace documents of a k8s cluster, or with `used=1` the names of the namespaces that it uses."""

    def get(self, request: Request, **kwargs: Any) -> Any:
        """Documents, or sorted names."""
        values = self.all_parameters(request)
        if values.get("used", "").lower() in ("1", "true"):
            names = NamespaceNames(env="k8s", dialect=self.dialect)
            names.kwargs = self.kwargs
            return names.names(values)
        return super().get(request, **kwargs)

    post = get


class Batch(StorageView):
    """Many writes to one cluster in one transaction, as lines of JSON."""

    actions = {"POST": base.PUT}
    operations = schemas.BATCH_OPERATIONS

    def post(self, request: Request, **_: Any) -> dict[str, int]:
        """Apply every line or none: `{"op": "put"|"delete", "namespace", "resourceType", "resourceName", "data"}`; answers the counts.

        `guard=1` keeps documents whose stored resourceVersion is newer.
        """
        guard = self.query(request).get("guard", "").lower() in ("1", "true")
        lines = raw_body(request).split(b"\n")
        records = [
            self._record(number, line) for number, line in enumerate(lines, 1) if line.strip()
        ]
        return bulk.write(records, guard=guard, in_turn=True).as_dict()

    def _record(self, number: int, line: bytes) -> Record:
        try:
            body = Body(line)
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
                return Record(key, body.members.get("data", b"null"))
            case "delete":
                return Record(key, None, body.text("resourceVersion"))
        raise Invalid(f"line {number}: op must be put or delete", line=number)
