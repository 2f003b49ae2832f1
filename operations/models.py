"""Long work as rows: an operation and its steps."""

from django.db import models

from clusters.models import Cluster


class Operation(models.Model):
    """Long work as one row.

    pending -> running -> succeeded | failed | cancelled | interrupted. Every transition is a
    conditional update (`operations.lifecycle`), so no race makes an illegal one. The work is done
    in short runs (`operations.runner`); between two runs everything that matters is here and in the
    steps, so a killed worker costs one run at most. The column `turn` numbers the runs.

    `cluster` is null for work that belongs to no single cluster. `parameters` are never shown, but
    are stored in clear: no secrets.
    """

    class State(models.TextChoices):
        """Where the work stands; the last four are final."""

        PENDING = "pending"
        RUNNING = "running"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        CANCELLED = "cancelled"
        INTERRUPTED = "interrupted"

    ACTIVE = (State.PENDING, State.RUNNING)

    kind = models.CharField(max_length=40)
    queue = models.CharField(max_length=40)
    cluster = models.ForeignKey(
        Cluster,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="operations",
    )
    resource = models.CharField(
        max_length=100,
        blank=True,
        default="",
        help_text="Plural of the kind acted on, e.g. nodes.",
    )
    namespace = models.CharField(max_length=253, blank=True, default="")
    name = models.CharField(max_length=253, blank=True, default="")
    requested_by = models.CharField(max_length=150, blank=True, default="")
    authority = models.JSONField(
        default=dict,
        blank=True,
        help_text="The requester's credential and rights, asked again.",
    )
    parameters = models.JSONField(default=dict, blank=True)
    trace = models.CharField(
        max_length=55,
        blank=True,
        default="",
        # The version before this one writes rows too, while an upgrade goes on.
        db_default="",
        help_text="The trace in which it was asked for, as a W3C traceparent.",
    )
    exclusive = models.CharField(
        max_length=600,
        blank=True,
        default="",
        help_text="At most one active operation has this key.",
    )
    state = models.CharField(
        max_length=16,
        choices=State.choices,
        default=State.PENDING,
    )
    done = models.PositiveIntegerField(default=0)
    total = models.PositiveIntegerField(default=0)
    result = models.JSONField(null=True, blank=True)
    error = models.TextField(blank=True, default="")
    reason = models.CharField(
        max_length=60, blank=True, default="", help_text="The error in one word."
    )
    turn = models.PositiveIntegerField(
        default=0, help_text="How many turns were completed; a message for an older turn is void."
    )
    attempts = models.PositiveIntegerField(
        default=0, help_text="How often the current turn was begun."
    )
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    due_at = models.DateTimeField(
        null=True, blank=True, help_text="When the next sign of life is expected."
    )
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["exclusive"],
                condition=models.Q(state__in=["pending", "running"]) & ~models.Q(exclusive=""),
                name="operation_exclusive",
            ),
        ]
        indexes = [
            models.Index(fields=["cluster", "queue", "state"], name="operation_slots"),
            models.Index(
                fields=["due_at"],
                condition=models.Q(state__in=["pending", "running"]),
                name="operation_due",
            ),
            models.Index(fields=["requested_by"], name="operation_of_user"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk} ({self.state})"

    @property
    def is_final(self) -> bool:
        """Whether nothing more will happen."""
        return self.state not in self.ACTIVE


class OperationStep(models.Model):
    """One part of an operation, e.g. one pod of a drain; `key` makes planning it twice harmless."""

    class State(models.TextChoices):
        """Where the part stands; the last four are final."""

        PENDING = "pending"
        RUNNING = "running"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        SKIPPED = "skipped"
        CANCELLED = "cancelled"

    OPEN = (State.PENDING, State.RUNNING)

    operation = models.ForeignKey(
        Operation,
        on_delete=models.CASCADE,
        related_name="steps",
    )
    key = models.CharField(max_length=600)
    name = models.CharField(max_length=600)
    state = models.CharField(
        max_length=16,
        choices=State.choices,
        default=State.PENDING,
    )
    message = models.TextField(blank=True, default="")
    data = models.JSONField(
        default=dict,
        blank=True,
        help_text="What the runner needs to go on, e.g. a pod's uid.",
    )
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["operation", "key"], name="operation_step_unique")
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.state})"
