"""Credentials, grants and the audit trail."""

from django.conf import settings
from django.contrib.auth.models import Group
from django.db import models
from django.db.models.functions import Coalesce
from django.utils import timezone

from access.policy import Right, Role
from clusters.models import Cluster


class ApiToken(models.Model):
    """A long-lived credential for scripts and agents, of which only the hash is stored.

    It never allows more than its user may do.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="api_tokens",
    )
    name = models.CharField(max_length=100)
    # Unique, since a request is recognised by the hash of its token alone.
    digest = models.CharField(max_length=64, unique=True, editable=False)
    hint = models.CharField(
        max_length=12,
        editable=False,
        help_text="The first characters, to tell tokens apart.",
    )
    scopes = models.JSONField(
        default=list,
        blank=True,
        help_text=f"Empty: all that the user may. Else some of: {', '.join(Right)}.",
    )
    clusters = models.JSONField(
        default=list,
        blank=True,
        help_text="Empty: every cluster. Else names of clusters, or clusterIds of the store.",
    )
    wire = models.CharField(
        max_length=3,
        default="",
        blank=True,
        choices=[("doc", "doc"), ("go", "go")],
        help_text="How bcs-storage answers this token; empty leaves it to the address.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
    )
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "API token"
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.name} ({self.hint}…)"

    def is_expired(self) -> bool:
        """Whether its time is over."""
        return self.expires_at is not None and self.expires_at <= timezone.now()


class ExternalIdentity(models.Model):
    """Who a user is at an OpenID Connect provider."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="external_identities",
    )
    issuer = models.CharField(max_length=300)
    subject = models.CharField(max_length=255)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name_plural = "external identities"
        constraints = [
            # A subject is unique only within its issuer.
            models.UniqueConstraint(fields=["issuer", "subject"], name="external_identity_once")
        ]

    def __str__(self) -> str:
        return f"{self.subject} of {self.issuer}"


class Grant(models.Model):
    """A role for a user or a group: on everything, on a cluster, or on one namespace of it.

    With `tenant` it is a membership of that tenant.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="grants",
    )
    group = models.ForeignKey(
        Group,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="grants",
    )
    role = models.CharField(max_length=16, choices=[(role.value, role.value) for role in Role])
    cluster = models.ForeignKey(
        Cluster,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        help_text="Empty: every cluster.",
    )
    namespace = models.CharField(
        max_length=63,
        blank=True,
        default="",
        help_text="Empty: the whole cluster.",
    )
    namespace_uid = models.CharField(
        max_length=64,
        blank=True,
        default="",
        help_text="Set as soon as the namespace is seen.",
    )
    tenant = models.ForeignKey(
        "tenants.Tenant",
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="members",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.CharField(max_length=150, blank=True, default="")

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(user=None, group__isnull=False)
                | models.Q(user__isnull=False, group=None),
                name="grant_one_subject",
            ),
            models.CheckConstraint(
                condition=models.Q(namespace="") | models.Q(cluster__isnull=False),
                name="grant_namespace_of_cluster",
            ),
            models.CheckConstraint(
                condition=models.Q(role__in=[role.value for role in Role]), name="grant_known_role"
            ),
            models.UniqueConstraint(
                # PostgreSQL counts nulls as different, so a plain constraint would allow the same
                # grant twice.
                Coalesce("user", 0),
                Coalesce("group", 0),
                Coalesce("cluster", 0),
                "namespace",
                "namespace_uid",
                "role",
                name="grant_unique",
            ),
        ]

    def __str__(self) -> str:
        if self.cluster_id is None:
            where = "everything"
        elif self.namespace:
            where = f"{self.cluster}/{self.namespace}"
        else:
            where = str(self.cluster)
        return f"{self.user or self.group}: {self.role} on {where}"


class AuditEntry(models.Model):
    """One act of a caller. It never changes.

    A database trigger refuses updates, and deletes except by retention. Names are copied, not
    linked: the entry outlives the user, the cluster and the object.
    """

    class Result(models.TextChoices):
        """How it ended."""

        SUCCESS = "success"
        DENIED = "denied"
        FAILED = "failed"

    at = models.DateTimeField(auto_now_add=True)
    # A name may be given to another user later; the key is not.
    user_pk = models.BigIntegerField(null=True)
    username = models.CharField(max_length=150, blank=True, default="")
    token = models.CharField(
        max_length=120,
        blank=True,
        default="",
        help_text="Name and hint of the API token used.",
    )
    address = models.GenericIPAddressField(null=True)
    request_id = models.CharField(max_length=64, blank=True, default="")
    dialect = models.CharField(max_length=32)
    verb = models.CharField(max_length=64)
    cluster_pk = models.BigIntegerField(null=True)
    cluster = models.CharField(max_length=253, blank=True, default="")
    group = models.CharField(max_length=253, blank=True, default="")
    kind = models.CharField(max_length=253, blank=True, default="")
    namespace = models.CharField(max_length=253, blank=True, default="")
    name = models.CharField(max_length=253, blank=True, default="")
    result = models.CharField(max_length=8, choices=Result.choices)
    reason = models.CharField(
        max_length=64,
        blank=True,
        default="",
        help_text="The error's code; never its text, which could quote the input.",
    )
    diff = models.JSONField(default=list, blank=True)
    # Facts that are no object's fields, such as a request's members or an operation's id.
    details = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "audit entries"
        indexes = [
            models.Index(fields=["at"], name="audit_at"),
            models.Index(fields=["username", "-id"], name="audit_user"),
            models.Index(fields=["cluster_pk", "namespace", "-id"], name="audit_place"),
            models.Index(fields=["kind", "name", "-id"], name="audit_object"),
            models.Index(fields=["request_id"], name="audit_request"),
        ]

    def __str__(self) -> str:
        return f"{self.username or 'anonymous'} {self.verb} {self.kind} {self.name}: {self.result}"


class Preferences(models.Model):
    """How one user has arranged the console: `access.preferences` says what the document holds."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        primary_key=True,
        related_name="+",
    )
    document = models.JSONField(default=dict, blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name_plural = "preferences"

    def __str__(self) -> str:
        return f"preferences of {self.user}"
