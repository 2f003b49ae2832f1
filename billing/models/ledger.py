"""Evidence of use, and the double-entry ledger that derives from it; rows are never changed."""

from django.db import models

from billing.models.orders import Order
from clusters.models import Cluster


class UsageSample(models.Model):
    """One look at a running pod; `running_ms` derives from `at`, `since` and the sample before."""

    order = models.ForeignKey(
        Order,
        on_delete=models.PROTECT,
        related_name="samples",
    )
    cluster = models.ForeignKey(
        Cluster,
        on_delete=models.PROTECT,
        related_name="+",
    )
    pod_uid = models.CharField(max_length=64)
    pod_name = models.CharField(max_length=253)
    at = models.DateTimeField()
    since = models.DateTimeField(
        help_text="When its containers last started, by the cluster's clock."
    )
    memory_bytes = models.PositiveBigIntegerField(
        help_text="Memory limits of its running containers."
    )
    running_ms = models.PositiveBigIntegerField()

    class Meta:
        ordering = ["id"]
        indexes = [
            models.Index(fields=["order", "id"], name="sample_order"),
            models.Index(fields=["order", "pod_uid", "-at"], name="sample_pod"),
            models.Index(fields=["cluster", "at"], name="sample_recent"),
        ]

    def __str__(self) -> str:
        return f"{self.pod_name} at {self.at:%Y-%m-%dT%H:%M:%SZ}"


class Posting(models.Model):
    """One balanced event of the ledger; `key` makes posting it twice impossible."""

    class Kind(models.TextChoices):
        """Why money moved."""

        PAYMENT = "payment"
        CHARGE = "charge"
        REFUND = "refund"
        FORFEIT = "forfeit"

    order = models.ForeignKey(
        Order,
        on_delete=models.PROTECT,
        related_name="postings",
    )
    kind = models.CharField(max_length=8, choices=Kind.choices)
    key = models.CharField(max_length=100, unique=True)
    at = models.DateTimeField()
    memo = models.CharField(max_length=200, blank=True, default="")
    first_sample = models.BigIntegerField(null=True, blank=True)
    last_sample = models.BigIntegerField(null=True, blank=True)

    class Meta:
        ordering = ["id"]
        indexes = [models.Index(fields=["order", "id"], name="posting_order")]

    def __str__(self) -> str:
        return self.key


class Entry(models.Model):
    """One side of a posting: debits are positive, credits negative; they sum to zero."""

    posting = models.ForeignKey(
        Posting,
        on_delete=models.PROTECT,
        related_name="entries",
    )
    account = models.CharField(max_length=64, db_index=True)
    amount = models.DecimalField(max_digits=28, decimal_places=8)

    class Meta:
        ordering = ["id"]
        verbose_name_plural = "entries"

    def __str__(self) -> str:
        return f"{self.account} {self.amount}"
