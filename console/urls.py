"""The console's addresses; none of them begins like an address of an API."""

from django.urls import path

from console import actions, bulk, clusters, history, nodes, objects, operations, search, sessions, tables

OBJECT = "clusters/<int:cluster>/<str:plural>/<str:namespace>/<str:name>"

urlpatterns = [
    path("", clusters.overview, name="console-overview"),
    path("signin", sessions.sign_in, name="console-signin"),
    path("signout", sessions.sign_out, name="console-signout"),
    path("preferences", sessions.prefer, name="console-preferences"),
    path("search", search.search, name="console-search"),
    path("search/quick", search.quick, name="console-search-quick"),
    path("troubles", clusters.troubles, name="console-troubles"),
    path("clusters/register", clusters.register, name="console-register"),
    path("clusters/<int:cluster>", clusters.cluster, name="console-cluster"),
    path("clusters/<int:cluster>/-/capacity", clusters.capacity, name="console-capacity"),
    path("clusters/<int:cluster>/-/change", clusters.change, name="console-cluster-change"),
    path("clusters/<int:cluster>/-/remove", clusters.remove, name="console-cluster-remove"),
    path("clusters/<int:cluster>/-/nodes", clusters.nodes, name="console-cluster-nodes"),
    path("clusters/<int:cluster>/-/freshness", clusters.freshness, name="console-freshness"),
    path("clusters/<int:cluster>/-/kinds", clusters.custom_kinds, name="console-kinds"),
    path("clusters/<int:cluster>/-/namespaces", tables.namespaces, name="console-namespaces"),
    path("clusters/<int:cluster>/<str:plural>", tables.table, name="console-table"),
    path("clusters/<int:cluster>/<str:plural>/-/_many", bulk.act, name="console-bulk"),
    path("clusters/<int:cluster>/nodes/-/<str:name>/act/drain", nodes.drain, name="console-drain"),
    path(OBJECT, objects.summary, name="console-object"),
    path(f"{OBJECT}/beside", objects.beside, name="console-beside"),
    path(f"{OBJECT}/events", objects.events, name="console-events"),
    path(f"{OBJECT}/yaml", objects.manifest, name="console-yaml"),
    path(f"{OBJECT}/revisions", objects.revisions, name="console-revisions"),
    path(f"{OBJECT}/revisions/<int:revision>", actions.rollback, name="console-rollback"),
    path(f"{OBJECT}/history", history.of_object, name="console-object-history"),
    path(f"{OBJECT}/history/at", history.then, name="console-then"),
    path(f"{OBJECT}/history/<int:seq>/restore", history.restore, name="console-restore"),
    path(f"{OBJECT}/act/<str:verb>", actions.act, name="console-act"),
    path("operations", operations.listed, name="console-operations"),
    path("operations/<int:pk>", operations.one, name="console-operation"),
    path("operations/<int:pk>/cancel", operations.cancel, name="console-operation-cancel"),
    path("history", history.room, name="console-history"),
]
