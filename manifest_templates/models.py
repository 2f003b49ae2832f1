"""Templates with their versions, and deployments of them with their targets and revisions."""

from typing import Any

from django.db import models
from django.db.models.functions import Lower

from clusters.models import Cluster
from core.crypto import EncryptedTextField
from manifest_templates.semver import precedence
from operations.models import Operation
from tenants.models import Tenant


class Template(models.Model):
    """A named text of manifests with parameters. What it renders stands in its versions.

    Scope `tenant` names a tenant; when that is deleted the template stays, for administrators
    alone, as deployments may be made of it.
    """

    class Scope(models.TextChoices):
        """Who sees it."""

        ALL = "all"
        TENANT = "tenant"

    name = models.CharField(max_length=100)
    description = models.TextField(blank=True, default="")
    category = models.CharField(max_length=63, blank=True, default="")
    tags = models.JSONField(
        default=list,
        blank=True,
        help_text="A list of texts.",
    )
    scope = models.CharField(
        max_length=8,
        choices=Scope.choices,
        default=Scope.ALL,
    )
    tenant = models.ForeignKey(
        Tenant,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="manifest_templates",
    )
    icon = models.CharField(max_length=63, blank=True, default="")
    built_in = models.BooleanField(
        default=False,
        help_text="Whether KubeGale brings it along.",
    )
    created_by = models.CharField(max_length=150, blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint(
                Lower("name"),
                condition=models.Q(scope="all"),
                name="template_unique_name",
            ),
            models.UniqueConstraint(
                "tenant",
                Lower("name"),
                condition=models.Q(scope="tenant"),
                name="template_unique_name_of_tenant",
            ),
            models.CheckConstraint(
                condition=models.Q(scope="tenant") | models.Q(tenant=None),
                name="template_of_all_has_no_tenant",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def default_version(self) -> "TemplateVersion | None":
        """The highest version; None before there is one."""
        return self.versions.order_by("-precedence", "-id").first()


class TemplateVersion(models.Model):
    """One version of a template. It never changes: the database refuses updates, too."""

    template = models.ForeignKey(
        Template,
        on_delete=models.CASCADE,
        related_name="versions",
    )
    version = models.CharField(
        max_length=64,
        help_text="A semantic version.",
    )
    precedence = models.CharField(
        max_length=200,
        db_collation="C",
        editable=False,
        help_text="Sorts as semantic versions do.",
    )
    body = models.TextField(help_text="YAML of any number of documents, with expressions.")
    schema = models.JSONField(
        default=dict,
        blank=True,
        help_text="JSON Schema of the values.",
    )
    notes = models.TextField(blank=True, default="")
    created_by = models.CharField(max_length=150, blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["template_id", "-precedence", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["template", "version"],
                name="template_version_unique",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.template} {self.version}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Store a new version; TypeError for one that is stored already."""
        if not self._state.adding:
            raise TypeError("a version of a template never changes")
        self.precedence = precedence(self.version)
        super().save(*args, **kwargs)


class TemplateDeployment(models.Model):
    """What was made of a template under one name, on its targets.

    `revision` is the number of the revision that the targets have or are being brought to,
    `operation` the last action. `state` says what that action is for until its end: a row that is
    deploying or undeploying while no operation runs has failed (`deployments.with_shown_state`).
    """

    class State(models.TextChoices):
        """Where it stands."""

        DEPLOYING = "deploying"
        DEPLOYED = "deployed"
        FAILED = "failed"
        UNDEPLOYING = "undeploying"
        UNDEPLOYED = "undeployed"

    name = models.CharField(max_length=63)
    template = models.ForeignKey(
        Template,
        on_delete=models.PROTECT,
        related_name="deployments",
    )
    label = models.CharField(
        max_length=63,
        unique=True,
        help_text="Value of the label kubegale.io/deployment of its objects.",
    )
    state = models.CharField(
        max_length=16,
        choices=State.choices,
        default=State.DEPLOYING,
    )
    revision = models.PositiveIntegerField(default=0)
    operation = models.ForeignKey(
        Operation,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
    )
    created_by = models.CharField(max_length=150, blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.name


class DeploymentTarget(models.Model):
    """A namespace of a cluster that a deployment goes to.

    `kinds` are those that any of its revisions had there, as the arguments of `Kind`: where objects
    are looked for that a later revision does not have.
    """

    deployment = models.ForeignKey(
        TemplateDeployment,
        on_delete=models.CASCADE,
        related_name="targets",
    )
    cluster = models.ForeignKey(
        Cluster,
        on_delete=models.CASCADE,
        related_name="+",
    )
    namespace = models.CharField(max_length=63)
    kinds = models.JSONField(default=list, blank=True)

    class Meta:
        ordering = ["deployment_id", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["deployment", "cluster", "namespace"], name="deployment_target_unique"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.cluster}/{self.namespace}"


class DeploymentRevision(models.Model):
    """One version with its values, as it was rendered for a deployment.

    Both texts may hold secrets, so they are encrypted.
    """

    deployment = models.ForeignKey(
        TemplateDeployment,
        on_delete=models.CASCADE,
        related_name="revisions",
    )
    number = models.PositiveIntegerField()
    version = models.ForeignKey(
        TemplateVersion,
        on_delete=models.PROTECT,
        related_name="revisions",
    )
    values = EncryptedTextField(help_text="The values as JSON.")
    rendered = EncryptedTextField(help_text="The manifests as YAML.")
    operation = models.ForeignKey(
        Operation,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
    )
    created_by = models.CharField(max_length=150, blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["deployment_id", "-number"]
        constraints = [
            models.UniqueConstraint(
                fields=["deployment", "number"], name="deployment_revision_unique"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.deployment} revision {self.number}"
