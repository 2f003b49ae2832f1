"""Templates and their deployments in the admin."""

from django.contrib import admin

from core.api.admin import ModelAdmin, ReadOnly, TabularInline
from manifest_templates.models import (
    DeploymentRevision,
    DeploymentTarget,
    Template,
    TemplateDeployment,
    TemplateVersion,
)


@admin.register(Template)
class TemplateAdmin(ReadOnly, ModelAdmin[Template]):
    """Templates. They are made and changed in the API or the console, which check them."""

    list_display = ("name", "category", "scope", "tenant", "built_in", "created_by", "updated_at")
    list_filter = ("scope", "built_in", "category")
    list_select_related = ("tenant", "tenant__cluster")
    search_fields = ("name", "description")


@admin.register(TemplateVersion)
class TemplateVersionAdmin(ReadOnly, ModelAdmin[TemplateVersion]):
    """Versions, which never change."""

    list_display = ("template", "version", "created_by", "created_at")
    list_select_related = ("template",)
    search_fields = ("template__name", "version")


class TargetInline(ReadOnly, TabularInline[DeploymentTarget, TemplateDeployment]):
    """Where a deployment goes to."""

    model = DeploymentTarget
    extra = 0


class RevisionInline(ReadOnly, TabularInline[DeploymentRevision, TemplateDeployment]):
    """Revisions of a deployment, without values and manifests: both may hold secrets."""

    model = DeploymentRevision
    extra = 0
    fields = ("number", "version", "operation", "created_by", "created_at")
    readonly_fields = fields


@admin.register(TemplateDeployment)
class TemplateDeploymentAdmin(ReadOnly, ModelAdmin[TemplateDeployment]):
    """Deployments of templates."""

    list_display = ("name", "template", "state", "revision", "created_by", "updated_at")
    list_filter = ("state",)
    list_select_related = ("template",)
    search_fields = ("name", "label", "template__name")
    inlines = (TargetInline, RevisionInline)
