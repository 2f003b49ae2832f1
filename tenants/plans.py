"""Templates of quotas, and what tenants use of theirs over time."""

import datetime
import logging
import re
from collections.abc import Iterable, Mapping
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from clusters.models import Cluster
from core.errors import Conflict, Invalid, NotFound
from tenants import quotas, services
from tenants.models import QuotaPlan, Tenant, UsageSample

log = logging.getLogger(__name__)
NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z")


def check_hard(value: object) -> dict[str, str]:
    """Quotas in either spelling, each a quantity; Invalid otherwise. The six names stay as they were given."""
    if not isinstance(value, dict) or not value:
        raise Invalid(f"hard must give some of {', '.join(quotas.RESOURCES)}", field="hard")
    quotas.read_hard(value)
    if empty := next((name for name, amount in value.items() if not amount), None):
        raise Invalid(f"hard.{empty} must be a quantity as text", field="hard")
    return value


def create(name: object, hard: object, description: object = "") -> QuotaPlan:
    """A new plan; Invalid, or Conflict when the name is taken."""
    if not isinstance(name, str) or not NAME.match(name):
        raise Invalid("name must be lower-case letters, digits and '-'", field="name")
    if not isinstance(description, str) or len(description) > 200 or "\x00" in description:
        raise Invalid("description must be text of at most 200 characters", field="description")
    try:
        with transaction.atomic():
            return QuotaPlan.objects.create(
                name=name, hard=check_hard(hard), description=description
            )
    except IntegrityError:
        raise Conflict(f"a plan named {name!r} exists already") from None


def find(name: object) -> QuotaPlan:
    """A plan by name; NotFound when there is none."""
    found = (
        QuotaPlan.objects.filter(name=name).first()
        if isinstance(name, str) and "\x00" not in name
        else None
    )
    if found is None:
        raise NotFound(f"there is no plan {str(name)[:60]!r}")
    return found


def represent(plan: QuotaPlan) -> dict[str, Any]:
    """A plan as plain data."""
    return {"id": plan.pk, "name": plan.name, "description": plan.description, "hard": plan.hard}


# --- usage ----------------------------------------------------------------------------------------
def usage(described: services.Described) -> dict[str, dict[str, float]]:
    """{"hard","used"} of a tenant in plain numbers. Where several quotas limit the same, the tightest counts."""
    hard: dict[str, float] = {}
    used: dict[str, float] = {}
    for quota in described.quotas:
        limits, spent = quotas.hard_and_used(quota)
        limit_numbers, spent_numbers = quotas.numbers(limits), quotas.numbers(spent)
        for ours, theirs in quotas.RESOURCES.items():
            if theirs in limits and limit_numbers[ours] <= hard.get(ours, float("inf")):
                hard[ours], used[ours] = limit_numbers[ours], spent_numbers[ours]
    return {"hard": hard, "used": used}


def record_usage(cluster: Cluster, rows: Iterable[Tenant]) -> int:
    """Note what each tenant of the cluster uses now; those whose namespace is gone or another one are left out."""
    at, wanted = (
        timezone.now().replace(microsecond=0),
        {(row.namespace, row.uid): row for row in rows},
    )
    found = services.describe_accessible(cluster)
    samples = [
        UsageSample(tenant=row, at=at, **usage(tenant))
        for tenant in found
        if (row := wanted.get((tenant.name, str(tenant.namespace["metadata"]["uid"]))))
    ]
    UsageSample.objects.bulk_create(samples, ignore_conflicts=True)
    return len(samples)


def clusters_with_tenants() -> list[int]:
    """The ids of the registered clusters that have tenants."""
    rows = Tenant.objects.filter(cluster__deleted_at=None).order_by("cluster_id")
    return list(rows.values_list("cluster_id", flat=True).distinct())


def expire_samples(*, days: int) -> int:
    """Delete samples that are older."""
    return UsageSample.objects.filter(
        at__lt=timezone.now() - datetime.timedelta(days=days)
    ).delete()[0]


def usage_history(
    tenant: Tenant, *, since: datetime.datetime, until: datetime.datetime
) -> list[Mapping[str, Any]]:
    """Samples of a time, oldest first, at most 2,000: of more, the latest."""
    found = tenant.samples.filter(at__gte=since, at__lt=until).order_by("-at")[:2000]
    return [
        {
            "at": f"{row.at.astimezone(datetime.UTC):%Y-%m-%dT%H:%M:%SZ}",
            "hard": row.hard,
            "used": row.used,
        }
        for row in reversed(list(found))
    ]
