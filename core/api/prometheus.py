"""What /metrics answers: the numbers of all web processes together, and those of the database."""

import os
from typing import Any

from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

# Collectors whose numbers are the same in every process.
SHARED = CollectorRegistry()


def text() -> bytes:
    """Every metric in Prometheus' text format.

    With PROMETHEUS_MULTIPROC_DIR each process keeps its numbers there, and they are added up here.
    """
    if not os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        return generate_latest(REGISTRY) + generate_latest(SHARED)
    registry = CollectorRegistry()
    collector: Any = MultiProcessCollector  # the library has no types here
    collector(registry)
    return generate_latest(registry) + generate_latest(SHARED)
