"""Run by `manage.py shell`: the samples of the hour before, which the new system did not live.

They wander around what the simulated cluster uses now, the same way in each run.
"""

import random
from datetime import timedelta

from clusters.models import Cluster
from workloads.metrics import usage_history
from workloads.models import Sample

MINUTES = 60
SPREAD = 0.06

dice = random.Random(7)  # noqa: S311  # no secret
for cluster in Cluster.objects.all():
    now = usage_history.take_sample(cluster)
    cpu = memory = 1.0
    for minute in range(1, MINUTES):
        # Back towards the middle, so that no chart drifts away.
        cpu += dice.uniform(-SPREAD, SPREAD) + (1 - cpu) / 8
        memory += dice.uniform(-SPREAD, SPREAD) / 3 + (1 - memory) / 8
        Sample.objects.create(
            cluster=cluster,
            at=now.at - timedelta(minutes=minute),
            cpu=None if now.cpu is None else now.cpu * cpu,
            memory=None if now.memory is None else now.memory * memory,
            pods=None if now.pods is None else now.pods - dice.choice((0, 0, 0, 1, 2)),
        )
