"""Channels, what each group of alerts was last told, and every delivery."""

from django.conf import settings
from django.db import models

from alerts.models.rules import Rule
from core import outbox
from core.crypto import EncryptedTextField


class Channel(models.Model):
    """Where notifications go; it belongs to its owner or to a tenant."""

    class Kind(models.TextChoices):
        """How a notification travels."""

        WEBHOOK = "webhook"
        SLACK = "slack"
        MAIL = "mail"
        DINGTALK = "dingtalk"
        FEISHU = "feishu"
        WECOM = "wecom"

    name = models.CharField(max_length=200)
    kind = models.CharField(max_length=10, choices=Kind.choices)
    config = EncryptedTextField(
        editable=False,
        help_text="JSON: url, secret, to, as the kind needs them.",
    )
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="alert_channels",
    )
    tenant = models.ForeignKey(
        "tenants.Tenant",
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="alert_channels",
    )
    enabled = models.BooleanField(default=True)
    paced_until = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="How far its attempts are ahead of the rate that it may have.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.name} ({self.kind})"


class NotificationGroup(models.Model):
    """What one channel knows of one group of a rule's alerts.

    The evaluation sets `due_at` in the transaction that changes an alert; the dispatcher takes
    the rows that are due, with SKIP LOCKED, and sets the next time, or none.
    """

    rule = models.ForeignKey(
        Rule,
        null=True,
        on_delete=models.SET_NULL,
        related_name="notification_groups",
    )
    group_key = models.CharField(max_length=64)
    labels = models.JSONField(default=dict, blank=True)
    channel = models.ForeignKey(
        Channel,
        on_delete=models.CASCADE,
        related_name="groups",
    )
    due_at = models.DateTimeField(null=True, blank=True)
    notified_at = models.DateTimeField(null=True, blank=True)
    notified_alerts = models.JSONField(
        default=list,
        blank=True,
        help_text="Ids of the alerts that the channel was told of as firing, and not as resolved.",
    )
    sequence = models.PositiveIntegerField(
        default=0,
        help_text="How many notifications there were; part of the idempotency key.",
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["rule", "group_key", "channel"],
                nulls_distinct=False,
                name="alert_notification_group_key",
            )
        ]
        indexes = [
            models.Index(
                fields=["due_at"],
                condition=models.Q(due_at__isnull=False),
                name="alert_group_due",
            )
        ]

    def __str__(self) -> str:
        return f"{self.rule_id} {self.group_key} to {self.channel_id}"


class Delivery(models.Model):
    """One notification on its way to one channel."""

    channel = models.ForeignKey(
        Channel,
        on_delete=models.CASCADE,
        related_name="deliveries",
    )
    group = models.ForeignKey(
        NotificationGroup,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="deliveries",
    )
    group_key = models.CharField(max_length=64, blank=True, default="")
    idempotency_key = models.CharField(max_length=100, unique=True)
    payload = EncryptedTextField(help_text="The exact text that is signed and sent.")
    state = models.CharField(
        max_length=10,
        choices=outbox.State.choices,
        default=outbox.State.PENDING,
    )
    attempts = models.PositiveIntegerField(default=0)
    status = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="The HTTP status of the last attempt.",
    )
    answer = models.CharField(
        max_length=200,
        blank=True,
        default="",
        help_text="What went wrong in the last attempt, or that it was delivered.",
    )
    log = models.JSONField(
        default=list,
        blank=True,
        help_text='Each attempt: {"at", "status", "error"}.',
    )
    is_test = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)
    due_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        verbose_name_plural = "deliveries"
        indexes = [
            models.Index(
                fields=["due_at"],
                condition=models.Q(state="pending"),
                name="alert_delivery_due",
            )
        ]

    def __str__(self) -> str:
        return f"{self.channel_id} {self.state}"
