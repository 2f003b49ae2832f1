"""Webhooks, the addresses that receive events of orders, and each delivery."""

from django.db import models

from billing.models.orders import Order, new_id
from core import outbox
from core.crypto import EncryptedTextField


class Webhook(models.Model):
    """An address that receives events; its key signs each delivery."""

    url = models.URLField(max_length=500)
    events = models.JSONField(
        default=list,
        blank=True,
        help_text="Which events; empty is all.",
    )
    key = EncryptedTextField(editable=False)
    active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return self.url


class Delivery(models.Model):
    """One event on its way to one address; written in the transaction that made it true."""

    id = models.CharField(
        primary_key=True,
        max_length=24,
        default=new_id,
        editable=False,
    )
    webhook = models.ForeignKey(
        Webhook,
        on_delete=models.CASCADE,
        related_name="deliveries",
    )
    order = models.ForeignKey(
        Order,
        on_delete=models.PROTECT,
        related_name="deliveries",
    )
    event = models.CharField(max_length=40)
    payload = models.TextField(help_text="The exact bytes that are signed and sent.")
    state = models.CharField(
        max_length=10,
        choices=outbox.State.choices,
        default=outbox.State.PENDING,
    )
    attempts = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField()
    due_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    answer = models.CharField(
        max_length=200,
        blank=True,
        default="",
        help_text="HTTP status or what went wrong, last time.",
    )

    class Meta:
        ordering = ["-created_at"]
        verbose_name_plural = "deliveries"
        indexes = [models.Index(fields=["state", "due_at"], name="delivery_due")]

    def __str__(self) -> str:
        return f"{self.event} {self.order_id}"
