"""What runs for an order, where, and the host ports it holds."""

from django.db import models

from billing.models.orders import Order
from clusters.models import Cluster


class Deployment(models.Model):
    """One deploy of an order and its outcome; never the values of its environment."""

    class State(models.TextChoices):
        """From being written to the cluster, over accepted by it, to gone from it."""

        APPLYING = "applying"
        APPLIED = "applied"
        READY = "ready"
        FAILED = "failed"
        REPLACED = "replaced"
        REMOVING = "removing"
        REMOVED = "removed"
        ABANDONED = "abandoned"

    LIVE = (State.APPLIED, State.READY, State.FAILED)

    order = models.ForeignKey(
        Order,
        on_delete=models.PROTECT,
        related_name="deployments",
    )
    cluster = models.ForeignKey(
        Cluster,
        on_delete=models.PROTECT,
        related_name="+",
    )
    namespace = models.CharField(max_length=63)
    name = models.CharField(max_length=63)
    region = models.CharField(max_length=63)
    containers = models.JSONField(help_text="Name, image, memory and ports of each.")
    memory_bytes = models.PositiveBigIntegerField()
    digest = models.CharField(max_length=64, help_text="Keyed hash of the whole manifest.")
    state = models.CharField(
        max_length=10,
        choices=State.choices,
        default=State.APPLIED,
    )
    error = models.CharField(max_length=500, blank=True, default="")
    operation = models.BigIntegerField(
        null=True, blank=True, help_text="The Operation that follows it."
    )
    created_at = models.DateTimeField()
    ready_at = models.DateTimeField(null=True, blank=True)
    removed_at = models.DateTimeField(null=True, blank=True)
    stopped = models.BooleanField(default=False, help_text="Whether its pod was stopped.")
    attempts = models.PositiveIntegerField(default=0, help_text="How often its removal was tried.")

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["state"], name="deployment_state")]
        constraints = [
            models.UniqueConstraint(
                fields=["order"],
                condition=models.Q(state__in=("applied", "ready", "failed")),
                name="one_live_deployment_per_order",
            ),
            models.UniqueConstraint(
                fields=["order"],
                condition=models.Q(state="applying"),
                name="one_applying_deployment_per_order",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class PortClaim(models.Model):
    """A host port held by a Deployment, from before the cluster is asked until after it is gone."""

    deployment = models.ForeignKey(
        Deployment,
        on_delete=models.CASCADE,
        related_name="claims",
    )
    cluster = models.ForeignKey(
        Cluster,
        on_delete=models.PROTECT,
        related_name="+",
    )
    region = models.CharField(max_length=63)
    port = models.PositiveIntegerField()
    protocol = models.CharField(max_length=4)
    container_port = models.PositiveIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["cluster", "region", "port", "protocol"], name="host_port_claimed_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.port}/{self.protocol}"
