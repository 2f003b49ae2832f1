"""The KubeGale document: {"code","data","msg"}, error table, parameter names, URL table."""

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.urls import URLPattern, path
from django.utils.translation import get_language

from access import api as access
from billing.api import sales
from billing.api.orders import OrderViewSet
from clusters.api import ClusterViewSet
from clusters.kinds import KINDS, Kind
from core import errors
from core.api import confirmation
from core.api.dialect import Dialect, Page
from core.api.routes import catch_all
from core.api.schema import INTEGER, OBJECT, TEXT, Schema, array, record, titled
from operations.api import OperationViewSet
from storage_api.api import history, multicluster, names, overview, restoration, watching
from storage_api.api.inventory import Contents
from storage_api.api.sync import SyncView
from tenants import api as tenants
from workloads.actions.actions import ACTIONS, VERBS
from workloads.api import (
    ActionView,
    AnyObjectViewSet,
    BulkView,
    ClusterMetrics,
    EventViewSet,
    NamespaceContents,
    NamespaceNames,
    NodeDrain,
    NodeMetrics,
    NodeSchedule,
    ObjectViewSet,
    PodEvents,
    PodLogs,
    PodMetrics,
    PodRestart,
    RawNodeMetrics,
    RawPodMetrics,
    RevisionViewSet,
    Statistics,
    WorkloadEvents,
    WorkloadPods,
)
from workloads.api.schemas import KindSchema
from workloads.api.streams import (
    FOLLOWED,
    LogTickets,
    NodeTerminalTickets,
    OneRecording,
    OperationTickets,
    Recordings,
    TerminalTickets,
    WatchTickets,
)
from workloads.api.topology import TopologyView

# Error class, code, sentence in Chinese. The first class that matches wins: subclasses stand first.
CODES: tuple[tuple[type[errors.DomainError], int, str], ...] = (
    (errors.ClusterNotFound, 1002, "集群不存在"),
    (errors.NamespaceNotFound, 1003, "命名空间不存在"),
    (errors.NotFound, 1004, "资源不存在"),
    (errors.Forbidden, 1005, "权限不足"),
    (errors.ClusterUnavailable, 1006, "集群连接失败"),
    (errors.ConfirmationRequired, 1010, "需要确认"),
    (errors.TokenExpired, 2002, "Token 过期"),
    (errors.Unauthenticated, 2001, "认证失败"),
    (errors.Internal, 5001, "内部服务器错误"),
)
# What the API server refused, by the method of the request.
REFUSED = {
    "POST": (1007, "资源创建失败"),
    "PUT": (1008, "资源更新失败"),
    "PATCH": (1008, "资源更新失败"),
    "DELETE": (1009, "资源删除失败"),
}
BAD_INPUT = (1001, "参数错误")
# HTTP status of each code when HTTP_STATUS_MODE is semantic.
SEMANTIC = {
    1001: 400,
    1002: 404,
    1003: 404,
    1004: 404,
    1005: 403,
    1006: 502,
    1007: 422,
    1008: 422,
    1009: 422,
    1010: 409,
}


def code_of(error: errors.DomainError, method: str) -> tuple[int, str]:
    """The document's code for an error, and its sentence in Chinese."""
    for kind, code, sentence in CODES:
        if isinstance(error, kind):
            return code, sentence
    # Only what an API server answered has a "status".
    if isinstance(error, errors.Rejected | errors.Expired) or "status" in error.details:
        return REFUSED.get(method, BAD_INPUT)
    return BAD_INPUT


def http_status(error: errors.DomainError, code: int) -> int:
    """200 for business errors, unless HTTP_STATUS_MODE is semantic.

    Authentication, routing and throttling always have their own status.
    """
    match error:
        case errors.Unauthenticated():
            return 401
        case errors.RouteNotFound():
            return 404
        case errors.MethodNotAllowed() if "status" not in error.details:
            return 405
        case errors.TooManyRequests() if "status" not in error.details:
            return 429
        case errors.Internal():
            return 500
        case errors.Conflict() if settings.HTTP_STATUS_MODE == "semantic":
            return 409
    return SEMANTIC[code] if settings.HTTP_STATUS_MODE == "semantic" else 200


def _error(error: errors.DomainError, method: str) -> tuple[int, object]:
    code, sentence = code_of(error, method)
    message = error.message
    if (get_language() or "").startswith("zh"):
        message = f"{sentence}: {message}"
    return http_status(error, code), {"code": code, "data": dict(error.details), "msg": message}


def _page_answer(page: Page) -> object:
    data = {
        **page.extra,
        "items": page.items,
        "total": page.total,
        "page": page.page,
        "pageSize": page.page_size,
    }
    return _object_answer(data)


def _object_answer(data: object) -> object:
    return {"code": 0, "data": data, "msg": "success"}


def _answer_schema(data: Schema, code: Schema) -> Schema:
    return record(code=code, data=data, msg=TEXT)


_ERROR_CODES = {code for _, code, _ in CODES}
_REFUSAL_CODES = {code for code, _ in REFUSED.values()}
FAILURE_CODE: Schema = {
    "type": "integer",
    "enum": sorted({BAD_INPUT[0]} | _ERROR_CODES | _REFUSAL_CODES),
    "description": "; ".join(
        [
            "1001 bad input",
            "1002 no such cluster",
            "1003 no such namespace",
            "1004 no such object or route",
            "1005 not allowed",
            "1006 the cluster does not answer",
            "1007, 1008, 1009 the cluster refused to create, change, delete",
            "1010 to be confirmed first",
            "2001 not signed in",
            "2002 token expired",
            "5001 internal error",
        ]
    ),
}


def _envelope(data: Schema, paged: bool) -> Schema:
    if paged:
        data = record(items=array(data), total=INTEGER, page=INTEGER, pageSize=INTEGER)
    return _answer_schema(data, {"type": "integer", "enum": [0]})


DIALECT = Dialect(
    name="kubegale",
    one=_object_answer,
    page=_page_answer,
    error=_error,
    params={"cluster_id": "cluster", "clusterId": "cluster", "namespace": "namespace"},
    envelope=_envelope,
    error_schema=titled("Failure", _answer_schema(OBJECT, FAILURE_CODE)),
    error_status=200,
    kinds={kind.plural: kind.name for kind in KINDS.values()},
    spoken=frozenset(confirmation.NAMES),
    reads_bodies=True,
)

COLLECTION: Any = {"get": "list", "post": "create"}
ITEM: Any = {"get": "retrieve", "put": "update", "patch": "partial_update", "delete": "destroy"}
CLUSTER: Any = {"get": "retrieve", "put": "update", "delete": "destroy"}
# Kinds that users do not create over the API: a kubelet registers its node.
NOT_CREATED = {"nodes"}


def object_routes(kind: Kind) -> Iterator[URLPattern]:
    """Collection and item of one kind."""
    viewset = EventViewSet if kind.plural == "events" else ObjectViewSet
    collection: Any = {"get": "list"} if kind.plural in NOT_CREATED else COLLECTION
    yield path(
        kind.plural,
        viewset.as_view(collection, kind=kind, dialect=DIALECT),
        name=f"{kind.plural}-list",
    )
    yield path(
        f"{kind.plural}/<str:name>",
        viewset.as_view(ITEM, kind=kind, dialect=DIALECT),
        name=f"{kind.plural}-detail",
    )


def action_routes(kind: Kind) -> Iterator[URLPattern]:
    """Actions on one workload, its revisions, pods and events (contract 1.3)."""
    bind: Any = {"kind": kind, "dialect": DIALECT}
    base = f"{kind.plural}/<str:name>"
    for verb in VERBS:
        yield path(
            f"{base}/{verb}", ActionView.as_view(verb=verb, **bind), name=f"{kind.plural}-{verb}"
        )
    yield path(
        f"{base}/revisions",
        RevisionViewSet.as_view({"get": "list"}, **bind),
        name=f"{kind.plural}-revisions",
    )
    revision = RevisionViewSet.as_view({"get": "retrieve"}, **bind)
    yield path(f"{base}/revisions/<str:revision>", revision, name=f"{kind.plural}-revision")
    yield path(f"{base}/pods", WorkloadPods.as_view(**bind), name=f"{kind.plural}-pods")
    yield path(f"{base}/events", WorkloadEvents.as_view(**bind), name=f"{kind.plural}-events")


METRICS: dict[str, Any] = {
    "pods/metrics": RawPodMetrics,
    "nodes/metrics": RawNodeMetrics,
    "metrics/cluster": ClusterMetrics,
    "metrics/nodes": NodeMetrics,
    "metrics/pods": PodMetrics,
    "metrics/stats": Statistics,
}


def node_routes() -> Iterator[URLPattern]:
    """Actions on one node (contract 1.8)."""
    for name, view in {"schedule": NodeSchedule, "drain": NodeDrain}.items():
        yield path(f"nodes/<str:name>/{name}", view.as_view(dialect=DIALECT), name=f"nodes-{name}")


def pod_routes() -> Iterator[URLPattern]:
    """Actions on one pod (contract 1.2)."""
    for name, view in {"restart": PodRestart, "logs": PodLogs, "events": PodEvents}.items():
        yield path(f"pods/<str:name>/{name}", view.as_view(dialect=DIALECT), name=f"pods-{name}")


def _stream_routes() -> Iterator[URLPattern]:
    """Tickets for WebSockets, and recordings of terminals."""
    bind = {"dialect": DIALECT}
    yield path("pods/logs/stream", LogTickets.as_view(**bind), name="pods-logs-stream")
    for plural in ("pods", *FOLLOWED):
        yield path(
            f"{plural}/<str:name>/logs/stream",
            LogTickets.as_view(kind=KINDS[plural], **bind),
            name=f"{plural}-log-stream",
        )
    yield path("pods/<str:name>/terminal", TerminalTickets.as_view(**bind), name="pods-terminal")
    yield path(
        "nodes/<str:name>/terminal", NodeTerminalTickets.as_view(**bind), name="nodes-terminal"
    )
    yield path(
        "operations/<str:name>/stream", OperationTickets.as_view(**bind), name="operations-stream"
    )
    yield path("terminal-recordings", Recordings.as_view(**bind), name="recordings-list")
    yield path(
        "terminal-recordings/<str:pk>", OneRecording.as_view(**bind), name="recordings-detail"
    )
    yield path(
        "terminal-recordings/<str:pk>/replay",
        OneRecording.as_view(replay=True, **bind),
        name="recordings-replay",
    )


def _routes() -> Iterator[URLPattern]:
    bind = {"dialect": DIALECT}
    yield path("clusters", ClusterViewSet.as_view(COLLECTION, **bind), name="clusters-list")
    yield path(
        "clusters/<str:pk>",
        ClusterViewSet.as_view(CLUSTER, **bind),
        name="clusters-detail",
    )
    yield path("watch", watching.Watch.as_view(**bind), name="watch")
    yield path("watch/stream", WatchTickets.as_view(**bind), name="tickets-watch")
    yield path("history", history.History.as_view(**bind), name="history")
    yield path("history/diff", history.Diff.as_view(**bind), name="history-diff")
    yield path("history/restore", restoration.Restore.as_view(**bind), name="history-restore")
    yield path(
        "multicluster/resources/<str:kind>",
        multicluster.Resources.as_view(**bind),
        name="multicluster-resources",
    )
    yield path("multicluster/search", names.Names.as_view(**bind), name="multicluster-search")
    yield path(
        "multicluster/overview", overview.Overview.as_view(**bind), name="multicluster-overview"
    )
    yield path("store", Contents.as_view(**bind), name="store")
    yield path("schemas", KindSchema.as_view(**bind), name="schemas")
    yield path("topology", TopologyView.as_view(**bind), name="topology")
    yield path("clusters/<str:pk>/sync", SyncView.as_view(**bind), name="clusters-sync")
    yield path(
        "clusters/<str:pk>/namespaces", NamespaceNames.as_view(**bind), name="clusters-namespaces"
    )
    yield path(
        "operations", OperationViewSet.as_view({"get": "list"}, **bind), name="operations-list"
    )
    yield path(
        "operations/<str:pk>",
        OperationViewSet.as_view({"get": "retrieve"}, **bind),
        name="operations-detail",
    )
    yield path(
        "operations/<str:pk>/cancel",
        OperationViewSet.as_view({"post": "cancel"}, **bind),
        name="operations-cancel",
    )
    yield path(
        "orders",
        sales.Orders.as_view({"get": "list", "post": "create"}, **bind),
        name="orders-list",
    )
    yield path("orders/plans", sales.OrderPlans.as_view(**bind), name="orders-plans")
    yield path(
        "orders/export", OrderViewSet.as_view({"get": "export"}, **bind), name="orders-export"
    )
    yield path(
        "orders/<str:pk>", OrderViewSet.as_view({"get": "retrieve"}, **bind), name="orders-detail"
    )
    yield path(
        "orders/<str:pk>/usage", OrderViewSet.as_view({"get": "usage"}, **bind), name="orders-usage"
    )
    yield path("orders/<str:pk>/pay", sales.OrderPayment.as_view(**bind), name="orders-pay")
    yield path("orders/<str:pk>/refund", sales.OrderRefund.as_view(**bind), name="orders-refund")
    yield path("orders/<str:pk>/secret", sales.OrderSecret.as_view(**bind), name="orders-secret")
    yield path(
        "orders/<str:pk>/ledger",
        OrderViewSet.as_view({"get": "ledger"}, **bind),
        name="orders-ledger",
    )
    yield from _stream_routes()
    for plural in ("resourcequotas", "limitranges"):
        view = NamespaceContents.as_view(kind=KINDS[plural], **bind)
        yield path(f"namespaces/<str:name>/{plural}", view, name=f"namespaces-{plural}")
    # A pod called `metrics` is hidden by /pods/metrics; this address reaches it.
    pods = ObjectViewSet.as_view(ITEM, kind=KINDS["pods"], **bind)
    yield path("namespaces/<str:namespace>/pods/<str:name>", pods, name="namespaces-pods-detail")
    for address, view in METRICS.items():
        yield path(address, view.as_view(**bind), name=address.replace("/", "-"))
    yield from pod_routes()
    yield from node_routes()
    for plural in ACTIONS:
        yield from action_routes(KINDS[plural])
    for kind in KINDS.values():
        yield path(
            f"bulk/{kind.plural}", BulkView.as_view(kind=kind, **bind), name=f"bulk-{kind.plural}"
        )
        yield from object_routes(kind)
    base = "resources/<str:group>/<str:version>/<str:plural>"
    yield path(base, AnyObjectViewSet.as_view(COLLECTION, **bind), name="resources-list")
    yield path(
        f"{base}/<str:name>", AnyObjectViewSet.as_view(ITEM, **bind), name="resources-detail"
    )
    yield path("audit", access.Audit.as_view(**bind), name="audit")
    yield path("audit/export", access.AuditExport.as_view(**bind), name="audit-export")
    yield path("tenants", tenants.Tenants.as_view(**bind), name="tenants")
    yield path("tenants/<str:name>", tenants.OneTenant.as_view(**bind), name="tenants-detail")
    yield path(
        "tenants/<str:name>/members", tenants.Members.as_view(**bind), name="tenants-members"
    )
    yield path(
        "tenants/<str:name>/members/<str:username>",
        tenants.OneMember.as_view(**bind),
        name="tenants-members-detail",
    )
    yield path("tenants/<str:name>/usage", tenants.Usage.as_view(**bind), name="tenants-usage")
    yield path("plans", tenants.Plans.as_view(**bind), name="plans")
    yield path("plans/<str:name>", tenants.OnePlan.as_view(**bind), name="plans-detail")
    yield path("grants", access.Grants.as_view(**bind), name="grants")
    yield path("grants/<str:pk>", access.OneGrant.as_view(**bind), name="grants-detail")
    yield path("users", access.People.as_view(**bind), name="users")
    yield path("users/<str:name>", access.OnePerson.as_view(**bind), name="users-detail")
    yield path("groups", access.Groups.as_view(**bind), name="groups")
    yield catch_all(DIALECT)


urlpatterns = list(_routes())
auth_urlpatterns = [
    path("login", access.Login.as_view(dialect=DIALECT), name="login"),
    path("refresh", access.Refresh.as_view(dialect=DIALECT), name="refresh"),
    path("logout", access.Logout.as_view(dialect=DIALECT), name="logout"),
    path("me", access.Me.as_view(dialect=DIALECT), name="me"),
    path("password", access.Password.as_view(dialect=DIALECT), name="password"),
    path("tokens", access.Tokens.as_view(dialect=DIALECT), name="tokens"),
    path("tokens/<str:pk>", access.OneToken.as_view(dialect=DIALECT), name="tokens-detail"),
    catch_all(DIALECT),
]
