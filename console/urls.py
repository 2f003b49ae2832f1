"""The console's addresses; none of them begins like an address of an API."""

from django.urls import path

from console import clusters, sessions, tables

urlpatterns = [
    path("", clusters.overview, name="console-overview"),
    path("signin", sessions.sign_in, name="console-signin"),
    path("signout", sessions.sign_out, name="console-signout"),
    path("preferences", sessions.prefer, name="console-preferences"),
    path("clusters/<int:cluster>", clusters.cluster, name="console-cluster"),
    path("clusters/<int:cluster>/-/namespaces", tables.namespaces, name="console-namespaces"),
    path("clusters/<int:cluster>/<str:plural>", tables.table, name="console-table"),
]
