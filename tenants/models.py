"""Tenants, quota plans, and how much of their quotas tenants used."""

from django.db import models

from clusters.models import Cluster


class Tenant(models.Model):
    """A namespace with quotas and members.

    Its key is the namespace's uid: one that is created again under the old name is another tenant.
    """

    cluster = models.ForeignKey(
        Cluster,
        on_delete=models.CASCADE,
        related_name="tenants",
    )
    namespace = models.CharField(max_length=63)
    uid = models.CharField(max_length=64, help_text="metadata.uid of the namespace.")
    contact = models.CharField(
        max_length=200,
        blank=True,
        default="",
    )
    description = models.TextField(blank=True, default="")
    options = models.JSONField(
        default=dict,
        blank=True,
        help_text="What was asked for at creation.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.CharField(
        max_length=150,
        blank=True,
        default="",
    )

    class Meta:
        ordering = ["cluster_id", "namespace"]
        constraints = [
            models.UniqueConstraint(fields=["cluster", "uid"], name="tenant_unique_uid"),
            models.UniqueConstraint(
                fields=["cluster", "namespace"], name="tenant_unique_namespace"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.cluster}/{self.namespace}"


class QuotaPlan(models.Model):
    """A template of quotas to hand out."""

    name = models.SlugField(max_length=63, unique=True)
    description = models.CharField(
        max_length=200,
        blank=True,
        default="",
    )
    hard = models.JSONField(
        help_text='{"limitCpu","limitMemory","requestsCpu","requestsMemory",'
        '"requestsStorage","pods"} as texts.'
    )

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class UsageSample(models.Model):
    """What a tenant used of its quotas at one time: numbers under the names of quotas.RESOURCES."""

    tenant = models.ForeignKey(
        Tenant,
        on_delete=models.CASCADE,
        related_name="samples",
    )
    at = models.DateTimeField(db_index=True)
    used = models.JSONField()
    hard = models.JSONField()

    class Meta:
        ordering = ["-at"]
        constraints = [models.UniqueConstraint(fields=["tenant", "at"], name="usage_sample_once")]

    def __str__(self) -> str:
        return f"{self.tenant} at {self.at}"
