"""What /metrics says: the numbers of all web processes together, and those that come out of the database."""

import os

from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

# Collectors whose numbers every process would tell alike.
SHARED = CollectorRegistry()


def text() -> bytes:
    """Everything in Prometheus' text format. With PROMETHEUS_MULTIPROC_DIR processes keep their numbers there, to be added up."""
    if not os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        return generate_latest(REGISTRY) + generate_latest(SHARED)
    together = CollectorRegistry()
    MultiProcessCollector(together)  # type: ignore[no-untyped-call]  # the library has no types here
    return generate_latest(together) + generate_latest(SHARED)
