"""What runs leave behind: parts of inspection reports, and archives of namespaces."""

from django.db import models

from automation.models.tasks import Run
from clusters.models import Cluster
from core.crypto import EncryptedTextField


class InspectionPart(models.Model):
    """What an inspection found in one cluster, as `inspection.cluster.inspect_cluster` gives it."""

    run = models.ForeignKey(
        Run,
        on_delete=models.CASCADE,
        related_name="inspection_parts",
    )
    cluster = models.ForeignKey(
        Cluster,
        on_delete=models.CASCADE,
        related_name="+",
    )
    data = models.JSONField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["run", "cluster"],
                name="automation_part_unique",
            )
        ]

    def __str__(self) -> str:
        return f"{self.cluster} of run {self.run_id}"


class NamespaceArchive(models.Model):
    """The manifests of one namespace as a run exported them."""

    run = models.ForeignKey(
        Run,
        on_delete=models.CASCADE,
        related_name="archives",
    )
    cluster = models.ForeignKey(
        Cluster,
        on_delete=models.CASCADE,
        related_name="+",
    )
    namespace = models.CharField(max_length=253)
    content = EncryptedTextField(help_text="YAML documents in apply order, packed by zlib, base64.")
    objects_listed = models.JSONField(
        default=list,
        help_text='[{"kind", "name"}] in that order.',
    )
    left_out = models.JSONField(
        default=list, help_text='[{"kind", "reason"}] of what could not be exported.'
    )
    size = models.PositiveIntegerField(help_text="Bytes of the YAML text.")
    sha256 = models.CharField(max_length=64)
    has_secrets = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["run", "cluster", "namespace"], name="automation_archive_unique"
            )
        ]

    def __str__(self) -> str:
        return f"{self.cluster}/{self.namespace} of run {self.run_id}"
