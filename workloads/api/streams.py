"""Tickets for sockets (contract 1.2, 1.8; beyond 4.1, note 4)."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import orjson
from rest_framework.request import Request

from clusters.kinds import KINDS, Kind
from clusters.manifests import Object
from clusters.models import Cluster
from core.api.auth import AccessAttributes, authorise, stream_policy
from core.api.client_ip import socket_base
from core.api.schema import (
    CLUSTER,
    INTEGER,
    NAMESPACE,
    TEXT,
    OperationSchema,
    QueryParameter,
    Schema,
    record,
    with_title,
)
from core.errors import Expired, Forbidden, Invalid, NotFound
from core.sockets.tickets import Ticket, issue
from operations import lifecycle
from operations.visibility import target_acts
from storage_api.api.watching import MulticlusterWatch
from workloads.api.objects import ObjectView
from workloads.api.request_target import RequestTarget
from workloads.api.ticket_options import TicketOptions
from workloads.objects import lists
from workloads.objects.log_lines import line_filter
from workloads.objects.selectors import selector_text
from workloads.streams.containers import select_containers
from workloads.streams.exec import is_node_terminal
from workloads.streams.logs import parse_cursors

PODS = KINDS["pods"]
NODES = KINDS["nodes"]
WORKLOADS_WITH_LOGS = (
    "deployments",
    "statefulsets",
    "daemonsets",
    "replicasets",
    "jobs",
)


def _ticket_response(
    request: Request, ticket: Ticket, *, url_key: str, path: str
) -> dict[str, Any]:
    """Issue the ticket: {`url_key`: the socket's URL with the token, "token", "session", …}."""
    issued = issue(ticket)
    return {
        url_key: f"{socket_base(request)}{path}?token={issued.token}",
        "token": issued.token,
        "session": ticket.session,
        "expires_at": f"{issued.expires_at:%Y-%m-%dT%H:%M:%SZ}",
    }


def ticket_schema(url_key: str) -> Schema:
    """The OpenAPI schema of a ticket; `url_key` names the member with the socket's URL."""
    name = "TerminalTicket" if url_key == "terminal_url" else "StreamTicket"
    members = {
        url_key: TEXT,
        "token": TEXT,
        "session": TEXT,
        "expires_at": TEXT,
    }
    return with_title(name, record(**members))


class TicketView(ObjectView, ABC):
    """A route that issues tickets; GET and POST answer alike."""

    def post(self, request: Request, name: str = "") -> Any:
        """The same as GET; the parameters may be in the body."""
        return self.get(request, name)

    @abstractmethod
    def get(self, request: Request, name: str = "") -> Any:
        """The ticket of one kind of stream."""

    def ticket(
        self,
        request: Request,
        kind: str,
        cluster: Cluster | None,
        **fields: Any,
    ) -> Ticket:
        """A ticket for this caller."""
        # The socket checks the rights again with this credential, and the Origin with the host.
        credential = stream_policy().credential(request)
        user = int(request.user.pk or 0)
        cluster_id = cluster.pk if cluster else 0
        return Ticket(kind, user, credential, request.get_host(), cluster_id, **fields)


# --- changes ------------------------------------------------------------------
WATCH_OPTIONS = (
    "clusters",
    "kinds",
    "namespaces",
    "labelSelector",
    "after",
)


class WatchTickets(TicketView):
    """GET|POST /watch/stream: the changes of many clusters."""

    operations = {
        method: OperationSchema(
            "A ticket for a watch of many clusters",
            ticket_schema("ws_url"),
            tuple(QueryParameter(name, TEXT) for name in WATCH_OPTIONS),
        )
        for method in ("get", "post")
    }

    def get(self, request: Request, name: str = "") -> Any:
        """{"ws_url","token","session","expires_at"}.

        Forbidden, NotFound or Invalid here already for what cannot be watched.
        """
        ticket_options = TicketOptions(RequestTarget(self, request), request)
        options = {}
        for option in WATCH_OPTIONS:
            if text := ticket_options.comma_list(option):
                options[option] = text
        ticket = self.ticket(request, "watch", None, options=options)
        try:
            MulticlusterWatch(ticket.credential, options)
        except Expired:
            # The socket reports it, together with where to continue.
            pass
        self.check_input(request)
        return _ticket_response(
            request,
            ticket,
            url_key="ws_url",
            path=f"/ws/watch/{ticket.session}",
        )


# --- logs ---------------------------------------------------------------------
LOG_QUERY = (
    CLUSTER,
    NAMESPACE,
    QueryParameter(
        "containers",
        TEXT,
        description="Names with commas, or * for all; "
        "none is the default container (all of them for many pods).",
    ),
    *(QueryParameter(name, INTEGER) for name in ("tail_lines", "since_seconds")),
    *(QueryParameter(name, TEXT) for name in ("since_time", "include", "exclude", "cursor")),
    *(
        QueryParameter(name, {"type": "boolean"})
        for name in ("previous", "timestamps", "follow", "batch")
    ),
    QueryParameter(
        "labelSelector",
        TEXT,
        description="Which pods, where the address names none.",
    ),
)


class LogTickets(TicketView):
    """GET|POST /pods/{name}/logs/stream, and the same for workloads and selectors.

    /{workload}/{name}/logs/stream and /pods/logs/stream?labelSelector=.
    """

    kind: ClassVar[Kind] = PODS
    operations = {
        method: OperationSchema(
            "A ticket for a log stream",
            ticket_schema("ws_url"),
            LOG_QUERY,
            also_query=(
                "container",
                "tailLines",
                "sinceSeconds",
                "sinceTime",
            ),
        )
        for method in ("get", "post")
    }

    def get(self, request: Request, name: str = "") -> Any:
        """{"ws_url","token","session","expires_at"}."""
        target = self._authorised_target(request, name)
        ticket_options = TicketOptions(target, request)
        namespace = self.scoped_namespace(target, item=True)
        options = self._stream_options(ticket_options)
        cluster = target.cluster()
        pod_name = name if self.kind is PODS else ""
        if pod_name:
            pod = orjson.loads(lists.get_object(cluster, PODS, name, namespace=namespace))
            options["containers"] = select_containers(pod, options["containers"])
        else:
            options["selector"] = self._selector(cluster, namespace, name, ticket_options)
        ticket = self.ticket(
            request,
            "logs",
            cluster,
            namespace=namespace,
            name=pod_name,
            options=options,
        )
        path = f"/ws/logs/{ticket.session}"
        return _ticket_response(request, ticket, url_key="ws_url", path=path)

    def _authorised_target(self, request: Request, name: str) -> RequestTarget:
        """The request's target; reading logs is a right on pods, for every workload."""
        target = RequestTarget(self, request)
        pod_name = name if self.kind is PODS else ""
        act = AccessAttributes(
            "logs",
            "pods",
            "",
            target.cluster_text,
            target.namespace,
            pod_name,
        )
        authorise(self, request, act)
        target.check()
        return target

    def _stream_options(self, ticket_options: TicketOptions) -> dict[str, Any]:
        include = ticket_options.text("include")
        exclude = ticket_options.text("exclude")
        cursor = ticket_options.value("cursor") or ""
        # Parsed here only to refuse what the socket could not use.
        line_filter(include, exclude)
        cursor = cursor if isinstance(cursor, str) else orjson.dumps(cursor).decode()
        parse_cursors(cursor)
        query = {
            "tailLines": ticket_options.number("tail_lines", "tailLines"),
            "sinceSeconds": ticket_options.number("since_seconds", "sinceSeconds"),
            "sinceTime": ticket_options.text("since_time", "sinceTime"),
            "previous": "true" if ticket_options.flag("previous") else None,
        }
        if query["sinceSeconds"] and query["sinceTime"]:
            raise Invalid(
                "since_seconds and since_time cannot both be given",
                field="since_time",
            )
        return {
            "containers": ticket_options.words("containers", "container"),
            "query": {key: value for key, value in query.items() if value not in (None, "")},
            # The log of a previous container does not grow.
            "follow": ticket_options.flag("follow", True) and not query["previous"],
            "timestamps": ticket_options.flag("timestamps"),
            "batch": ticket_options.flag("batch"),
            "include": include,
            "exclude": exclude,
            "cursor": cursor,
        }

    def _selector(
        self,
        cluster: Cluster,
        namespace: str,
        name: str,
        ticket_options: TicketOptions,
    ) -> str:
        """The label selector of a workload, else the request's; Invalid when it is empty."""
        if name:
            workload: Object = orjson.loads(
                lists.get_object(cluster, self.kind, name, namespace=namespace)
            )
            text = selector_text((workload.get("spec") or {}).get("selector") or {})
        else:
            text = ticket_options.text("labelSelector", "label_selector")
        # Kubernetes reads an empty selector as every pod.
        if not text.strip():
            raise Invalid("labelSelector is required", field="labelSelector")
        return text


# --- terminals ----------------------------------------------------------------
SHELL_QUERY = (
    QueryParameter(
        "shell",
        TEXT,
        description="A program to run instead of the default shell; `command` in a body is a list.",
    ),
    QueryParameter("record", {"type": "boolean"}, description="Record the output."),
    QueryParameter(
        "session",
        TEXT,
        description="Refused by the socket: "
        "the token of a session's last `connected` is the way back to it.",
    ),
)


class TerminalTickets(TicketView):
    """GET|POST /pods/{name}/terminal."""

    kind: ClassVar[Kind] = PODS
    operations = {
        method: OperationSchema(
            "A ticket for a shell in a container",
            ticket_schema("terminal_url"),
            (CLUSTER, NAMESPACE, QueryParameter("container", TEXT), *SHELL_QUERY),
            also_body=("command",),
        )
        for method in ("get", "post")
    }

    def get(self, request: Request, name: str = "") -> Any:
        """{"terminal_url","token","session","expires_at"}."""
        target, _ = self.resolve(request, "exec", name=name)
        ticket_options = TicketOptions(target, request)
        namespace = self.scoped_namespace(target, item=True)
        cluster = target.cluster()
        pod = orjson.loads(lists.get_object(cluster, PODS, name, namespace=namespace))
        if is_node_terminal(namespace, name):
            # A shell in the debug pod of a node terminal is a shell on the node.
            node = str(pod["spec"]["nodeName"])
            authorise(
                self,
                request,
                AccessAttributes("exec", "nodes", "", target.cluster_text, "", node),
            )
        names = ticket_options.words("container")
        if len(names) > 1 or "*" in names:
            raise Invalid("container must be one name", field="container")
        container = select_containers(pod, names)[0]
        ticket = self.ticket(
            request,
            "terminal",
            cluster,
            namespace=namespace,
            name=name,
            options={
                "container": container,
                **_shell_options(ticket_options),
            },
            **_session_fields(ticket_options),
        )
        path = f"/ws/terminal/{ticket.session}"
        return _ticket_response(request, ticket, url_key="terminal_url", path=path)


class NodeTerminalTickets(TicketView):
    """GET|POST /nodes/{name}/terminal: for callers who may change nodes."""

    kind: ClassVar[Kind] = NODES
    operations = {
        method: OperationSchema(
            "A ticket for a shell on a node",
            ticket_schema("terminal_url"),
            (CLUSTER, *SHELL_QUERY),
            also_query=("namespace",),
            also_body=("command",),
        )
        for method in ("get", "post")
    }

    def get(self, request: Request, name: str = "") -> Any:
        """{"terminal_url","token","session","expires_at"}.

        The debug pod is created when the socket opens.
        """
        target, _ = self.resolve(request, "exec", name=name)
        ticket_options = TicketOptions(target, request)
        cluster = target.cluster()
        # NotFound here rather than a debug pod that is never scheduled.
        lists.get_object(cluster, NODES, name)
        options = {"node": name, **_shell_options(ticket_options)}
        session = _session_fields(ticket_options)
        ticket = self.ticket(request, "terminal", cluster, options=options, **session)
        path = f"/ws/terminal/{ticket.session}"
        return _ticket_response(request, ticket, url_key="terminal_url", path=path)


def _shell_options(ticket_options: TicketOptions) -> dict[str, Any]:
    return {
        "command": ticket_options.command(),
        "record": ticket_options.flag("record"),
    }


def _session_fields(ticket_options: TicketOptions) -> Mapping[str, Any]:
    """The ticket's fields for a session that the caller names; {} without one.

    The socket refuses such a ticket: session ids are the server's, and only the token that a
    session sent last leads back to it. Invalid for what is no session id at all.
    """
    session = ticket_options.text("session")
    if not session:
        return {}
    if len(session) != 32 or not set(session) <= set("0123456789abcdef"):
        raise Invalid("session must be one that a ticket named", field="session")
    return {"session": session, "claimed": True}


# --- operations ---------------------------------------------------------------
class OperationTickets(TicketView):
    """GET|POST /operations/{id}/stream."""

    kind: ClassVar[Kind] = PODS
    operations = {
        method: OperationSchema(
            "A ticket for the progress of an operation",
            ticket_schema("ws_url"),
        )
        for method in ("get", "post")
    }

    def get(self, request: Request, name: str = "") -> Any:
        """{"ws_url","token","session","expires_at"}."""
        row = lifecycle.find(name)
        try:
            for act in target_acts(row):
                authorise(self, request, act)
        except Forbidden:
            # Forbidden would tell that the operation exists.
            raise NotFound(f"operation {name} does not exist") from None
        self.check_input(request)
        ticket = self.ticket(request, "operation", None, session=name)
        return _ticket_response(request, ticket, url_key="ws_url", path=f"/ws/operations/{name}")
