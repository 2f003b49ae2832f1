"""Registered clusters."""

from django.db import models
from django.db.models.functions import Lower

from core.crypto import EncryptedTextField


class Cluster(models.Model):
    """One Kubernetes API server and how to reach it.

    Removing it keeps the row (with `deleted_at`), so that history and audit still name it.
    """

    class Status(models.TextChoices):
        """How the cluster's connection was at the last check."""

        ACTIVE = "active"
        UNREACHABLE = "unreachable"
        ERROR = "error"
        PENDING = "pending"

    name = models.CharField(max_length=100)
    description = models.TextField(blank=True, default="")
    kubeconfig = EncryptedTextField()
    server = models.CharField(max_length=500)
    version = models.CharField(max_length=64, blank=True, default="")
    status = models.CharField(
        max_length=16,
        choices=Status.choices,
        default=Status.PENDING,
    )
    status_reason = models.CharField(max_length=300, blank=True, default="")
    labels = models.JSONField(default=dict, blank=True)
    is_default = models.BooleanField(default=False)
    protected = models.BooleanField(
        default=False, help_text="Deleting and draining here asks for confirmation."
    )
    maintenance = models.BooleanField(
        default=False,
        help_text="While it is on, alerts of the cluster are recorded and not notified.",
    )
    impersonate = models.BooleanField(
        default=False,
        help_text="Name the caller to the cluster, so that its own RBAC decides too.",
    )
    prometheus = models.CharField(
        max_length=500,
        blank=True,
        default="",
        help_text="namespace/service:port, or an http(s) address.",
    )
    context = models.CharField(
        max_length=500,
        blank=True,
        default="",
        help_text="The kubeconfig's context that is used.",
    )
    contexts = models.JSONField(default=list, blank=True)
    credentials_expire_at = models.DateTimeField(null=True, blank=True)
    system_uid = models.CharField(
        max_length=64,
        blank=True,
        default="",
        help_text="Uid of the namespace kube-system.",
    )
    namespaces = models.JSONField(
        default=list,
        blank=True,
        help_text="Where the credentials may look, if they may not look everywhere.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    last_seen_at = models.DateTimeField(null=True, blank=True)
    deleted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                Lower("name"),
                condition=models.Q(deleted_at=None),
                name="cluster_name_unique",
            ),
            models.UniqueConstraint(
                "is_default",
                condition=models.Q(deleted_at=None, is_default=True),
                name="one_default_cluster",
            ),
        ]

    def __str__(self) -> str:
        return self.name
