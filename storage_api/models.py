"""The tables of the store: the snapshot of every object, the log of its changes, and smaller ones.

`Resource` and `Change` are created by SQL in the migration (generated columns, partitions), and
are therefore unmanaged; only `services.resources` and `services.bulk` write them. Text columns
hold what the wire gave; `namespace` is "" for what has none.
"""

from django.contrib.postgres.indexes import GinIndex
from django.db import models


class Resource(models.Model):
    """The last known state of one object.

    Columns below `data` are computed from it by the database.
    """

    object_id = models.TextField()
    cluster_id = models.TextField()
    resource_type = models.TextField()
    namespace = models.TextField(default="", blank=True)
    resource_name = models.TextField()
    create_time = models.DateTimeField()
    update_time = models.DateTimeField()
    change_time = models.DateTimeField(
        help_text="when `data` last became different; update_time moves with every write"
    )
    data = models.JSONField()
    arrival = models.BigIntegerField(editable=False)
    type_key = models.TextField(editable=False)
    uid = models.TextField(null=True, editable=False)
    resource_version = models.TextField(null=True, editable=False)
    owner_uid = models.TextField(null=True, editable=False)
    node_name = models.TextField(null=True, editable=False)
    status = models.TextField(null=True, editable=False)
    host_ip = models.TextField(null=True, editable=False)
    pod_ip = models.TextField(null=True, editable=False)
    rc_name = models.TextField(null=True, editable=False)
    created = models.DateTimeField(null=True, editable=False)

    class Meta:
        managed = False
        db_table = "storage_resource"

    def __str__(self) -> str:
        return f"{self.cluster_id} {self.resource_type} {self.namespace}/{self.resource_name}"


class Change(models.Model):
    """One line of the log: what happened, and the document as it was then.

    Of a deletion it is the document as it last was.
    """

    ADDED = "add"
    CHANGED = "change"
    DELETED = "delete"

    seq = models.BigIntegerField(primary_key=True)
    at = models.DateTimeField()
    op = models.TextField(
        choices=[
            (ADDED, "added"),
            (CHANGED, "changed"),
            (DELETED, "deleted"),
        ]
    )
    object_id = models.TextField()
    cluster_id = models.TextField()
    resource_type = models.TextField()
    namespace = models.TextField(default="", blank=True)
    resource_name = models.TextField()
    uid = models.TextField(null=True)
    resource_version = models.TextField(null=True)
    create_time = models.DateTimeField()
    data = models.JSONField()
    written_by = models.TextField(
        null=True,
        help_text="The newest entries of managedFields, as JSON: [[manager, operation, "
        "subresource, time], …].",
    )

    class Meta:
        managed = False
        db_table = "storage_change"

    def __str__(self) -> str:
        name = f"{self.namespace}/{self.resource_name}"
        return f"{self.seq} {self.op} {self.cluster_id} {self.resource_type} {name}"


class Gap(models.Model):
    """A time in which the log may lack states of a kind's objects.

    A watch was lost, and the list after it showed the outcome only.
    """

    cluster_id = models.TextField()
    resource_type = models.TextField()
    after_version = models.TextField(
        default="",
        blank=True,
        help_text="The last version known before; empty when unknown.",
    )
    to_version = models.TextField()
    namespace = models.TextField(
        default="",
        blank=True,
        help_text="The namespace it is about; empty for all.",
    )
    since = models.DateTimeField()
    until = models.DateTimeField()
    seq = models.BigIntegerField(
        null=True,
        help_text="Its place in the log: what the list found stands before it.",
    )

    class Meta:
        db_table = "storage_gap"
        indexes = [
            models.Index(
                fields=["cluster_id", "resource_type", "until"],
                name="storage_gap_of_kind",
            ),
            models.Index(fields=["seq"], name="storage_gap_order"),
        ]

    def __str__(self) -> str:
        since = f"{self.since:%Y-%m-%dT%H:%M:%SZ}"
        until = f"{self.until:%Y-%m-%dT%H:%M:%SZ}"
        return f"{self.cluster_id} {self.resource_type} {since} to {until}"


class Event(models.Model):
    """One event as a cluster's watcher reported it; never changed after."""

    object_id = models.CharField(max_length=24)
    event_id = models.TextField(default="", blank=True)
    env = models.TextField(default="", blank=True)
    kind = models.TextField(default="", blank=True)
    level = models.TextField(default="", blank=True)
    component = models.TextField(default="", blank=True)
    type = models.TextField(default="", blank=True)
    describe = models.TextField(default="", blank=True)
    cluster_id = models.TextField(default="", blank=True)
    extra_info = models.JSONField()
    event_time = models.DateTimeField()
    create_time = models.DateTimeField()
    data = models.JSONField()

    class Meta:
        db_table = "storage_event"
        indexes = [
            models.Index(
                fields=["cluster_id", "-event_time", "id"],
                name="storage_event_cluster",
            ),
            models.Index(
                fields=["-event_time", "id"],
                name="storage_event_time",
            ),
            models.Index(fields=["create_time"], name="storage_event_age"),
        ]

    def __str__(self) -> str:
        return f"{self.cluster_id} {self.kind} {self.type}"


class Alarm(models.Model):
    """One alarm as a health checker reported it; never changed after."""

    object_id = models.CharField(max_length=24)
    cluster_id = models.TextField(default="", blank=True)
    namespace = models.TextField(default="", blank=True)
    message = models.TextField(default="", blank=True)
    source = models.TextField(default="", blank=True)
    module = models.TextField(default="", blank=True)
    type = models.TextField(default="", blank=True)
    received_time = models.DateTimeField()
    create_time = models.DateTimeField()
    data = models.JSONField()

    class Meta:
        db_table = "storage_alarm"
        indexes = [
            models.Index(
                fields=["cluster_id", "-received_time", "id"],
                name="storage_alarm_cluster",
            ),
            models.Index(
                fields=["-received_time", "id"],
                name="storage_alarm_time",
            ),
            models.Index(fields=["create_time"], name="storage_alarm_age"),
        ]

    def __str__(self) -> str:
        return f"{self.cluster_id} {self.module} {self.type}"


class Metric(models.Model):
    """The last report of one metric of one object."""

    object_id = models.CharField(max_length=24)
    cluster_id = models.TextField()
    namespace = models.TextField()
    type = models.TextField()
    name = models.TextField()
    data = models.JSONField()
    create_time = models.DateTimeField()
    update_time = models.DateTimeField()
    change_time = models.DateTimeField(null=True, editable=False)

    class Meta:
        db_table = "storage_metric"
        constraints = [
            models.UniqueConstraint(
                fields=["cluster_id", "namespace", "type", "name"],
                name="storage_metric_key",
            )
        ]
        indexes = [
            models.Index(
                fields=["cluster_id", "id"],
                name="storage_metric_listing",
            )
        ]

    def __str__(self) -> str:
        return f"{self.cluster_id} {self.namespace} {self.type}/{self.name}"


class Host(models.Model):
    """One machine and the cluster that it belongs to.

    `data` is null until the machine itself was reported.
    """

    object_id = models.CharField(max_length=24)
    ip = models.TextField(unique=True)
    cluster_id = models.TextField(default="", blank=True, db_index=True)
    data = models.JSONField(null=True)
    create_time = models.DateTimeField()
    update_time = models.DateTimeField()

    class Meta:
        db_table = "storage_host"

    def __str__(self) -> str:
        return self.ip


class WatchNode(models.Model):
    """An object that others watch; each environment has its own."""

    env = models.TextField(choices=[("mesos", "mesos"), ("k8s", "k8s")])
    cluster_id = models.TextField()
    namespace = models.TextField()
    resource_type = models.TextField()
    resource_name = models.TextField()
    data = models.JSONField()
    update_time = models.DateTimeField()

    class Meta:
        db_table = "storage_watch_node"
        constraints = [
            models.UniqueConstraint(
                fields=[
                    "env",
                    "cluster_id",
                    "resource_type",
                    "namespace",
                    "resource_name",
                ],
                name="storage_watch_node_key",
            )
        ]

    def __str__(self) -> str:
        name = f"{self.namespace}/{self.resource_name}"
        return f"{self.env} {self.cluster_id} {self.resource_type} {name}"


class FreeDocument(models.Model):
    """A document of any members that belongs to a type and no cluster; `data` is all of it."""

    object_id = models.CharField(max_length=24)
    resource_type = models.TextField()
    data = models.JSONField()
    create_time = models.DateTimeField()
    update_time = models.DateTimeField()

    class Meta:
        db_table = "storage_free_document"
        indexes = [
            models.Index(
                fields=["resource_type", "id"],
                name="storage_free_listing",
            ),
            GinIndex(
                fields=["data"],
                name="storage_free_data",
                # Smaller and faster than the default class; containment is all that is asked.
                opclasses=["jsonb_path_ops"],
            ),
        ]

    def __str__(self) -> str:
        return f"{self.resource_type} {self.object_id}"


class FreeIndex(models.Model):
    """The members whose values name a free document of a type.

    A second document with the same values replaces the first.
    """

    resource_type = models.TextField()
    name = models.TextField()
    keys = models.JSONField(help_text="The dotted paths, in order.")

    class Meta:
        db_table = "storage_free_index"
        verbose_name_plural = "free indexes"
        constraints = [
            models.UniqueConstraint(
                fields=["resource_type", "name"],
                name="storage_free_index_key",
            )
        ]

    def __str__(self) -> str:
        return f"{self.resource_type} {self.name}"


class CollectorProcess(models.Model):
    """One running collector; those seen recently share the clusters evenly."""

    name = models.TextField(primary_key=True)
    seen_at = models.DateTimeField()

    class Meta:
        db_table = "storage_collector"
        verbose_name_plural = "collector processes"

    def __str__(self) -> str:
        return self.name


class ClusterSync(models.Model):
    """Which collector holds a cluster until when, and how fresh the store's copy is.

    `token` grows with every change of hands. A batch of writes locks the row with the token that
    it began under, and the next owner waits for it. Everything that the open watches delivered
    before `beaten_at` is committed.
    """

    cluster = models.OneToOneField(
        "clusters.Cluster",
        primary_key=True,
        on_delete=models.CASCADE,
        related_name="sync",
    )
    owner = models.TextField(default="", blank=True)
    # The fencing token of the lease: a collector that lost it cannot write any more.
    token = models.BigIntegerField(default=0)
    expires_at = models.DateTimeField()
    stored_as = models.TextField(
        default="",
        blank=True,
        help_text="The cluster_id of the rows: the cluster's name when they were written.",
    )
    beaten_at = models.DateTimeField(null=True)
    revision = models.TextField(
        default="",
        blank=True,
        help_text="The cluster's newest resourceVersion at beaten_at.",
    )
    identity = models.TextField(
        default="",
        blank=True,
        help_text="The uid of kube-system: another one is another cluster.",
    )
    error = models.TextField(default="", blank=True)

    class Meta:
        db_table = "storage_cluster_sync"

    def __str__(self) -> str:
        return f"{self.stored_as} by {self.owner or 'nobody'}"


class KindSync(models.Model):
    """How far one kind of one cluster has been followed.

    `resource_version` is saved in the transaction of the rows that it stands for. Where a kind
    may not be read in the whole cluster, each namespace in which it may be has a row of its own
    in addition to the cluster's.
    """

    class Phase(models.TextChoices):
        """What the collector is doing about the kind."""

        LISTING = "listing"
        WATCHING = "watching"
        RECONNECTING = "reconnecting"
        REFUSED = "refused"
        OVER_LIMIT = "over_limit"

    cluster = models.ForeignKey(
        "clusters.Cluster",
        on_delete=models.CASCADE,
        related_name="kind_syncs",
    )
    group = models.TextField(default="", blank=True)
    version = models.TextField()
    plural = models.TextField()
    kind = models.TextField()
    namespaced = models.BooleanField()
    namespace = models.TextField(
        default="",
        blank=True,
        help_text="The namespace that is followed; empty for all.",
    )
    resource_type = models.TextField()
    aliases = models.JSONField(
        default=list,
        blank=True,
        help_text="Singular and short names.",
    )
    phase = models.TextField(choices=Phase.choices, default=Phase.LISTING)
    resource_version = models.TextField(default="", blank=True)
    lost_after = models.TextField(
        default="",
        blank=True,
        help_text="While resource_version is empty: the last version before the watch was lost.",
    )
    listed_at = models.DateTimeField(null=True)
    changed_at = models.DateTimeField(null=True)
    exact = models.BooleanField(
        default=True,
        help_text="False while a document of the kind cannot be stored as it is.",
    )
    error = models.TextField(default="", blank=True)

    class Meta:
        db_table = "storage_kind_sync"
        constraints = [
            models.UniqueConstraint(
                fields=["cluster", "group", "plural", "namespace"],
                name="storage_kind_sync_key",
            )
        ]

    def __str__(self) -> str:
        return f"{self.cluster_id} {self.resource_type} {self.namespace} {self.phase}"


class KindWrite(models.Model):
    """When objects of a kind were last changed through us.

    Until the collector has passed that time, lists of the kind are read live.
    """

    cluster = models.ForeignKey(
        "clusters.Cluster",
        on_delete=models.CASCADE,
        related_name="+",
    )
    group = models.TextField(default="", blank=True)
    plural = models.TextField()
    at = models.DateTimeField()

    class Meta:
        db_table = "storage_kind_write"
        constraints = [
            models.UniqueConstraint(
                fields=["cluster", "group", "plural"],
                name="storage_kind_write_key",
            )
        ]

    def __str__(self) -> str:
        return f"{self.cluster_id} {self.plural} {self.at}"
