"""Clusters in the admin: the same refusals as everywhere, kubeconfigs never shown."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.widgets import AdminTextareaWidget
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from clusters import cluster_fields, registry
from clusters.manifests import MASK
from clusters.models import Cluster
from core.api.admin import ModelAdmin, ModelForm
from core.errors import DomainError


class ClusterForm(ModelForm[Cluster]):
    """Tries the connection before anything is saved; an unchanged mask keeps the kubeconfig."""

    kubeconfig = forms.CharField(
        widget=AdminTextareaWidget(attrs={"spellcheck": "false"}),
        initial="",
        strip=False,
    )

    class Meta:
        model = Cluster
        fields = (
            "name",
            "description",
            "kubeconfig",
            "labels",
            "is_default",
            "protected",
            "maintenance",
            "impersonate",
        )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.initial["kubeconfig"] = MASK

    def clean_name(self) -> str:
        """A name that is no number, which would be taken for an id, and no other cluster's."""
        try:
            return registry.check_name(self.cleaned_data["name"], own=self.instance.pk or 0)
        except DomainError as error:
            raise forms.ValidationError(error.message) from None

    def clean_labels(self) -> dict[str, str]:
        """A mapping of strings to strings."""
        try:
            return cluster_fields.check_labels(self.cleaned_data["labels"] or {})
        except DomainError as error:
            raise forms.ValidationError(error.message) from None

    def clean(self) -> dict[str, Any]:
        """Refuse what registering over the API refuses, in the same words."""
        values = super().clean() or self.cleaned_data
        # The connection is tried only for a form that is right otherwise.
        if self.errors:
            return values
        text = values.get("kubeconfig", "")
        if self.instance.pk and text == MASK:
            values["kubeconfig"] = Cluster.objects.get(pk=self.instance.pk).kubeconfig
            return values
        try:
            registry.examine(self.instance, text)
        except DomainError as error:
            self.add_error("kubeconfig", error.message)
        return values


@admin.register(Cluster)
class ClusterAdmin(ModelAdmin[Cluster]):
    """Registered clusters."""

    form = ClusterForm
    list_display = (
        "name",
        "status",
        "version",
        "server",
        "is_default",
        "protected",
        "last_seen_at",
    )
    list_filter = ("status", "is_default", "protected")
    search_fields = ("name", "description", "server")
    readonly_fields = ("server", "version", "status", "status_reason", "created_at", "last_seen_at")
    actions = ("check_now",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Cluster]:
        """Those that are registered; kubeconfigs are not even read."""
        return super().get_queryset(request).filter(deleted_at=None).defer("kubeconfig")

    def save_model(
        self,
        request: HttpRequest,
        obj: Cluster,
        form: Any,
        change: bool,
    ) -> None:
        """Save the cluster; only one is the default."""
        is_default = obj.is_default
        # Saved as false first: a constraint allows one default cluster.
        obj.is_default = False
        super().save_model(request, obj, form, change)
        if is_default:
            registry.make_default(obj)

    def delete_model(self, request: HttpRequest, obj: Cluster) -> None:
        """Remove it as the API does."""
        registry.remove(obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Cluster]) -> None:
        """Remove them as the API does."""
        for cluster in queryset:
            registry.remove(cluster)

    @admin.action(description=_("Check the connection now"))
    def check_now(self, request: HttpRequest, queryset: QuerySet[Cluster]) -> None:
        """Try the connection of each selected cluster."""
        for cluster in queryset:
            status = registry.check(cluster)
            messages.info(request, f"{cluster.name}: {status.label}")
