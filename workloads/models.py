"""What of live clusters is kept over time."""

from django.db import models

from clusters.models import Cluster


class Sample(models.Model):
    """What a cluster used at one moment: cores, bytes, pods; null where nothing measured it."""

    cluster = models.ForeignKey(Cluster, on_delete=models.CASCADE, related_name="+")
    at = models.DateTimeField()
    cpu = models.FloatField(null=True)
    memory = models.FloatField(null=True)
    pods = models.PositiveIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["cluster", "at"], name="sample_once")]

    def __str__(self) -> str:
        return f"{self.cluster} at {self.at:%Y-%m-%d %H:%M:%S}"
