"""Rules, alerts, silences, channels and deliveries in Django's admin: to look at."""

from django.contrib import admin

from alerts.models import Alert, Channel, Delivery, Rule, Silence
from core.api.admin import ModelAdmin, ReadOnly


@admin.register(Rule)
class RuleAdmin(ReadOnly, ModelAdmin[Rule]):
    """Rules; they are made and changed over the API, where they are checked."""

    list_display = ("name", "source", "severity", "enabled", "owner", "last_error")
    list_filter = ("source", "severity", "enabled")
    search_fields = ("name", "description")


@admin.register(Alert)
class AlertAdmin(ReadOnly, ModelAdmin[Alert]):
    """Alerts, newest first."""

    list_display = ("rule_name", "state", "severity", "cluster", "namespace", "kind", "name")
    list_filter = ("state", "severity", "source")
    search_fields = ("rule_name", "namespace", "name")
    list_select_related = ("cluster",)


@admin.register(Silence)
class SilenceAdmin(ReadOnly, ModelAdmin[Silence]):
    """Silences, newest first."""

    list_display = ("matchers", "starts_at", "ends_at", "comment", "created_by")
    search_fields = ("comment",)


@admin.register(Channel)
class ChannelAdmin(ReadOnly, ModelAdmin[Channel]):
    """Channels, without their settings, which hold secrets."""

    list_display = ("name", "kind", "owner", "tenant", "enabled")
    list_filter = ("kind", "enabled")
    search_fields = ("name",)
    list_select_related = ("owner", "tenant", "tenant__cluster")
    exclude = ("config",)


@admin.register(Delivery)
class DeliveryAdmin(ReadOnly, ModelAdmin[Delivery]):
    """Deliveries, newest first; their texts may hold what only some may see."""

    list_display = ("created_at", "channel", "state", "attempts", "status", "answer", "due_at")
    search_fields = ("channel__name",)
    list_filter = ("state",)
    list_select_related = ("channel",)
    exclude = ("payload",)
