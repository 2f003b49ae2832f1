"""What namespaces cost: prices per CPU hour and GiB hour, of what is requested or used.

What counts is the larger of the two: a request keeps others from the node, whether it is used or
not, and use beyond the request takes what others could have had.
"""

from collections.abc import Iterable
from typing import Any

from django.conf import settings

from workloads.metrics.pod_resources import ResourceSum

GIB = 2**30
# Of an average month.
HOURS_PER_MONTH = 730
DIGITS = 6


def describe_prices() -> dict[str, Any]:
    """{"currency", "cpu_hour", "gib_hour"} as set for this installation."""
    return {
        "currency": settings.COST_CURRENCY,
        "cpu_hour": float(settings.COST_CPU_HOUR),
        "gib_hour": float(settings.COST_GIB_HOUR),
    }


def describe_cost(total: ResourceSum) -> dict[str, Any]:
    """The billed amounts of some pods, and what they cost in an hour and a month."""
    cores = _billed(total, "cpu")
    size = _billed(total, "memory")
    cpu = cores * float(settings.COST_CPU_HOUR)
    memory = size / GIB * float(settings.COST_GIB_HOUR)
    return {
        "pods": total.pods,
        "billed_cores": round(cores, DIGITS),
        "billed_bytes": round(size),
        "cpu_per_hour": round(cpu, DIGITS),
        "memory_per_hour": round(memory, DIGITS),
        "per_hour": round(cpu + memory, DIGITS),
        "per_month": round((cpu + memory) * HOURS_PER_MONTH, 2),
    }


def _billed(total: ResourceSum, resource: str) -> float:
    requested = total.requests.get(resource, 0.0)
    return max(requested, total.used.get(resource, 0.0))


def add_costs(costs: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The sum of several costs."""
    rows = list(costs)
    names = (
        "pods",
        "billed_cores",
        "billed_bytes",
        "cpu_per_hour",
        "memory_per_hour",
        "per_hour",
        "per_month",
    )
    return {name: round(sum(row[name] for row in rows), DIGITS) for name in names}
