"""What is stored about live clusters: samples of usage, and recordings of terminals."""

from django.conf import settings
from django.db import models

from clusters.models import Cluster


class Sample(models.Model):
    """What a cluster used at one moment: cores, bytes, pods.

    Null is what nothing measured, or what the credentials may not read.
    """

    cluster = models.ForeignKey(Cluster, on_delete=models.CASCADE, related_name="+")
    at = models.DateTimeField()
    cpu = models.FloatField(null=True)
    memory = models.FloatField(null=True)
    pods = models.PositiveIntegerField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["cluster", "at"], name="sample_once")]

    def __str__(self) -> str:
        return f"{self.cluster} at {self.at:%Y-%m-%d %H:%M:%S}"


class Recording(models.Model):
    """One recorded terminal; its output is in chunks."""

    session = models.CharField(max_length=32, unique=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        related_name="+",
    )
    username = models.CharField(max_length=150)
    cluster = models.ForeignKey(Cluster, on_delete=models.CASCADE, related_name="+")
    namespace = models.CharField(max_length=253, blank=True, default="")
    pod = models.CharField(max_length=253, blank=True, default="")
    container = models.CharField(max_length=253, blank=True, default="")
    node = models.CharField(max_length=253, blank=True, default="")
    width = models.PositiveSmallIntegerField(default=80)
    height = models.PositiveSmallIntegerField(default=24)
    size = models.PositiveBigIntegerField(default=0)
    truncated = models.BooleanField(default=False)
    started_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.username} on {self.node or f'{self.namespace}/{self.pod}'}"


class RecordingChunk(models.Model):
    """Some events of a recording: JSON lines of asciicast v2."""

    recording = models.ForeignKey(Recording, on_delete=models.CASCADE, related_name="chunks")
    number = models.PositiveIntegerField()
    events = models.TextField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["recording", "number"],
                name="recording_chunk_unique",
            )
        ]

    def __str__(self) -> str:
        return f"{self.recording_id}#{self.number}"
