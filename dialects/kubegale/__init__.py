"""The KubeGale document: its envelope in a module of its own, its URL table here."""

from collections.abc import Iterator
from typing import Any

from django.urls import URLPattern, path

from access import api as access
from alerts.api.alerts import AlertViewSet, SilenceDetail, SilencePreview, Silences
from alerts.api.channels import ChannelViewSet, Deliveries
from alerts.api.exchange import AlertmanagerReceiver, RuleExport, RuleImport
from alerts.api.rules import Presets, RuleTest, RuleViewSet
from automation.api.archives import CompareRuns, RestoreRun, RunArchives
from automation.api.previews import ScheduleMoments, TaskPreview
from automation.api.reports import RunReport
from automation.api.runs import RunViewSet
from automation.api.tasks import TaskCalendar, TaskTypes, TaskViewSet
from billing.api import sales
from billing.api.orders import OrderViewSet
from clusters.api import ClusterViewSet
from clusters.kinds import KINDS, Kind
from core.api.routes import catch_all
from dialects.kubegale.envelope import DIALECT, code_of
from gateway.api import ClusterKubeconfig, ClusterPortLinks, FleetKubeconfig
from insights.api import WhatChanged, WhyFailing
from manifest_templates import api as templates
from manifest_templates.api.deployments import (
    DeploymentViewSet,
    DeployTemplate,
    TemplateDeployments,
)
from operations.api import OperationViewSet
from storage_api.api import (
    fleet_events,
    history,
    multicluster,
    names,
    overview,
    restoration,
    watching,
)
from storage_api.api.inventory import StoreInventory
from storage_api.api.sync import SyncView
from tenants import api as tenants
from workloads.actions.verbs import ACTIONS, VERBS
from workloads.api import (
    ActionView,
    AnyObjectViewSet,
    BulkView,
    ClusterCost,
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
    ResourceUse,
    RevisionViewSet,
    Statistics,
    WorkloadEvents,
    WorkloadPods,
)
from workloads.api.debug import PodDebug
from workloads.api.file_downloads import FileDownload
from workloads.api.file_uploads import PodFiles
from workloads.api.files import FileContent, MakeDirectory, MoveFile
from workloads.api.manifests import (
    ApplyManifests,
    CompareObject,
    CopyManifest,
    DiffManifests,
    ExportManifests,
    ValidateManifests,
)
from workloads.api.recordings import RecordingDetail, RecordingList
from workloads.api.releases import ReleaseViewSet
from workloads.api.schemas import KindSchema
from workloads.api.secrets import RevealSecret
from workloads.api.streams import (
    WORKLOADS_WITH_LOGS,
    LogTickets,
    NodeTerminalTickets,
    OperationTickets,
    TerminalTickets,
    WatchTickets,
)
from workloads.api.topology import TopologyView

__all__ = ["DIALECT", "auth_urlpatterns", "code_of", "urlpatterns"]

COLLECTION: Any = {"get": "list", "post": "create"}
ITEM: Any = {"get": "retrieve", "put": "update", "patch": "partial_update", "delete": "destroy"}
CLUSTER: Any = {"get": "retrieve", "put": "update", "delete": "destroy"}
# Kinds that users do not create over the API: a kubelet registers its node.
NOT_CREATED = {"nodes"}


def _route(
    address: str,
    name: str,
    view: Any,
    *methods: Any,
    **values: Any,
) -> URLPattern:
    """A route; `methods` maps HTTP methods to those of a view set, `values` go to the view."""
    route: URLPattern = path(
        address,
        view.as_view(*methods, dialect=DIALECT, **values),
        name=name,
    )
    return route


def object_routes(kind: Kind) -> Iterator[URLPattern]:
    """Collection and item of one kind."""
    viewset = EventViewSet if kind.plural == "events" else ObjectViewSet
    collection: Any = {"get": "list"} if kind.plural in NOT_CREATED else COLLECTION
    yield _route(
        kind.plural,
        f"{kind.plural}-list",
        viewset,
        collection,
        kind=kind,
    )
    yield _route(
        f"{kind.plural}/<str:name>",
        f"{kind.plural}-detail",
        viewset,
        ITEM,
        kind=kind,
    )


def action_routes(kind: Kind) -> Iterator[URLPattern]:
    """Actions on one workload, its revisions, pods and events (contract 1.3)."""
    plural = kind.plural
    base = f"{plural}/<str:name>"
    for verb in VERBS:
        yield _route(
            f"{base}/{verb}",
            f"{plural}-{verb}",
            ActionView,
            kind=kind,
            verb=verb,
        )
    yield _route(
        f"{base}/revisions",
        f"{plural}-revisions",
        RevisionViewSet,
        {"get": "list"},
        kind=kind,
    )
    yield _route(
        f"{base}/revisions/<str:revision>",
        f"{plural}-revision",
        RevisionViewSet,
        {"get": "retrieve"},
        kind=kind,
    )
    yield _route(f"{base}/pods", f"{plural}-pods", WorkloadPods, kind=kind)
    yield _route(
        f"{base}/events",
        f"{plural}-events",
        WorkloadEvents,
        kind=kind,
    )


FILES: dict[str, Any] = {
    "files": PodFiles,
    "files/content": FileContent,
    "files/download": FileDownload,
    "files/mkdir": MakeDirectory,
    "files/move": MoveFile,
}
METRICS: dict[str, Any] = {
    "pods/metrics": RawPodMetrics,
    "nodes/metrics": RawNodeMetrics,
    "metrics/cluster": ClusterMetrics,
    "metrics/nodes": NodeMetrics,
    "metrics/pods": PodMetrics,
    "metrics/stats": Statistics,
    "metrics/usage": ResourceUse,
    "metrics/cost": ClusterCost,
}


def node_routes() -> Iterator[URLPattern]:
    """Actions on one node (contract 1.8)."""
    for name, view in {"schedule": NodeSchedule, "drain": NodeDrain}.items():
        yield _route(f"nodes/<str:name>/{name}", f"nodes-{name}", view)


def secret_routes() -> Iterator[URLPattern]:
    """What Secrets have besides."""
    yield _route("secrets/<str:name>/reveal", "secrets-reveal", RevealSecret, kind=KINDS["secrets"])


_POD_VIEWS = {
    "restart": PodRestart,
    "debug": PodDebug,
    "logs": PodLogs,
    "events": PodEvents,
}


def pod_routes() -> Iterator[URLPattern]:
    """Actions on one pod (contract 1.2)."""
    for name, view in _POD_VIEWS.items():
        yield _route(f"pods/<str:name>/{name}", f"pods-{name}", view)
    for ending, view in FILES.items():
        yield _route(f"pods/<str:name>/{ending}", f"pods-{ending.replace('/', '-')}", view)


def _stream_routes() -> Iterator[URLPattern]:
    """Tickets for WebSockets, and recordings of terminals."""
    yield _route("pods/logs/stream", "pods-logs-stream", LogTickets)
    for plural in ("pods", *WORKLOADS_WITH_LOGS):
        yield _route(
            f"{plural}/<str:name>/logs/stream",
            f"{plural}-log-stream",
            LogTickets,
            kind=KINDS[plural],
        )
    yield _route("pods/<str:name>/terminal", "pods-terminal", TerminalTickets)
    yield _route(
        "nodes/<str:name>/terminal",
        "nodes-terminal",
        NodeTerminalTickets,
    )
    yield _route(
        "operations/<str:name>/stream",
        "operations-stream",
        OperationTickets,
    )
    yield _route("terminal-recordings", "recordings-list", RecordingList)
    yield _route(
        "terminal-recordings/<str:pk>",
        "recordings-detail",
        RecordingDetail,
    )
    yield _route(
        "terminal-recordings/<str:pk>/replay",
        "recordings-replay",
        RecordingDetail,
        replay=True,
    )


def _cluster_routes() -> Iterator[URLPattern]:
    """Clusters, and what the store knows of them."""
    yield _route("clusters", "clusters-list", ClusterViewSet, COLLECTION)
    yield _route(
        "clusters/<str:pk>",
        "clusters-detail",
        ClusterViewSet,
        CLUSTER,
    )
    yield _route("clusters/<str:pk>/kubeconfig", "clusters-kubeconfig", ClusterKubeconfig)
    yield _route("clusters/<str:pk>/port-links", "clusters-port-links", ClusterPortLinks)
    yield _route("kubeconfig", "kubeconfig", FleetKubeconfig)
    yield _route("watch", "watch", watching.Watch)
    yield _route("watch/stream", "tickets-watch", WatchTickets)
    yield _route("history", "history", history.History)
    yield _route("history/diff", "history-diff", history.Diff)
    yield _route("history/restore", "history-restore", restoration.Restore)
    yield _route(
        "multicluster/resources/<str:kind>",
        "multicluster-resources",
        multicluster.MulticlusterResources,
    )
    yield _route("multicluster/events", "multicluster-events", fleet_events.MulticlusterEvents)
    yield _route("multicluster/search", "multicluster-search", names.NameSearch)
    yield _route(
        "multicluster/overview",
        "multicluster-overview",
        overview.Overview,
    )
    yield _route("store", "store", StoreInventory)
    yield _route("schemas", "schemas", KindSchema)
    yield _route("topology", "topology", TopologyView)
    yield _route("insights/what-changed", "insights-what-changed", WhatChanged)
    yield _route("insights/why-failing", "insights-why-failing", WhyFailing)
    yield _route("clusters/<str:pk>/sync", "clusters-sync", SyncView)
    yield _route(
        "clusters/<str:pk>/namespaces",
        "clusters-namespaces",
        NamespaceNames,
    )


def _alert_routes() -> Iterator[URLPattern]:
    """Rules, what they raised, silences."""
    yield _route("alerts/presets", "alerts-presets", Presets)
    yield _route("alerts/rules/test", "alerts-rules-test", RuleTest)
    yield _route("alerts/rules/export", "alerts-rules-export", RuleExport)
    yield _route("alerts/rules/import", "alerts-rules-import", RuleImport)
    yield _route("alerts/alertmanager", "alerts-alertmanager", AlertmanagerReceiver)
    yield _route("alerts/deliveries", "alerts-deliveries", Deliveries)
    yield _route("alerts/channels", "alerts-channels-list", ChannelViewSet, COLLECTION)
    yield _route(
        "alerts/channels/<segment:pk>",
        "alerts-channels-detail",
        ChannelViewSet,
        CLUSTER,
    )
    yield _route(
        "alerts/channels/<segment:pk>/test",
        "alerts-channels-test",
        ChannelViewSet,
        {"post": "test"},
    )
    yield _route(
        "alerts/rules",
        "alerts-rules-list",
        RuleViewSet,
        {"get": "list", "post": "create"},
    )
    yield _route(
        "alerts/rules/<segment:pk>",
        "alerts-rules-detail",
        RuleViewSet,
        {"get": "retrieve", "put": "update", "delete": "destroy"},
    )
    for verb in ("enable", "disable"):
        yield _route(
            f"alerts/rules/<segment:pk>/{verb}",
            f"alerts-rules-{verb}",
            RuleViewSet,
            {"post": verb},
        )
    yield _route("alerts/silences", "alerts-silences", Silences)
    yield _route("alerts/silences/preview", "alerts-silences-preview", SilencePreview)
    yield _route("alerts/silences/<segment:pk>", "alerts-silences-detail", SilenceDetail)
    yield _route("alerts/history", "alerts-history", AlertViewSet, {"get": "history"})
    yield _route("alerts", "alerts-list", AlertViewSet, {"get": "list"})
    yield _route("alerts/<int:pk>", "alerts-detail", AlertViewSet, {"get": "retrieve"})
    yield _route("alerts/<int:pk>/ack", "alerts-ack", AlertViewSet, {"post": "ack"})


def _task_routes() -> Iterator[URLPattern]:
    """Tasks and their runs."""
    yield _route("tasks/types", "tasks-types", TaskTypes)
    yield _route("tasks/calendar", "tasks-calendar", TaskCalendar)
    yield _route("tasks/preview", "tasks-preview", TaskPreview)
    yield _route("tasks/moments", "tasks-moments", ScheduleMoments)
    yield _route("tasks", "tasks-list", TaskViewSet, {"get": "list", "post": "create"})
    yield _route(
        "tasks/<segment:pk>",
        "tasks-detail",
        TaskViewSet,
        {"get": "retrieve", "put": "update", "delete": "destroy"},
    )
    yield _route("tasks/<segment:pk>/run", "tasks-run", TaskViewSet, {"post": "run"})
    yield _route("tasks/<segment:pk>/runs", "tasks-runs", TaskViewSet, {"get": "runs"})
    yield _route("task-runs", "task-runs-list", RunViewSet, {"get": "list"})
    yield _route("task-runs/<segment:pk>", "task-runs-detail", RunViewSet, {"get": "retrieve"})
    for verb in ("cancel", "retry", "approve", "reject"):
        yield _route(
            f"task-runs/<segment:pk>/{verb}",
            f"task-runs-{verb}",
            RunViewSet,
            {"post": verb},
        )
    yield _route("task-runs/<segment:pk>/report", "task-runs-report", RunReport)
    yield _route("task-runs/<segment:pk>/archives", "task-runs-archives", RunArchives)
    yield _route("task-runs/<segment:pk>/compare", "task-runs-compare", CompareRuns)
    yield _route("task-runs/<segment:pk>/restore", "task-runs-restore", RestoreRun)


def _release_routes() -> Iterator[URLPattern]:
    """Helm releases, read only."""
    yield _route("releases", "releases-list", ReleaseViewSet, {"get": "list"})
    yield _route("releases/<str:name>", "releases-detail", ReleaseViewSet, {"get": "retrieve"})
    yield _route(
        "releases/<str:name>/history", "releases-history", ReleaseViewSet, {"get": "history"}
    )
    yield _route("releases/<str:name>/diff", "releases-diff", ReleaseViewSet, {"get": "diff"})


def _manifest_routes() -> Iterator[URLPattern]:
    """Texts of many manifests, and one object over many clusters."""
    yield _route("manifests/validate", "manifests-validate", ValidateManifests)
    yield _route("manifests/diff", "manifests-diff", DiffManifests)
    yield _route("manifests/apply", "manifests-apply", ApplyManifests)
    yield _route("manifests/export", "manifests-export", ExportManifests)
    yield _route("manifests/copy", "manifests-copy", CopyManifest)
    yield _route("multicluster/compare", "multicluster-compare", CompareObject)


def _deployment_routes() -> Iterator[URLPattern]:
    """What was made of templates."""
    yield _route("templates/<str:pk>/deploy", "templates-deploy", DeployTemplate)
    yield _route("templates/<str:pk>/deployments", "templates-deployments", TemplateDeployments)
    yield _route(
        "template-deployments", "template-deployments-list", DeploymentViewSet, {"get": "list"}
    )
    yield _route(
        "template-deployments/<str:pk>",
        "template-deployments-detail",
        DeploymentViewSet,
        {"get": "retrieve"},
    )
    for action in ("upgrade", "rollback", "undeploy"):
        yield _route(
            f"template-deployments/<str:pk>/{action}",
            f"template-deployments-{action}",
            DeploymentViewSet,
            {"post": action},
        )


def _template_routes() -> Iterator[URLPattern]:
    """Templates of manifests."""
    yield _route("templates", "templates-list", templates.TemplateList)
    yield _route("templates/import", "templates-import", templates.ImportTemplate)
    yield _route(
        "templates/from-resources", "templates-from-resources", templates.TemplateFromResources
    )
    yield _route("templates/<str:pk>", "templates-detail", templates.TemplateDetail)
    yield _route("templates/<str:pk>/versions", "templates-versions", templates.TemplateVersions)
    yield _route(
        "templates/<str:pk>/versions/<str:version>",
        "templates-version",
        templates.TemplateVersionDetail,
    )
    yield _route("templates/<str:pk>/render", "templates-render", templates.RenderTemplate)
    yield _route("templates/<str:pk>/export", "templates-export", templates.ExportTemplate)


def _operation_routes() -> Iterator[URLPattern]:
    """Operations."""
    yield _route(
        "operations",
        "operations-list",
        OperationViewSet,
        {"get": "list"},
    )
    yield _route(
        "operations/<str:pk>",
        "operations-detail",
        OperationViewSet,
        {"get": "retrieve"},
    )
    yield _route(
        "operations/<str:pk>/cancel",
        "operations-cancel",
        OperationViewSet,
        {"post": "cancel"},
    )


def _order_routes() -> Iterator[URLPattern]:
    """Orders."""
    yield _route(
        "orders",
        "orders-list",
        sales.Orders,
        {"get": "list", "post": "create"},
    )
    yield _route("orders/plans", "orders-plans", sales.OrderPlans)
    yield _route(
        "orders/export",
        "orders-export",
        OrderViewSet,
        {"get": "export"},
    )
    yield _route(
        "orders/<str:pk>",
        "orders-detail",
        OrderViewSet,
        {"get": "retrieve"},
    )
    yield _route(
        "orders/<str:pk>/usage",
        "orders-usage",
        OrderViewSet,
        {"get": "usage"},
    )
    yield _route("orders/<str:pk>/pay", "orders-pay", sales.OrderPayment)
    yield _route("orders/<str:pk>/refund", "orders-refund", sales.OrderRefund)
    yield _route("orders/<str:pk>/secret", "orders-secret", sales.OrderSecret)
    yield _route(
        "orders/<str:pk>/ledger",
        "orders-ledger",
        OrderViewSet,
        {"get": "ledger"},
    )


def _live_object_routes() -> Iterator[URLPattern]:
    """Objects of every kind, and actions on them.

    The first match counts: routes with fixed names stand before those with a name of an object.
    """
    for plural in ("resourcequotas", "limitranges"):
        yield _route(
            f"namespaces/<str:name>/{plural}",
            f"namespaces-{plural}",
            NamespaceContents,
            kind=KINDS[plural],
        )
    # A pod called `metrics` is hidden by /pods/metrics; this address reaches it.
    yield _route(
        "namespaces/<str:namespace>/pods/<str:name>",
        "namespaces-pods-detail",
        ObjectViewSet,
        ITEM,
        kind=KINDS["pods"],
    )
    for address, view in METRICS.items():
        yield _route(address, address.replace("/", "-"), view)
    yield from pod_routes()
    yield from secret_routes()
    yield from node_routes()
    for plural in ACTIONS:
        yield from action_routes(KINDS[plural])
    for kind in KINDS.values():
        yield _route(
            f"bulk/{kind.plural}",
            f"bulk-{kind.plural}",
            BulkView,
            kind=kind,
        )
        yield from object_routes(kind)
    base = "resources/<str:group>/<str:version>/<str:plural>"
    yield _route(base, "resources-list", AnyObjectViewSet, COLLECTION)
    yield _route(
        f"{base}/<str:name>",
        "resources-detail",
        AnyObjectViewSet,
        ITEM,
    )


def _access_routes() -> Iterator[URLPattern]:
    """Audit trail, tenants, plans, grants, users and groups."""
    yield _route("audit", "audit", access.Audit)
    yield _route("audit/export", "audit-export", access.AuditExport)
    yield _route("tenants", "tenants", tenants.Tenants)
    yield _route("tenants/<str:name>", "tenants-detail", tenants.TenantDetail)
    yield _route(
        "tenants/<str:name>/members",
        "tenants-members",
        tenants.Members,
    )
    yield _route(
        "tenants/<str:name>/members/<str:username>",
        "tenants-members-detail",
        tenants.MemberDetail,
    )
    yield _route("tenants/<str:name>/usage", "tenants-usage", tenants.Usage)
    yield _route("plans", "plans", tenants.Plans)
    yield _route("plans/<str:name>", "plans-detail", tenants.PlanDetail)
    yield _route("grants", "grants", access.Grants)
    yield _route("grants/<str:pk>", "grants-detail", access.GrantDetail)
    yield _route("users", "users", access.People)
    yield _route("users/<str:name>", "users-detail", access.PersonDetail)
    yield _route("groups", "groups", access.Groups)
    yield _route("groups/<str:pk>", "groups-detail", access.GroupDetail)
    yield _route("groups/<str:pk>/members", "groups-members", access.GroupMembers)
    yield _route(
        "groups/<str:pk>/members/<str:username>",
        "groups-members-detail",
        access.GroupMemberDetail,
    )


def _routes() -> Iterator[URLPattern]:
    yield from _cluster_routes()
    yield from _manifest_routes()
    yield from _deployment_routes()
    yield from _template_routes()
    yield from _alert_routes()
    yield from _task_routes()
    yield from _release_routes()
    yield from _operation_routes()
    yield from _order_routes()
    yield from _stream_routes()
    yield from _live_object_routes()
    yield from _access_routes()
    yield catch_all(DIALECT)


urlpatterns = list(_routes())
auth_urlpatterns = [
    _route("login", "login", access.Login),
    _route("refresh", "refresh", access.Refresh),
    _route("logout", "logout", access.Logout),
    _route("me", "me", access.Me),
    _route("password", "password", access.Password),
    _route("preferences", "preferences", access.OwnPreferences),
    _route("tenants", "own-tenants", tenants.OwnTenants),
    _route("tokens", "tokens", access.Tokens),
    _route("tokens/<str:pk>", "tokens-detail", access.TokenDetail),
    catch_all(DIALECT),
]
