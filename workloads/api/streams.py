"""Tickets for sockets, and recordings of terminals (contract 1.2, 1.8; beyond 4.1, note 4)."""

from collections.abc import Mapping
from typing import Any, ClassVar

import orjson
from django.conf import settings
from django.http import StreamingHttpResponse
from rest_framework.request import Request

from clusters.kinds import KINDS, Kind
from clusters.manifests import Object
from clusters.models import Cluster
from core.api.auth import Act, authorise, stream_policy
from core.api.client_ip import socket_base
from core.api.dialect import DialectView, Page
from core.api.pagination import page_request
from core.api.parsing import boolean, integer
from core.api.schema import (
    CLUSTER,
    INTEGER,
    NAMESPACE,
    OBJECT,
    PAGING,
    TEXT,
    Described,
    Query,
    Schema,
    record,
    titled,
)
from core.errors import Expired, Forbidden, Invalid, NotFound
from core.sockets.tickets import Ticket, issue
from operations import lifecycle as operations
from operations.sockets import act_on
from storage_api.api.watching import Following
from workloads.api.objects import ObjectView, Target
from workloads.objects import services
from workloads.objects.endpoints import selector_text
from workloads.objects.log_lines import line_filter
from workloads.streams import recordings
from workloads.streams.containers import select_containers
from workloads.streams.exec import DEBUG_POD
from workloads.streams.logs import parse_cursors

PODS, NODES = KINDS["pods"], KINDS["nodes"]
MAX_OPTION = 8 * 1024
FOLLOWED = ("deployments", "statefulsets", "daemonsets", "replicasets", "jobs")


def _answer(request: Request, ticket: Ticket, *, address: str, path: str) -> dict[str, Any]:
    issued = issue(ticket)
    return {
        address: f"{socket_base(request)}{path}?token={issued.token}",
        "token": issued.token,
        "session": ticket.session,
        "expires_at": f"{issued.expires_at:%Y-%m-%dT%H:%M:%SZ}",
    }


def ticket_schema(address: str) -> Schema:
    """What a ticket looks like in OpenAPI."""
    name = "TerminalTicket" if address == "terminal_url" else "StreamTicket"
    members = {address: TEXT, "token": TEXT, "session": TEXT, "expires_at": TEXT}
    return titled(name, record(**members))


def _bounded(value: Any, name: str) -> Any:
    """The value of an option; Invalid when it is longer than any ticket may be."""
    parts = value if isinstance(value, list) else [value]
    length = len(parts) + sum(len(part) for part in parts if isinstance(part, str | list | dict))
    if length > MAX_OPTION:
        raise Invalid(f"{name} is longer than {MAX_OPTION} letters", field=name)
    return value


class TicketOptions:
    """A ticket's options out of body or query, each checked."""

    def __init__(self, target: Target, request: Request) -> None:
        self._body, self._query = target.body, request.query_params

    def value(self, *names: str) -> Any:
        """The first that was given under any of the names; None when none was."""
        for name in names:
            found = self._body.get(name, self._query.get(name))
            if found not in (None, ""):
                return _bounded(found, name)
        return None

    def text(self, *names: str) -> str:
        """A text."""
        found = self.value(*names)
        if found is not None and not isinstance(found, str | int | float):
            raise Invalid(f"{names[0]} must be text", field=names[0])
        return "" if found is None else str(found)

    def listed(self, name: str) -> str:
        """Words with commas between, given so or as a list; a number as text."""
        found = self.value(name)
        return ",".join(self.words(name)) if isinstance(found, list) else self.text(name)

    def number(self, name: str, *aliases: str) -> int | None:
        """A whole number from 0 on."""
        found = self.value(name, *aliases)
        return None if found is None else integer(found, name, minimum=0, maximum=10**9)

    def flag(self, name: str, default: bool = False) -> bool:
        """A yes or no."""
        found = self.value(name)
        return default if found is None else boolean(found, name)

    def words(self, *names: str) -> list[str]:
        """A list, or a text with commas."""
        found = self.value(*names)
        given = found.split(",") if isinstance(found, str) else found or []
        if not isinstance(given, list) or not all(isinstance(word, str) for word in given):
            raise Invalid(f"{names[0]} must be names", field=names[0])
        return [word.strip() for word in given if word.strip()]

    def command(self) -> list[str]:
        """What to run instead of a shell: `command` as a list, or `shell` as one program; empty for the default."""
        found = self.value("command")
        if isinstance(found, list) and found and all(isinstance(word, str) for word in found):
            return found
        if found is not None:
            raise Invalid("command must be a list of texts", field="command")
        shell = self.text("shell")
        return [shell] if shell else []


class TicketView(ObjectView):
    """GET and POST alike make a ticket, in the same shape."""

    def post(self, request: Request, name: str = "") -> Any:
        """The same as GET; the parameters may be in the body."""
        return self.get(request, name)

    def get(self, request: Request, name: str = "") -> Any:
        """Overridden by each kind of ticket."""
        raise NotImplementedError

    def ticket(self, request: Request, kind: str, cluster: Cluster | None, **fields: Any) -> Ticket:
        """A ticket for this caller."""
        credential = stream_policy().credential(request)
        host = request.get_host()
        return Ticket(
            kind,
            int(request.user.pk or 0),
            credential,
            host,
            cluster.pk if cluster else 0,
            **fields,
        )


# --- changes --------------------------------------------------------------------------------------------------------
WATCH_OPTIONS = ("clusters", "kinds", "namespaces", "labelSelector", "after")


class WatchTickets(TicketView):
    """GET|POST /watch/stream: the changes of many clusters."""

    operations = {
        method: Described(
            "A ticket for a watch of many clusters",
            ticket_schema("ws_url"),
            tuple(Query(name, TEXT) for name in WATCH_OPTIONS),
        )
        for method in ("get", "post")
    }

    def get(self, request: Request, name: str = "") -> Any:
        """{"ws_url","token","session","expires_at"}; what cannot be watched is refused here already."""
        given = TicketOptions(Target(self, request), request)
        options = {name: text for name in WATCH_OPTIONS if (text := given.listed(name))}
        ticket = self.ticket(request, "watch", None, options=options)
        try:
            Following(ticket.credential, options)
        except Expired:
            # The socket says it, with what to do.
            pass
        self.check_input(request)
        return _answer(request, ticket, address="ws_url", path=f"/ws/watch/{ticket.session}")


# --- logs -----------------------------------------------------------------------------------------------------------
LOG_QUERY = (
    CLUSTER,
    NAMESPACE,
    Query(
        "containers",
        TEXT,
        description="Names with commas, or * for all; none is the default container (all of them for many pods).",
    ),
    *(Query(name, INTEGER) for name in ("tail_lines", "since_seconds")),
    *(Query(name, TEXT) for name in ("since_time", "include", "exclude", "cursor")),
    *(Query(name, {"type": "boolean"}) for name in ("previous", "timestamps", "follow", "batch")),
    Query("labelSelector", TEXT, description="Which pods, where the address names none."),
)


class LogTickets(TicketView):
    """GET|POST /pods/{name}/logs/stream, /pods/logs/stream?labelSelector=, /{workload}/{name}/logs/stream."""

    kind: ClassVar[Kind] = PODS
    operations = {
        method: Described(
            "A ticket for a log stream",
            ticket_schema("ws_url"),
            LOG_QUERY,
            also_query=("container", "tailLines", "sinceSeconds", "sinceTime"),
        )
        for method in ("get", "post")
    }

    def get(self, request: Request, name: str = "") -> Any:
        """{"ws_url","token","session","expires_at"}."""
        target = self._permitted(request, name)
        given = TicketOptions(target, request)
        namespace = self.scoped_kind(target, item=True)
        options = self._options(given)
        cluster = target.cluster()
        pod = name if self.kind is PODS else ""
        if pod:
            found = orjson.loads(services.get_object(cluster, PODS, name, namespace=namespace))
            options["containers"] = select_containers(found, options["containers"])
        else:
            options["selector"] = self._selector(cluster, namespace, name, given)
        ticket = self.ticket(
            request, "logs", cluster, namespace=namespace, name=pod, options=options
        )
        return _answer(request, ticket, address="ws_url", path=f"/ws/logs/{ticket.session}")

    def _permitted(self, request: Request, name: str) -> Target:
        """Reading logs is a right on pods, whatever the workload."""
        target = Target(self, request)
        authorise(
            self,
            request,
            Act(
                "logs",
                "pods",
                "",
                target.cluster_text,
                target.namespace,
                name if self.kind is PODS else "",
            ),
        )
        target.check()
        return target

    def _options(self, given: TicketOptions) -> dict[str, Any]:
        include, exclude, cursor = (
            given.text("include"),
            given.text("exclude"),
            given.value("cursor") or "",
        )
        line_filter(include, exclude)
        cursor = cursor if isinstance(cursor, str) else orjson.dumps(cursor).decode()
        parse_cursors(cursor)
        query = {
            "tailLines": given.number("tail_lines", "tailLines"),
            "sinceSeconds": given.number("since_seconds", "sinceSeconds"),
            "sinceTime": given.text("since_time", "sinceTime"),
            "previous": "true" if given.flag("previous") else None,
        }
        if query["sinceSeconds"] and query["sinceTime"]:
            raise Invalid("since_seconds and since_time cannot both be given", field="since_time")
        return {
            "containers": given.words("containers", "container"),
            "query": {key: value for key, value in query.items() if value not in (None, "")},
            "follow": given.flag("follow", True) and not query["previous"],
            "timestamps": given.flag("timestamps"),
            "batch": given.flag("batch"),
            "include": include,
            "exclude": exclude,
            "cursor": cursor,
        }

    def _selector(self, cluster: Cluster, namespace: str, name: str, given: TicketOptions) -> str:
        """The label selector of a workload, or the one given."""
        if name:
            workload: Object = orjson.loads(
                services.get_object(cluster, self.kind, name, namespace=namespace)
            )
            text = selector_text((workload.get("spec") or {}).get("selector") or {})
        else:
            text = given.text("labelSelector", "label_selector")
        if not text.strip():
            raise Invalid("labelSelector is required", field="labelSelector")
        return text


# --- terminals ------------------------------------------------------------------------------------------------------
SHELL_QUERY = (
    Query(
        "shell",
        TEXT,
        description="A program to run instead of the default shell; `command` in a body is a list.",
    ),
    Query("record", {"type": "boolean"}, description="Record the output."),
    Query(
        "session",
        TEXT,
        description="Refused by the socket: the token of a session's last `connected` is the way back to it.",
    ),
)


class TerminalTickets(TicketView):
    """GET|POST /pods/{name}/terminal."""

    kind: ClassVar[Kind] = PODS
    operations = {
        method: Described(
            "A ticket for a shell in a container",
            ticket_schema("terminal_url"),
            (CLUSTER, NAMESPACE, Query("container", TEXT), *SHELL_QUERY),
            also_body=("command",),
        )
        for method in ("get", "post")
    }

    def get(self, request: Request, name: str = "") -> Any:
        """{"terminal_url","token","session","expires_at"}."""
        target, _ = self.resolve(request, "exec", name=name)
        given = TicketOptions(target, request)
        namespace = self.scoped_kind(target, item=True)
        cluster = target.cluster()
        pod = orjson.loads(services.get_object(cluster, PODS, name, namespace=namespace))
        if (namespace, name[: len(DEBUG_POD)]) == (settings.NODE_TERMINAL_NAMESPACE, DEBUG_POD):
            # Whoever gets into the pod of a node's shell is on the node.
            act = Act("exec", "nodes", "", target.cluster_text, "", str(pod["spec"]["nodeName"]))
            authorise(self, request, act)
        names = given.words("container")
        if len(names) > 1 or "*" in names:
            raise Invalid("container must be one name", field="container")
        options = {"container": select_containers(pod, names)[0], **_shell(given)}
        ticket = self.ticket(
            request,
            "terminal",
            cluster,
            namespace=namespace,
            name=name,
            options=options,
            **_session(given),
        )
        return _answer(
            request, ticket, address="terminal_url", path=f"/ws/terminal/{ticket.session}"
        )


class NodeTerminalTickets(TicketView):
    """GET|POST /nodes/{name}/terminal: for who may change nodes."""

    kind: ClassVar[Kind] = NODES
    operations = {
        method: Described(
            "A ticket for a shell on a node",
            ticket_schema("terminal_url"),
            (CLUSTER, *SHELL_QUERY),
            also_query=("namespace",),
            also_body=("command",),
        )
        for method in ("get", "post")
    }

    def get(self, request: Request, name: str = "") -> Any:
        """{"terminal_url","token","session","expires_at"}; the debug pod is made when the socket opens."""
        target, _ = self.resolve(request, "exec", name=name)
        given = TicketOptions(target, request)
        cluster = target.cluster()
        services.get_object(cluster, NODES, name)
        options = {"node": name, **_shell(given)}
        ticket = self.ticket(request, "terminal", cluster, options=options, **_session(given))
        return _answer(
            request, ticket, address="terminal_url", path=f"/ws/terminal/{ticket.session}"
        )


def _shell(given: TicketOptions) -> dict[str, Any]:
    return {"command": given.command(), "record": given.flag("record")}


def _session(given: TicketOptions) -> Mapping[str, Any]:
    """A session that the caller names. Its ticket is refused by the socket: ids are the server's, and the token that a session gave
    last is the only way back to it."""
    text = given.text("session")
    if text and not (len(text) == 32 and set(text) <= set("0123456789abcdef")):
        raise Invalid("session must be one that a ticket named", field="session")
    return {"session": text, "claimed": True} if text else {}


# --- operations -----------------------------------------------------------------------------------------------------
class OperationTickets(TicketView):
    """GET|POST /operations/{id}/stream."""

    kind: ClassVar[Kind] = PODS
    operations = {
        method: Described("A ticket for the progress of an operation", ticket_schema("ws_url"))
        for method in ("get", "post")
    }

    def get(self, request: Request, name: str = "") -> Any:
        """{"ws_url","token","session","expires_at"}."""
        row = operations.find(name)
        try:
            authorise(self, request, act_on(row))
        except Forbidden:
            raise NotFound(f"operation {name} does not exist") from None
        self.check_input(request)
        ticket = self.ticket(request, "operation", None, session=name)
        return _answer(request, ticket, address="ws_url", path=f"/ws/operations/{name}")


# --- recordings -----------------------------------------------------------------------------------------------------
class Recordings(ObjectView):
    """GET /terminal-recordings: of one cluster, newest first."""

    kind: ClassVar[Kind] = PODS
    operations = {
        "get": Described(
            "Recordings of terminals", OBJECT, (CLUSTER, NAMESPACE, *PAGING[:2]), paged=True
        )
    }

    def get(self, request: Request) -> Any:
        """One page."""
        target = Target(self, request)
        authorise(self, request, Act("exec", "pods", "", target.cluster_text, target.namespace))
        target.check()
        page = page_request(request.query_params)
        found = recordings.search(
            cluster=target.cluster(),
            namespaces=frozenset({target.namespace}) if target.namespace else None,
            nodes=self._may_see_nodes(request, target.cluster_text),
        )
        items = [recordings.represent(row) for row in found[page.offset : page.offset + page.size]]
        return Page(items, found.count(), page.page, page.size)

    def _may_see_nodes(self, request: Request, cluster: str) -> bool:
        """Whether recordings of shells on nodes are shown too."""
        policy = stream_policy()
        act = Act("exec", "nodes", "", cluster)
        return policy.scopes(policy.credential(request), [act]) != [None]


class OneRecording(DialectView):
    """GET /terminal-recordings/{id} and /terminal-recordings/{id}/replay (asciicast v2)."""

    replay: ClassVar[bool] = False
    operations = {"get": Described("A recording, or its asciicast", OBJECT)}

    def get(self, request: Request, pk: str) -> Any:
        """The recording; where the caller may open no terminal, it does not exist for them, their own neither."""
        row = recordings.find(pk)
        cluster = str(row.cluster_id)
        act = (
            Act("exec", "nodes", "", cluster, "", row.node)
            if row.node
            else Act("exec", "pods", "", cluster, row.namespace, row.pod)
        )
        try:
            authorise(self, request, act)
        except Forbidden:
            raise NotFound(f"recording {pk[:60]!r} does not exist") from None
        if not self.replay:
            return recordings.represent(row)
        answer = StreamingHttpResponse(
            recordings.asciicast(row), content_type="application/x-asciicast"
        )
        answer["Content-Disposition"] = f'attachment; filename="terminal-{row.pk}.cast"'
        return answer
