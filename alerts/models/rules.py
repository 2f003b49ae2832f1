"""Rules, the alerts that they raise, silences, and how far the evaluation has read."""

from django.conf import settings
from django.contrib.postgres.indexes import GinIndex
from django.db import models

from clusters.models import Cluster


class Severity(models.TextChoices):
    """How urgent an alert is, from least to most."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Rule(models.Model):
    """What to look for, where, for how long, and whom it concerns.

    `condition` has the form that `alerts.conditions` reads. A rule sees no more than its owner
    may see; what its owner may not see any more raises no alert.
    """

    class Source(models.TextChoices):
        """Where a condition looks."""

        STATE = "state"
        EVENT = "event"
        METRIC = "metric"
        PROMQL = "promql"

    class NoData(models.TextChoices):
        """What a source that cannot be asked means."""

        OK = "ok"
        ALERT = "alert"
        KEEP = "keep"

    name = models.CharField(max_length=200)
    description = models.TextField(blank=True, default="")
    severity = models.CharField(
        max_length=10,
        choices=Severity.choices,
        default=Severity.WARNING,
    )
    source = models.CharField(max_length=10, choices=Source.choices)
    scope = models.JSONField(
        default=dict,
        blank=True,
        help_text='{"clusters": [ids], "namespaces": [names], "labelSelector": text}; '
        "what is absent is all that the owner may see.",
    )
    condition = models.JSONField()
    for_seconds = models.PositiveIntegerField(
        default=0,
        help_text="How long the condition must hold before the alert fires.",
    )
    labels = models.JSONField(default=dict, blank=True)
    annotations = models.JSONField(default=dict, blank=True)
    no_data = models.CharField(
        max_length=6,
        choices=NoData.choices,
        default=NoData.KEEP,
    )
    group_by = models.JSONField(
        default=list,
        blank=True,
        help_text="Names of labels: one notification for the alerts that share their values.",
    )
    repeat_seconds = models.PositiveIntegerField(default=4 * 3600)
    channels = models.ManyToManyField("alerts.Channel", blank=True, related_name="rules")
    enabled = models.BooleanField(default=True)
    preset = models.CharField(
        max_length=60,
        blank=True,
        default="",
        help_text="The preset that it was made from.",
    )
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="alert_rules",
    )
    tenant = models.ForeignKey(
        "tenants.Tenant",
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="alert_rules",
    )
    limits = models.JSONField(
        default=dict,
        blank=True,
        editable=False,
        help_text="What the API token that wrote the rule leaves of its owner's rights.",
    )
    reach_hash = models.CharField(
        max_length=40,
        blank=True,
        default="",
        editable=False,
        help_text="Where its owner let it look at the last turn.",
    )
    tasks = models.JSONField(
        default=list,
        blank=True,
        help_text="Ids of the tasks that an alert of the rule starts when it fires.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    generation = models.PositiveIntegerField(
        default=1,
        help_text="Grows with every change of what the rule looks for.",
    )
    scanned_generation = models.PositiveIntegerField(
        default=0,
        help_text="The generation that has looked at everything once; from then on, at changes.",
    )
    evaluate_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="When a rule that no change wakes (metric, promql, a registry) is due.",
    )
    last_evaluated_at = models.DateTimeField(null=True, blank=True)
    last_error = models.CharField(max_length=500, blank=True, default="")
    stale_clusters = models.JSONField(
        default=list,
        blank=True,
        help_text="Ids of clusters that could not be asked at the last look.",
    )

    class Meta:
        ordering = ["id"]
        indexes = [
            models.Index(
                fields=["evaluate_at"],
                condition=models.Q(enabled=True),
                name="alert_rule_due",
            )
        ]

    def __str__(self) -> str:
        return self.name


class Alert(models.Model):
    """One thing that a rule (or another Alertmanager) found, from its beginning to its end.

    Its rule and labels make the fingerprint, of which one alert at a time is not resolved.
    """

    class State(models.TextChoices):
        """Pending until the rule's `for` is over, then firing, then resolved."""

        PENDING = "pending"
        FIRING = "firing"
        RESOLVED = "resolved"

    rule = models.ForeignKey(
        Rule,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="alerts",
        help_text="Empty: received from an Alertmanager, or of a rule that is deleted.",
    )
    rule_name = models.CharField(max_length=200, blank=True, default="")
    fingerprint = models.CharField(max_length=64)
    state = models.CharField(max_length=10, choices=State.choices)
    severity = models.CharField(
        max_length=10,
        choices=Severity.choices,
        default=Severity.WARNING,
    )
    labels = models.JSONField(default=dict)
    annotations = models.JSONField(default=dict, blank=True)
    value = models.FloatField(null=True, blank=True)
    cluster = models.ForeignKey(
        Cluster,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="alerts",
    )
    kind = models.CharField(max_length=100, blank=True, default="")
    namespace = models.CharField(max_length=253, blank=True, default="")
    name = models.CharField(max_length=253, blank=True, default="")
    subject = models.TextField(
        blank=True,
        default="",
        help_text="The key of what it is about, by which a changed row recognises its alerts.",
    )
    started_at = models.DateTimeField(help_text="Since when the condition holds.")
    due_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="When a pending alert fires.",
    )
    recheck_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="When time alone may have ended the condition.",
    )
    fired_at = models.DateTimeField(null=True, blank=True)
    resolved_at = models.DateTimeField(null=True, blank=True)
    resolved_because = models.CharField(max_length=200, blank=True, default="")
    acked_by = models.CharField(max_length=150, blank=True, default="")
    acked_at = models.DateTimeField(null=True, blank=True)
    ack_comment = models.TextField(blank=True, default="")
    context = models.JSONField(
        default=dict,
        blank=True,
        help_text="What the store knew of the object when the alert fired.",
    )
    group_key = models.CharField(
        max_length=64,
        blank=True,
        default="",
        help_text="The hash of the values of the rule's group_by.",
    )
    source = models.CharField(max_length=20, default="", blank=True)
    ends_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="Of a received alert: when it counts as resolved unless it is sent again.",
    )

    class Meta:
        ordering = ["-started_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["fingerprint"],
                condition=~models.Q(state="resolved"),
                name="alert_once",
            )
        ]
        indexes = [
            models.Index(
                fields=["rule", "subject"],
                condition=~models.Q(state="resolved"),
                name="alert_open_subject",
            ),
            models.Index(
                fields=["due_at"],
                condition=models.Q(state="pending"),
                name="alert_due",
            ),
            models.Index(
                fields=["recheck_at"],
                condition=~models.Q(state="resolved"),
                name="alert_recheck",
            ),
            models.Index(
                fields=["ends_at"],
                condition=~models.Q(state="resolved"),
                name="alert_ends",
            ),
            models.Index(fields=["rule", "group_key"], name="alert_group"),
            models.Index(fields=["state", "-started_at", "-id"], name="alert_listing"),
            models.Index(fields=["resolved_at"], name="alert_age"),
            GinIndex(
                fields=["labels"],
                name="alert_labels",
                opclasses=["jsonb_path_ops"],
            ),
        ]

    def __str__(self) -> str:
        return f"{self.rule_name} {self.state} {self.namespace}/{self.name}"


class TaskTrigger(models.Model):
    """A task that an alert starts: written in the transaction in which the alert fires.

    Who starts tasks takes the rows and deletes them. One alert starts a task once.
    """

    rule = models.ForeignKey(
        Rule,
        on_delete=models.CASCADE,
        related_name="task_triggers",
    )
    alert = models.ForeignKey(
        Alert,
        on_delete=models.CASCADE,
        related_name="task_triggers",
    )
    task_id = models.BigIntegerField()
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["alert", "task_id"],
                name="alert_task_trigger_once",
            )
        ]

    def __str__(self) -> str:
        return f"task {self.task_id} for alert {self.alert_id}"


class Silence(models.Model):
    """Alerts whose labels match are not notified in a span of time.

    It reaches no alert that its maker may not see.
    """

    matchers = models.JSONField(
        help_text='[{"name", "value", "regex": bool, "equal": bool}], all of which must match.'
    )
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(db_index=True)
    comment = models.TextField(blank=True, default="")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="alert_silences",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-starts_at", "-id"]

    def __str__(self) -> str:
        return f"{self.matchers} until {self.ends_at:%Y-%m-%dT%H:%M:%SZ}"


class Evaluation(models.Model):
    """How far the log of changes has been read for the rules: one row.

    Who evaluates holds its lock, so that two workers never take the same changes.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    position = models.BigIntegerField(null=True, blank=True)
    evaluated_at = models.DateTimeField(null=True, blank=True)
    seconds = models.FloatField(default=0, help_text="How long the last turn took.")
    turns = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(id=1),
                name="alert_evaluation_one_row",
            )
        ]

    def __str__(self) -> str:
        return f"up to {self.position}"
