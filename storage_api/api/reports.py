"""Events, alarms, metrics, hosts and watch nodes over HTTP."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

import orjson
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from core.api.parsing import raw_body
from core.errors import Invalid, NotFound
from storage_api.api import base, schemas
from storage_api.api.base import StorageView
from storage_api.api.bodies import Body, parameters
from storage_api.query import conditions, extra, times
from storage_api.query.conditions import Clause, Context
from storage_api.query.paths import Tree
from storage_api.query.queries import DocumentQuery
from storage_api.query.shapes import ALARM, EVENT, HOST, METRIC, WATCH_NODE, Shape
from storage_api.services import events, hosts, metrics, watchnodes, write_errors
from storage_api.services.metrics import MetricKey
from storage_api.services.watchnodes import WatchNodeKey

# Of a list with a length of 0 or less.
DEFAULT_LENGTH = 1000


def moment(body: Body, name: str) -> datetime:
    """A body's unix seconds as an instant; Invalid outside the years 1 to 9999."""
    seconds = body.whole(name)
    if not times.FIRST_SECOND <= seconds <= times.LAST_SECOND:
        raise Invalid(f"{name} must be unix seconds")
    return times.to_instant(seconds)


class ReportView(StorageView):
    """A view on one family of reports."""

    shape: ClassVar[Shape]

    @property
    def context(self) -> Context:
        """The context of conditions on the family."""
        return Context(self.shape, self.style.info)

    def body(self, request: Request) -> Body:
        """The body of a write.

        Any member of a stored document may be in it, as clients send back what they read.
        """
        body = Body(raw_body(request))
        body.refuse_unknown({column.key for column in self.shape.columns})
        return body

    def body_naming_cluster(self, request: Request) -> Body:
        """The body of a write that names its cluster."""
        body = Body(raw_body(request))
        # Rights first: a caller who may not write learns nothing else.
        self.authorise_cluster(request, body.text("clusterId"))
        self.refuse_unknown(request, request.query_params)
        body.refuse_unknown({column.key for column in self.shape.columns})
        return body

    def list_clauses(
        self,
        values: Mapping[str, str],
        columns: Mapping[str, str],
    ) -> tuple[Clause, ...]:
        """Comma lists of parameters, each against its column."""
        return tuple(
            conditions.equals_any(column, conditions.split_choices(values[name]))
            for name, column in columns.items()
            if values.get(name)
        )

    def time_clauses(
        self,
        values: Mapping[str, str],
        column: str,
    ) -> tuple[Clause, ...]:
        """timeBegin and timeEnd, both exclusive; 0, less and what is no time are no bound."""
        clauses = []
        for name, operator in (("timeBegin", ">"), ("timeEnd", "<")):
            bound = times.parse_bound(values.get(name, ""), self.style.info)
            # Clients send 0 for "no bound".
            if bound is not None and bound.seconds > 0:
                clauses.append(conditions.compare(column, operator, bound.instant))
        return tuple(clauses)

    def page(
        self,
        where: tuple[Clause, ...],
        values: Mapping[str, str],
    ) -> HttpResponseBase:
        """A counted list, newest first."""
        offset, limit = base.parse_slice(
            values,
            length="length",
            none_below=DEFAULT_LENGTH,
        )
        query = DocumentQuery(self.shape, where, offset, limit)
        return self.list_response(
            query,
            base.fields(values),
            total=write_errors.count_matching(query),
        )

    def document(
        self,
        where: tuple[Clause, ...],
        tree: Tree,
    ) -> orjson.Fragment:
        """The first document that matches; NotFound without one."""
        document = self.first(DocumentQuery(self.shape, where), tree)
        if document is None:
            raise NotFound("resource does not exist")
        return orjson.Fragment(document)

    def documents(
        self,
        where: tuple[Clause, ...],
        values: Mapping[str, str],
    ) -> HttpResponseBase:
        """A plain list, oldest first."""
        offset, limit = base.parse_slice(values)
        return self.list_response(
            DocumentQuery(self.shape, where, offset, limit),
            base.fields(values),
        )


class EventReports(ReportView):
    """Events of all clusters: list and report."""

    actions = {"GET": base.LIST_COUNTED, "POST": base.LIST_COUNTED, "PUT": base.PUT}
    operations = schemas.EVENT_OPERATIONS
    names_cluster_itself = True
    shape = filtered = EVENT
    columns = {
        "id": "event_id",
        "env": "env",
        "kind": "kind",
        "level": "level",
        "component": "component",
        "type": "type",
        "clusterId": "cluster_id",
    }
    extra_info = ("name", "namespace", "kind")

    def get(self, request: Request, **_: Any) -> HttpResponseBase:
        """A counted list by the time of the events, newest first.

        POST takes the parameters as a JSON object, too.
        """
        sent = parameters(raw_body(request)) if request.method == "POST" else {}
        values = {**self.query(request), **sent}
        for cluster in values.get("clusterId", "").split(","):
            self.authorise_cluster(request, cluster)
        self.refuse_unknown(request, [*request.query_params, *sent])
        info = [
            extra.Equals(
                ("extraInfo", key), tuple(conditions.split_choices(values[f"extraInfo.{key}"]))
            )
            for key in self.extra_info
            if values.get(f"extraInfo.{key}")
        ]
        equalities = [
            *info,
            *base.equalities(values, fixed=(), any_of=True),
        ]
        contained = extra.containments(values.get("extra_contain", ""))
        where = (
            *self.list_clauses(values, self.columns),
            *self.time_clauses(values, "event_time"),
            *conditions.equality_clauses(self.context, equalities),
            *conditions.containment_clauses(self.context, contained),
            *self.filters(request, self.context, sent),
        )
        return self.page(where, values)

    post = get

    def put(self, request: Request, **_: Any) -> None:
        """Store one event."""
        body = self.body_naming_cluster(request)
        info = body.object("extraInfo")
        #  list)]|Numbers and booleans are taken as their text, as Go's decoder of the original
        # does.
        unknown = [key for key in self.extra_info if isinstance(info.get(key), dict | list)]
        if unknown:
            raise Invalid(f"extraInfo.{unknown[0]} must be a string")
        events.add_event(
            events.EventReport(
                event_id=body.text("id"),
                env=body.text("env"),
                kind=body.text("kind"),
                level=body.text("level"),
                component=body.text("component"),
                type=body.text("type"),
                describe=body.text("describe"),
                cluster_id=body.text("clusterId"),
                event_time=moment(body, "eventTime"),
                extra_info=orjson.dumps(
                    {key: _text(info.get(key)) for key in ("namespace", "name", "kind")}
                ).decode(),
                data=body.json("data"),
            )
        )


def _text(value: object) -> str:
    """A JSON scalar as a text; "" for null."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    # JSON's spelling: true, not Python's True.
    return orjson.dumps(value).decode()


class AlarmReports(ReportView):
    """Alarms of all clusters: list and report."""

    actions = {"GET": base.LIST_COUNTED, "POST": base.PUT}
    operations = schemas.ALARM_OPERATIONS
    names_cluster_itself = True
    shape = filtered = ALARM
    columns = {
        "clusterId": "cluster_id",
        "namespace": "namespace",
        "source": "source",
        "module": "module",
    }

    def get(self, request: Request, **_: Any) -> HttpResponseBase:
        """A counted list by the time of the alarms, newest first.

        `type` matches any part of the stored list of types.
        """
        values = self.query(request)
        for cluster in values.get("clusterId", "").split(","):
            self.authorise_cluster(request, cluster)
        self.refuse_unknown(request, request.query_params)
        types: tuple[Clause, ...] = ()
        if values.get("type"):
            # The column is a comma list itself.
            types = (conditions.contains_any("type", conditions.split_choices(values["type"])),)
        equalities = base.equalities(values, fixed=(), any_of=True)
        where = (
            *self.list_clauses(values, self.columns),
            *types,
            *self.time_clauses(values, "received_time"),
            *conditions.equality_clauses(self.context, equalities),
            *self.filters(request, self.context),
        )
        return self.page(where, values)

    def post(self, request: Request, **_: Any) -> None:
        """Store one alarm."""
        body = self.body_naming_cluster(request)
        texts = {
            name: body.text(name) for name in ("namespace", "message", "source", "module", "type")
        }
        events.add_alarm(
            events.AlarmReport(
                cluster_id=body.text("clusterId"),
                received_time=moment(body, "receivedTime"),
                data=body.json("data"),
                **texts,
            )
        )


class MetricDocument(ReportView):
    """One metric."""

    actions = {"GET": base.GET, "PUT": base.PUT, "DELETE": base.DELETE}
    operations = schemas.METRIC_OPERATIONS
    shape = METRIC

    def key(self) -> MetricKey:
        """The key that the path names."""
        return MetricKey(
            self.kwargs["cluster"],
            self.kwargs["namespace"],
            self.kwargs["type"],
            self.kwargs["name"],
        )

    def get(self, request: Request, **_: Any) -> orjson.Fragment:
        """The document."""
        return self.document(self.key().clauses(), base.fields(self.query(request)))

    def put(self, request: Request, **_: Any) -> None:
        """Create or replace it."""
        metrics.put(self.key(), self.body(request).json("data"))

    def delete(self, request: Request, **_: Any) -> None:
        """Delete it; one that does not exist is no failure."""
        metrics.delete(self.key())


class MetricList(ReportView):
    """The metrics of a cluster."""

    actions = {"GET": base.LIST_BARE}
    operations = schemas.METRIC_LIST_OPERATIONS
    shape = filtered = METRIC

    def get(self, request: Request, **_: Any) -> HttpResponseBase:
        """The documents, oldest first."""
        values = self.query(request)
        equalities = base.equalities(values, fixed=("clusterId",))
        where = (
            conditions.equals("cluster_id", self.kwargs["cluster"]),
            *self.list_clauses(values, {"namespace": "namespace", "type": "type", "name": "name"}),
            *conditions.equality_clauses(self.context, equalities),
            *self.filters(request, self.context),
        )
        return self.documents(where, values)


class MetricClusters(StorageView):
    """The clusters that have metrics."""

    actions = {"GET": base.LIST_BARE}
    operations = schemas.METRIC_CLUSTER_OPERATIONS

    def get(self, request: Request, **_: Any) -> list[str]:
        """Their ids, sorted."""
        return metrics.clusters()


class HostDocument(ReportView):
    """One host."""

    actions = {"GET": base.GET_LISTED, "PUT": base.PUT, "DELETE": base.DELETE}
    operations = schemas.HOST_OPERATIONS
    shape = HOST

    def get(self, request: Request, **_: Any) -> list[orjson.Fragment]:
        """The host, as a list of one in both profiles."""
        where = (conditions.equals("ip", self.kwargs["ip"]),)
        return [self.document(where, base.fields(self.query(request)))]

    def put(self, request: Request, **_: Any) -> None:
        """Create or replace it; the path's ip wins over the body's."""
        body = self.body_naming_cluster(request)
        hosts.put(
            self.kwargs["ip"],
            body.text("clusterId"),
            data=body.json("data"),
        )

    def delete(self, request: Request, **_: Any) -> None:
        """Delete it; one that does not exist is no failure."""
        write_errors.delete_rows(DocumentQuery(HOST, (conditions.equals("ip", self.kwargs["ip"]),)))


class ClusterHosts(ReportView):
    """The hosts of a cluster."""

    actions = {"GET": base.LIST, "PUT": base.PUT, "POST": base.PUT}
    operations = schemas.CLUSTER_HOST_OPERATIONS
    shape = filtered = HOST

    def get(self, request: Request, **_: Any) -> HttpResponseBase:
        """The documents, oldest first."""
        values = self.query(request)
        equalities = base.equalities(values, fixed=("clusterId",))
        where = (
            conditions.equals("cluster_id", self.kwargs["cluster"]),
            *conditions.equality_clauses(self.context, equalities),
            *self.filters(request, self.context),
        )
        return self.documents(where, values)

    def put(self, request: Request, **_: Any) -> None:
        """The cluster has exactly these hosts from now on."""
        hosts.assign_to_cluster(
            self.kwargs["cluster"],
            self.ips(request),
            exactly=True,
        )

    def post(self, request: Request, **_: Any) -> None:
        """The cluster has these hosts, too."""
        hosts.assign_to_cluster(
            self.kwargs["cluster"],
            self.ips(request),
            exactly=False,
        )

    def ips(self, request: Request) -> list[str]:
        """The addresses of the body.

        Forbidden when a host belongs to another cluster, where the caller may not write.
        """
        body = Body(raw_body(request))
        body.refuse_unknown({"ips", "clusterId"})
        ips = list(body.texts("ips"))
        # A host that belongs to another cluster moves, so the caller needs the right there, too.
        for owner in hosts.owning_clusters(ips):
            if owner != self.kwargs["cluster"]:
                self.authorise_cluster(request, owner)
        return ips


class WatchNodeDocument(ReportView):
    """One watch node."""

    actions = {"GET": base.GET_NODE, "PUT": base.PUT, "DELETE": base.DELETE}
    operations = schemas.NODE_OPERATIONS
    shape = WATCH_NODE
    env: ClassVar[str] = ""

    def key(self) -> WatchNodeKey:
        """The key that the path names."""
        return WatchNodeKey(
            self.env,
            self.kwargs["cluster"],
            self.kwargs["namespace"],
            self.kwargs["type"],
            self.kwargs["name"],
        )

    def get(self, request: Request, **_: Any) -> orjson.Fragment:
        """The object as it was put, with its updateTime."""
        return self.document(self.key().clauses(), base.fields(self.query(request)))

    def put(self, request: Request, **_: Any) -> None:
        """Create or replace it; the object receives its updateTime, so it must be one."""
        data = self.body(request).json("data")
        if not data.startswith("{"):
            raise Invalid("data must be an object")
        watchnodes.put(self.key(), data)

    def delete(self, request: Request, **_: Any) -> None:
        """Delete it; one that does not exist is no failure."""
        write_errors.delete_rows(DocumentQuery(WATCH_NODE, self.key().clauses()))


class WatchNodeList(ReportView):
    """The watch nodes of a type in a namespace."""

    actions = {"GET": base.LIST_BARE}
    operations = schemas.NODE_LIST_OPERATIONS
    shape = WATCH_NODE
    env: ClassVar[str] = ""

    def get(self, request: Request, **_: Any) -> HttpResponseBase:
        """The objects, oldest first; `field` and `extra` are relative to the object."""
        values = self.query(request)
        clauses = watchnodes.list_clauses(
            self.env,
            self.kwargs["cluster"],
            namespace=self.kwargs["namespace"],
            resource_type=self.kwargs["type"],
        )
        equalities = base.equalities(values, fixed=())
        where = (*clauses, *conditions.equality_clauses(self.context, equalities))
        return self.documents(where, values)
