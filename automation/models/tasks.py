"""Tasks, and their runs."""

from typing import Any

from django.conf import settings
from django.db import models

from core.crypto import EncryptedTextField
from operations.models import Operation


class Task(models.Model):
    """What is done where, when, and what happens when it fails.

    A run acts with the rights that the owner has at that moment, cut down by the API token that the
    task was saved with.
    """

    class Concurrency(models.TextChoices):
        """What a run does that is due while another one goes on."""

        FORBID = "forbid"
        REPLACE = "replace"
        ALLOW = "allow"

    class OnFailure(models.TextChoices):
        """What follows a step that failed."""

        STOP = "stop"
        CONTINUE = "continue"
        ROLLBACK = "rollback"

    name = models.CharField(max_length=200)
    description = models.TextField(blank=True, default="")
    type = models.CharField(max_length=40)
    params = EncryptedTextField(help_text="JSON; it may hold Secrets.")
    targets = models.JSONField(
        default=dict,
        blank=True,
        help_text='{"clusters": [ids], "namespaces": [names], "label_selector": text, '
        '"names": [names]}; what is absent is all that the owner may reach.',
    )
    schedule = models.JSONField(
        null=True,
        blank=True,
        help_text='{"cron": text, "timezone": name}, {"at": time}, or null.',
    )
    concurrency = models.CharField(
        max_length=8,
        choices=Concurrency.choices,
        default=Concurrency.FORBID,
    )
    deadline_seconds = models.PositiveIntegerField(
        default=600,
        help_text="How late a missed run may still start.",
    )
    timeout_seconds = models.PositiveIntegerField(
        default=3600,
        help_text="How long a run may last.",
    )
    retries = models.PositiveSmallIntegerField(default=0)
    approval = models.BooleanField(default=False)
    on_failure = models.CharField(
        max_length=8,
        choices=OnFailure.choices,
        default=OnFailure.STOP,
    )
    notify = models.ManyToManyField(
        "alerts.Channel",
        blank=True,
        related_name="tasks",
    )
    enabled = models.BooleanField(default=True)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="tasks",
    )
    # No foreign key: a token that is gone has to stop the task, neither delete nor widen it.
    token = models.BigIntegerField(
        null=True,
        blank=True,
        help_text="The id of the API token, cut down in scopes or clusters, that it was saved "
        "with: its runs reach no further.",
    )
    stopped_reason = models.CharField(
        max_length=300,
        blank=True,
        default="",
        help_text='Why it does not run although it is enabled; "" when it does.',
    )
    next_run_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["id"]
        indexes = [
            models.Index(
                fields=["next_run_at"],
                condition=models.Q(enabled=True, next_run_at__isnull=False),
                name="automation_task_due",
            )
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def credential(self) -> dict[str, Any]:
        """With what its runs sign in: the owner, cut down by the API token that it was saved with.

        In the form in which operations keep what their requester signed in with.
        """
        token = {"api_token": self.token} if self.token else {}
        return {"user": self.owner_id, "username": self.owner.get_username(), **token}


class Run(models.Model):
    """One run of a task; its work is an operation.

    A due moment has one run: `(task, scheduled_at)` is unique among runs of the schedule.
    """

    class State(models.TextChoices):
        """Waiting, working, and six ways to end."""

        WAITING_APPROVAL = "waiting_approval"
        PENDING = "pending"
        RUNNING = "running"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        CANCELLED = "cancelled"
        SKIPPED = "skipped"
        INTERRUPTED = "interrupted"

    class Trigger(models.TextChoices):
        """What started it."""

        SCHEDULE = "schedule"
        MANUAL = "manual"
        ALERT = "alert"

    OPEN = (State.WAITING_APPROVAL, State.PENDING, State.RUNNING)
    ACTIVE = (State.PENDING, State.RUNNING)

    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="runs")
    state = models.CharField(
        max_length=16,
        choices=State.choices,
        default=State.PENDING,
    )
    trigger = models.CharField(max_length=8, choices=Trigger.choices)
    dry_run = models.BooleanField(default=False)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="requested_runs",
        help_text="Who asked for it; none for a schedule or an alert.",
    )
    token = models.BigIntegerField(
        null=True,
        blank=True,
        help_text="The id of such a token that somebody started it with.",
    )
    alert = models.BigIntegerField(
        null=True,
        blank=True,
        help_text="The id of the alert that started it.",
    )
    retry_of = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="retried_by",
        help_text="The run that somebody repeated with this one.",
    )
    scheduled_at = models.DateTimeField(help_text="When it was due.")
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    # What was to be done when it was made: a change of the task meanwhile changes no run. Beside
    # these, name, approval and the credential of the task, whose rights the run has.
    definition = models.JSONField(
        default=dict,
        help_text="type, targets, on_failure, retries, timeout_seconds.",
    )
    params = EncryptedTextField(default="{}", help_text="JSON; it may hold Secrets.")
    steps = models.JSONField(default=list, blank=True)
    result = models.JSONField(null=True, blank=True)
    message = models.TextField(
        blank=True,
        default="",
        help_text="Why it ended as it did.",
    )
    reason = models.CharField(max_length=60, blank=True, default="")
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="decided_runs",
        help_text="Who approved or rejected it.",
    )
    decided_at = models.DateTimeField(null=True, blank=True)
    comment = models.TextField(blank=True, default="", help_text="What they said.")
    operation = models.OneToOneField(
        Operation,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="task_run",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            # Two beats or workers that find the same moment due make one run of it.
            models.UniqueConstraint(
                fields=["task", "scheduled_at"],
                condition=models.Q(trigger="schedule"),
                name="automation_run_moment",
            ),
        ]
        indexes = [
            models.Index(fields=["task", "-id"], name="automation_run_task"),
            models.Index(
                fields=["state"],
                condition=models.Q(state__in=["waiting_approval", "pending", "running"]),
                name="automation_run_open",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.task} {self.scheduled_at:%Y-%m-%d %H:%M} ({self.state})"

    @property
    def credential(self) -> dict[str, Any]:
        """With what it signs in: as its task did, or cut down by the token that started it."""
        kept = self.definition.get("credential") or self.task.credential
        token = {"api_token": self.token} if self.token else {}
        return {**kept, **token}

    @property
    def owner_id(self) -> int:
        """The id of the user as whom it acts: the owner that its task had when it was made."""
        return int(self.credential["user"])

    @property
    def owner_name(self) -> str:
        """The username of that user as it was then."""
        return str(self.credential["username"])

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.state not in self.OPEN


class Memory(models.Model):
    """What a task remembers of one object from run to run, e.g. its replicas before scaling."""

    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="memories")
    key = models.CharField(max_length=600)
    value = models.JSONField()
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name_plural = "memories"
        constraints = [
            models.UniqueConstraint(
                fields=["task", "key"],
                name="automation_memory_unique",
            )
        ]

    def __str__(self) -> str:
        return self.key
