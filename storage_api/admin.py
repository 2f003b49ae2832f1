"""The store in the admin: read-only, with readable JSON and filters by cluster and type.

Nothing here counts millions of rows.
"""

import json
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from core.api.admin import ModelAdmin, ReadOnly
from core.api.admin_lists import text_filter
from storage_api.models import (
    Alarm,
    Change,
    ClusterSync,
    CollectorProcess,
    Event,
    FreeDocument,
    FreeIndex,
    Gap,
    Host,
    KindSync,
    KindWrite,
    Metric,
    Resource,
    WatchNode,
)
from storage_api.protection import mask_sealed_value

MAX_CHARACTERS = 200_000
CLUSTER = text_filter("cluster_id", _("cluster"))
TYPE = text_filter("resource_type", _("type"))
NAMESPACE = text_filter("namespace", _("namespace"))


class ReadOnlyAdmin(ReadOnly, ModelAdmin[Any]):
    """Read-only rows: collectors and the API write them."""

    ordering: ClassVar[tuple[str, ...]] = ("-pk",)
    json_fields: ClassVar[tuple[str, ...]] = ("data",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Lists do not read the documents, which may be large."""
        rows = super().get_queryset(request)
        if request.resolver_match and "object_id" in request.resolver_match.kwargs:
            return rows
        return rows.defer(*self.json_fields)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """Every column, JSON in its readable form."""
        return [
            f"readable_{field.name}" if field.name in self.json_fields else field.name
            for field in self.model._meta.fields
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """All of them."""
        return self.get_fields(request, obj)

    @admin.display(description=_("data"))
    def readable_data(self, row: Any) -> SafeString:
        """The document, indented."""
        return readable(mask_sealed_value(row.data))


def readable(value: object) -> SafeString:
    """JSON indented and escaped; a huge one is cut."""
    text = json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)
    if len(text) > MAX_CHARACTERS:
        rest = len(text) - MAX_CHARACTERS
        text = f"{text[:MAX_CHARACTERS]}\n… {rest} characters more"
    return format_html("<pre>{}</pre>", text)


@admin.register(Resource)
class ResourceAdmin(ReadOnlyAdmin):
    """The last known state of every object."""

    list_display = (
        "resource_name",
        "namespace",
        "resource_type",
        "cluster_id",
        "status",
        "node_name",
        "update_time",
    )
    list_filter = (CLUSTER, TYPE, NAMESPACE, text_filter("resource_name", _("name")))
    search_fields = ("=resource_name", "=namespace", "=resource_type")

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        """Newest first; within one cluster along the index of its lists."""
        return ("-type_key", "-arrival") if request.GET.get("cluster_id") else ("-pk",)


@admin.register(Change)
class ChangeAdmin(ReadOnlyAdmin):
    """What changed, newest first."""

    list_display = ("seq", "at", "op", "resource_name", "namespace", "resource_type", "cluster_id")
    list_filter = (CLUSTER, TYPE, NAMESPACE, text_filter("resource_name", _("name")))
    search_fields = ("=resource_name", "=namespace", "=resource_type")


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    """Events, newest first."""

    list_display = ("event_time", "cluster_id", "level", "kind", "type", "component", "describe")
    list_filter = (CLUSTER, text_filter("kind", _("kind")), text_filter("type", _("type")))
    search_fields = ("=kind", "=type", "=component", "=level")
    ordering = ("-event_time", "pk")
    json_fields: ClassVar[tuple[str, ...]] = ("data", "extra_info")

    @admin.display(description=_("extra info"))
    def readable_extra_info(self, row: Event) -> SafeString:
        """Which object the event is about."""
        return readable(row.extra_info)


@admin.register(Alarm)
class AlarmAdmin(ReadOnlyAdmin):
    """Alarms, newest first."""

    list_display = ("received_time", "cluster_id", "namespace", "module", "type", "message")
    search_fields = ("=namespace", "=module", "=type")
    list_filter = (CLUSTER, NAMESPACE, text_filter("module", _("module")))
    ordering = ("-received_time", "pk")


@admin.register(Metric)
class MetricAdmin(ReadOnlyAdmin):
    """The last report of each metric."""

    list_display = ("name", "type", "namespace", "cluster_id", "update_time")
    search_fields = ("=name", "=namespace", "=type")
    list_filter = (CLUSTER, text_filter("type", _("type")), NAMESPACE)


@admin.register(Host)
class HostAdmin(ReadOnlyAdmin):
    """Machines."""

    list_display = ("ip", "cluster_id", "update_time")
    search_fields = ("=ip", "=cluster_id")
    list_filter = (CLUSTER, text_filter("ip", _("ip")))


@admin.register(WatchNode)
class WatchNodeAdmin(ReadOnlyAdmin):
    """Objects that others watch."""

    list_display = (
        "resource_name",
        "namespace",
        "resource_type",
        "cluster_id",
        "env",
        "update_time",
    )
    search_fields = ("=resource_name", "=namespace")
    list_filter = (CLUSTER, TYPE, NAMESPACE, "env")


@admin.register(FreeDocument)
class FreeDocumentAdmin(ReadOnlyAdmin):
    """Documents of any members."""

    list_display = ("object_id", "resource_type", "create_time", "update_time")
    search_fields = ("=object_id", "=resource_type")
    list_filter = (TYPE,)


@admin.register(FreeIndex)
class FreeIndexAdmin(ReadOnly, ModelAdmin[FreeIndex]):
    """What names the documents of a type."""

    list_display = ("resource_type", "name", "keys")
    search_fields = ("resource_type", "name")
    ordering = ("resource_type", "pk")


@admin.register(CollectorProcess)
class CollectorProcessAdmin(ReadOnly, ModelAdmin[CollectorProcess]):
    """The collectors that run, or ran recently."""

    list_display = ("name", "seen_at")
    search_fields = ("name",)
    ordering = ("-seen_at",)


@admin.register(ClusterSync)
class ClusterSyncAdmin(ReadOnly, ModelAdmin[ClusterSync]):
    """Who collects which cluster, and how fresh its copy is."""

    list_display = ("cluster", "owner", "stored_as", "beaten_at", "expires_at", "error")
    search_fields = ("cluster__name", "owner")
    list_select_related = ("cluster",)
    exclude = ("token",)


@admin.register(KindSync)
class KindSyncAdmin(ReadOnly, ModelAdmin[KindSync]):
    """How far each kind of each cluster is followed."""

    list_display = (
        "cluster",
        "plural",
        "group",
        "namespace",
        "phase",
        "listed_at",
        "changed_at",
        "error",
    )
    list_filter = ("phase", "cluster")
    search_fields = ("plural", "group", "namespace")
    list_select_related = ("cluster",)


@admin.register(KindWrite)
class KindWriteAdmin(ReadOnly, ModelAdmin[KindWrite]):
    """When KubeGale last wrote to a kind.

    Until the collector has caught up, lists of the kind are read from the cluster.
    """

    list_display = ("cluster", "plural", "group", "at")
    search_fields = ("cluster__name", "plural", "group")
    list_select_related = ("cluster",)
    ordering = ("-at",)


@admin.register(Gap)
class GapAdmin(ReadOnly, ModelAdmin[Gap]):
    """Times in which the log of changes may lack something."""

    list_display = ("cluster_id", "resource_type", "since", "until", "after_version", "to_version")
    search_fields = ("cluster_id", "resource_type")
    ordering = ("-until",)
