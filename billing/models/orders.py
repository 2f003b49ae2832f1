"""Plans, the orders bought under them, and the payments for those."""

import secrets
import uuid
from decimal import Decimal

from django.conf import settings
from django.db import models

UNITS = (1, 2, 4, 8, 16)


def new_id() -> str:
    """24 hexadecimal digits, as the document's ids are long."""
    return secrets.token_hex(12)


def unit_choices() -> list[int]:
    """How many resource units the document lets one order have."""
    return list(UNITS)


class Plan(models.Model):
    """What can be bought, and at what price."""

    name = models.CharField(max_length=100, unique=True)
    price = models.DecimalField(
        max_digits=18,
        decimal_places=8,
        default=Decimal(90),
        help_text="Per resource unit and hour.",
    )
    units = models.JSONField(default=unit_choices, help_text="How many units one order may have.")
    regions = models.JSONField(
        default=list,
        blank=True,
        help_text="Where it is sold; empty is everywhere.",
    )
    service_id = models.CharField(
        max_length=24,
        default=new_id,
        editable=False,
    )
    category_id = models.CharField(
        max_length=24,
        default=new_id,
        editable=False,
    )
    active = models.BooleanField(default=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(condition=models.Q(price__gt=0), name="plan_price_positive")
        ]

    def __str__(self) -> str:
        return self.name


class Order(models.Model):
    """Capacity for a time: units of memory and host ports, one secret, one Deployment."""

    class Status(models.TextChoices):
        """How far the purchase is; the document's words."""

        PENDING = "OrderPending"
        PAID = "OrderPaid"
        FILED = "OrderFiled"

    class Service(models.TextChoices):
        """How far the use of it is; the original's words."""

        PENDING = "ServicePending"
        RUNNING = "ServiceRunning"
        DONE = "ServiceDone"
        ABORTED = "ServiceAbort"

    class Ports(models.TextChoices):
        """Who chooses the host ports; the document's words."""

        CHOSEN = "User Specified Service Port"
        RANDOM = "System Random Map Port"

    id = models.CharField(
        primary_key=True,
        max_length=24,
        default=new_id,
        editable=False,
    )
    plan = models.ForeignKey(
        Plan,
        on_delete=models.PROTECT,
        related_name="orders",
    )
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="orders",
    )
    units = models.PositiveSmallIntegerField()
    duration = models.PositiveIntegerField(
        help_text="In steps of VKUBE_DURATION_SECONDS, as that was when it was bought."
    )
    # Copied from the settings, so that a later change does not move the end of sold orders.
    step_seconds = models.PositiveIntegerField()
    region = models.CharField(max_length=63, blank=True, default="")
    ports = models.CharField(
        max_length=40,
        choices=Ports.choices,
        default=Ports.CHOSEN,
    )
    price = models.DecimalField(
        max_digits=18,
        decimal_places=8,
        help_text="Per resource unit and hour, as it was when it was bought.",
    )
    # Whole units: the document's amounts have no fraction.
    amount = models.DecimalField(max_digits=20, decimal_places=0)
    amount_paid = models.DecimalField(
        max_digits=20,
        decimal_places=0,
        default=Decimal(0),
    )
    address = models.CharField(
        max_length=64,
        blank=True,
        default="",
        help_text="The payer's address.",
    )
    recipient = models.CharField(
        max_length=64,
        blank=True,
        default="",
        help_text="The provider's address.",
    )
    public_key = models.CharField(max_length=128, blank=True, default="")
    status = models.CharField(
        max_length=16,
        choices=Status.choices,
        default=Status.PENDING,
        editable=False,
    )
    service = models.CharField(
        max_length=16,
        choices=Service.choices,
        default=Service.PENDING,
        editable=False,
    )
    # As in the document's example, whose Deployment bears the UUID of the user service.
    service_name = models.UUIDField(
        default=uuid.uuid4,
        unique=True,
        editable=False,
        help_text="The name of its Deployment.",
    )
    # Null until the order is paid; unique, as the secret alone finds its order.
    secret_digest = models.CharField(
        max_length=64,
        null=True,
        unique=True,
        editable=False,
    )
    secret_issued_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(editable=False)
    updated_at = models.DateTimeField(editable=False)
    activated_at = models.DateTimeField(
        null=True,
        editable=False,
        help_text="The first successful deploy.",
    )
    expires_at = models.DateTimeField(null=True, editable=False)
    closed_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ["-created_at", "id"]
        # The periodic task looks for running orders whose time is over.
        indexes = [models.Index(fields=["service", "expires_at"], name="order_expiry")]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(units__gte=1, duration__gte=1, step_seconds__gte=1),
                name="order_size_positive",
            ),
            models.CheckConstraint(
                condition=models.Q(amount_paid__gte=0, amount_paid__lte=models.F("amount")),
                name="order_never_overpaid",
            ),
            models.CheckConstraint(
                condition=models.Q(status="OrderPending")
                | models.Q(amount_paid=models.F("amount")),
                name="order_filed_only_when_paid",
            ),
        ]

    def __str__(self) -> str:
        return self.id

    @property
    def seconds(self) -> int:
        """How long it may run, from the first deploy."""
        return self.duration * self.step_seconds


class Payment(models.Model):
    """A payment (positive) or a refund (negative)."""

    order = models.ForeignKey(
        Order,
        on_delete=models.PROTECT,
        related_name="payments",
    )
    amount = models.DecimalField(max_digits=28, decimal_places=8)
    reference = models.CharField(max_length=200, blank=True, default="")
    by = models.CharField(max_length=150)
    at = models.DateTimeField()

    class Meta:
        ordering = ["-at", "-id"]

    def __str__(self) -> str:
        return f"{self.order_id}: {self.amount}"
