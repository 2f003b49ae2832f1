"""What every view of the store shares.

Parameters, the caller's right to a cluster, streamed lists, and what failures carry.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar

import orjson
from django.core.exceptions import SuspiciousOperation
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response

from access import audit_sink
from core.api import audit
from core.api.auth import AccessAttributes, authorise
from core.api.dialect import DialectView, Page, domain_error, error_response
from core.api.parsing import raw_body
from core.api.rendering import dumps
from core.api.schema import OperationSchema
from core.database.prepared import StatementCall
from core.errors import DomainError, Invalid
from storage_api import wire_profile
from storage_api.api.bodies import parameters
from storage_api.api.schemas import FILTER_NAMES
from storage_api.query import document_filters, extra, paths, times
from storage_api.query.conditions import Clause, Context
from storage_api.query.paths import Tree
from storage_api.query.queries import DocumentQuery
from storage_api.query.shapes import Shape
from storage_api.query.times import TimeStyle
from storage_api.services import resources

R = TypeVar("R")
VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "DELETE": "delete"}
# Longer answers are streamed; bytes.
STREAM_FROM = 16 * 1024
# Parameters of every route: the wire profile of the answer.
EVERYWHERE = frozenset({"wire"})
# The Go server's clients send these with writes too; the path wins, so they change nothing.
IGNORED_ON_WRITES = frozenset({"extra", "field"})
# Stands in an envelope for the list of documents. No document contains a NUL.
_GAP = b'"\\u0000"'


@dataclass(frozen=True, slots=True)
class Action:
    """What a method of a view does, for the error table of the dialect.

    `empty` is what `data` of a failure is, `counted` whether the answer counts matches, `watch`
    whether it is about a watch node, for which the Go server has a message of its own.
    """

    name: Literal["get", "put", "delete", "list"]
    empty: Literal["null", "list"] = "null"
    counted: bool = False
    watch: bool = False


PUT = Action("put")
GET = Action("get")
GET_LISTED = Action("get", "list")
GET_NODE = Action("get", watch=True)
DELETE = Action("delete")
DELETE_MANY = Action("delete", "list")
LIST = Action("list", "list")
LIST_BARE = Action("list")
LIST_COUNTED = Action("list", "list", counted=True)


def wire_of(request: Any) -> str:
    """The wire profile that a request names, in the query or by header; "" for none."""
    return str(request.GET.get("wire", "") or request.META.get("HTTP_X_BCS_WIRE", ""))


def request_profile(request: Any) -> str:
    """The wire profile of a request's answer: the one that it names, else that of its path."""
    try:
        name = wire_of(request)
    except SuspiciousOperation:
        # A query that cannot be parsed is refused later, in the dialect's envelope.
        name = ""
    return name if name in wire_profile.PROFILES else wire_profile.default_for_path(request.path)


def method_of(request: Request) -> str:
    """The method under which a request stands in the views' tables: HEAD is a GET."""
    method = str(request.method)
    return "GET" if method == "HEAD" else method


@dataclass(frozen=True, slots=True)
class SingleDocument:
    """One document where the wire profile decides between itself and a list of it."""

    document: orjson.Fragment


class StorageView(DialectView):
    """A view over the store; `actions` says what each method does.

    `names_cluster_itself`: the cluster is in the body or the query, so the view checks the right
    to it.
    """

    actions: ClassVar[Mapping[str, Action]] = {}
    operations: ClassVar[Mapping[str, OperationSchema]] = {}
    names_cluster_itself: ClassVar[bool] = False
    # The documents that the filters of today's server apply to; None for routes without them.
    filtered: ClassVar[Shape | None] = None

    # Whether values of Secrets are shown: only with the right to it in every cluster of a request.
    reveals = True

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Answer in the caller's wire profile (`?wire=`, X-Bcs-Wire), else in that of the path."""
        with wire_profile.use_profile(request_profile(request)):
            return super().dispatch(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Authenticate, then check the caller's right to the cluster of the path."""
        super().initial(request, *args, **kwargs)
        name = wire_of(request)
        credential: Any = request.auth
        # A token may have a profile of its own, for clients that cannot send one.
        token_profile = getattr(credential, "wire", "")
        if token_profile and not name:
            wire_profile.choose(token_profile)
        if name and name not in wire_profile.PROFILES:
            raise Invalid(f"wire must be one of {', '.join(wire_profile.PROFILES)}", field="wire")
        if not self.names_cluster_itself:
            self.authorise_cluster(request, str(kwargs.get("cluster", "")))
            self.refuse_unknown(request, request.query_params)

    def authorise_cluster(
        self,
        request: Request,
        cluster: str,
        *,
        namespace: str = "",
    ) -> None:
        """Forbidden unless the caller may do to the cluster what the request does.

        Every clusterId comes through here, those of bodies and queries too.
        """
        method = method_of(request)
        namespace = namespace or str(self.kwargs.get("namespace", ""))
        # A query by POST is a read.
        action = self.actions.get(method)
        verb = "get" if action and action.name in {"get", "list"} else VERBS.get(method, "get")
        act = AccessAttributes(
            verb,
            "storage",
            cluster=cluster,
            namespace=namespace,
            stored_type=str(self.kwargs.get("type", "")),
        )
        scope = authorise(self, request, act)
        self.reveals = self.reveals and scope.reveals

    def write_audited(self, request: Request, write: Callable[[Sequence[StatementCall]], R]) -> R:
        """Do what the request asks for together with its audit lines, in one commit.

        `write` gets the statements of the lines. When they fail, so does the request.
        """
        outcome = write(self.audit_statements(request))
        audit.forget(request)
        return outcome

    def audit_statements(self, request: Request) -> list[StatementCall]:
        """The statements that write the audit lines of what the request did so far."""
        events = audit.pending_events(request)
        return audit_sink.statements_of_success(request, self.dialect.name, events)

    def get_exception_handler(self) -> Any:
        """Failures carry the action; the reason is in a header, as the document fixes the body."""
        return self._failed

    def _failed(
        self,
        error: Exception,
        context: Mapping[str, Any],
    ) -> Response:
        request = context["request"]
        failure = domain_error(error)
        if failure is None:
            return error_response(self.dialect, error, request)
        failure.details = {**failure.details, "action": self.actions.get(request.method)}
        response = error_response(self.dialect, failure, request)
        response["X-Storage-Error"] = _header(failure)
        return response

    def own_parameters(self, request: Request) -> frozenset[str]:
        """The parameters of the method in the route's table; a query by POST has those of GET."""
        action = self.actions.get(method_of(request))
        reads = action is not None and action.name in {"get", "list"}
        described = self.operations.get("get" if reads else method_of(request).lower())
        parameters_of_route = described.query if described else ()
        names = frozenset(query.name for query in parameters_of_route) - FILTER_NAMES
        return names | IGNORED_ON_WRITES if action and action.name == "put" else names

    def refuse_unknown(
        self,
        request: Request,
        names: Iterable[str],
    ) -> None:
        """Invalid for a parameter that is neither the route's own nor a filter of its documents.

        It may have been meant to limit: ignored, the request would list, change or delete more.
        """
        if method_of(request) not in self.actions:
            return
        own = self.own_parameters(request)
        for name in names:
            if name in own or name in EVERYWHERE:
                continue
            if self._filters_by(request, name):
                continue
            raise Invalid(
                f"unknown parameter {name[:80]!r}",
                field=name[:80],
            )

    def _filters_by(self, request: Request, name: str) -> bool:
        if self.filtered is None or self.actions[method_of(request)].name == "put":
            return False
        return document_filters.is_filter(self.filtered, name)

    def filters(
        self, request: Request, context: Context, sent: Mapping[str, str] | None = None
    ) -> list[Clause]:
        """The conditions of the filters of today's server.

        Out of the query (each value of a repeated parameter) and of `sent`, the body's parameters.
        """
        own = self.own_parameters(request)
        pairs = self.filter_pairs(request)
        pairs += [(name, value) for name, value in (sent or {}).items() if name not in own]
        return document_filters.clauses(context, pairs)

    def filter_pairs(self, request: Request) -> list[tuple[str, str]]:
        """(name, value) of each parameter of the query that is none of the route's own."""
        own = self.own_parameters(request)
        return [
            (name, value)
            for name, values in request.query_params.lists()
            for value in values
            if name not in own and name not in EVERYWHERE
        ]

    def query(self, request: Request) -> dict[str, str]:
        """The parameters of the query; of a repeated one the first."""
        return {name: values[0] for name, values in request.query_params.lists() if values}

    def all_parameters(self, request: Request) -> dict[str, str]:
        """The parameters of the query and, for POST, of the JSON body, which wins."""
        return {**self.query(request), **self.body_parameters(request)}

    def body_parameters(self, request: Request) -> dict[str, str]:
        """The parameters of a query by POST in its JSON body; none for other methods."""
        if request.method != "POST":
            return {}
        sent = parameters(raw_body(request))
        # The Go server's clients repeat the cluster here; the path wins.
        sent.pop("clusterId", None)
        self.refuse_unknown(request, sent)
        return sent

    @property
    def style(self) -> TimeStyle:
        """How times are written."""
        return wire_profile.time_style()

    def first(self, query: DocumentQuery, tree: Tree) -> bytes | None:
        """The JSON text of the first document of a query as the caller may see it, or None."""
        return resources.read_first(
            query,
            tree,
            self.style,
            reveals=self.reveals,
        )

    def list_response(
        self,
        query: DocumentQuery,
        tree: Tree,
        *,
        total: int | None = None,
        extra: Mapping[str, object] | None = None,
    ) -> HttpResponseBase:
        """A query's documents as the caller may see them, inside the envelope.

        `extra` are further members of an envelope with a total.
        """
        chunks = resources.read_chunks(
            query,
            tree,
            self.style,
            reveals=self.reveals,
        )
        return self.stream_response(chunks, total=total, extra=extra)

    def stream_response(
        self,
        chunks: Iterator[list[bytes]],
        *,
        total: int | None = None,
        extra: Mapping[str, object] | None = None,
    ) -> HttpResponseBase:
        """A list of documents inside the envelope; a long one is streamed while it is read."""
        gap = orjson.Fragment(_GAP)
        page = Page(gap, total or 0, extra=extra or {})
        envelope = self.dialect.one(gap) if total is None else self.dialect.page(page)
        head, tail = dumps(envelope).split(_GAP)
        parts = [head + b"["]
        size = 0
        joined = _joined(chunks)
        for part in joined:
            parts.append(part)
            size += len(part)
            if size > STREAM_FROM:
                return StreamingHttpResponse(
                    _rest(b"".join(parts), joined, b"]" + tail),
                    content_type=self.dialect.content_type,
                )
        return HttpResponse(b"".join([*parts, b"]", tail]), content_type=self.dialect.content_type)


def _joined(chunks: Iterator[list[bytes]]) -> Iterator[bytes]:
    separator = b""
    for texts in chunks:
        yield separator + b",".join(texts)
        separator = b","


def _rest(
    first: bytes,
    parts: Iterator[bytes],
    last: bytes,
) -> Iterator[bytes]:
    yield first
    yield from parts
    yield last


def _header(error: DomainError) -> str:
    """The reason in one line of printable ASCII."""
    return "".join(letter if " " <= letter <= "~" else "?" for letter in error.message)[:300]


def parse_slice(
    values: Mapping[str, str], *, length: str = "limit", none_below: int | None = None
) -> tuple[int, int | None]:
    """(offset, limit) of a list; a limit of None is no limit.

    Offsets that are negative or no number are 0, and a limit that is no number is None. A limit of
    0 or less is None, or `none_below` where the family has such a default.
    """
    offset = times.parse_int64(values.get("offset", "")) or 0
    limit = times.parse_int64(values.get(length) or values.get("limit", ""))
    if limit is not None and limit <= 0:
        limit = none_below
    return max(offset, 0), limit


def fields(values: Mapping[str, str]) -> Tree:
    """The projection of `field`."""
    return paths.fields(values.get("field", ""))


def equalities(
    values: Mapping[str, str],
    *,
    fixed: tuple[str, ...],
    any_of: bool = False,
) -> list[extra.Equals]:
    """The conditions of `extra`, as `extra.conditions`."""
    return extra.equalities(
        values.get("extra", ""),
        any_of=any_of,
        fixed=fixed,
    )
