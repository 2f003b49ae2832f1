"""Quota plans, and samples of what tenants use of their quotas."""

import datetime
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from clusters import dns_names
from clusters.models import Cluster
from core.errors import Conflict, Invalid, NotFound
from tenants import quotas, services
from tenants.models import QuotaPlan, Tenant, UsageSample

log = logging.getLogger(__name__)


def check_hard(value: object) -> dict[str, str]:
    """The limits of a plan, in either spelling and as they are; Invalid for anything else."""
    if not isinstance(value, dict) or not value:
        names = ", ".join(quotas.RESOURCES)
        raise Invalid(f"hard must give some of {names}", field="hard")
    # Checked only: a plan shows the names that its author wrote.
    quotas.read_hard(value)
    if empty := next((name for name, amount in value.items() if not amount), None):
        raise Invalid(f"hard.{empty} must be a quantity as text", field="hard")
    return value


def create(name: object, hard: object, description: object = "") -> QuotaPlan:
    """A new plan; Invalid, or Conflict when the name exists."""
    if not isinstance(name, str) or not dns_names.LABEL.match(name):
        raise Invalid("name must be lower-case letters, digits and '-'", field="name")
    if not isinstance(description, str) or len(description) > 200 or "\x00" in description:
        raise Invalid("description must be text of at most 200 characters", field="description")
    try:
        with transaction.atomic():
            return QuotaPlan.objects.create(
                name=name,
                hard=check_hard(hard),
                description=description,
            )
    except IntegrityError:
        raise Conflict(f"a plan named {name!r} exists already") from None


def find(name: object) -> QuotaPlan:
    """A plan by name; NotFound when there is none."""
    plan = None
    # PostgreSQL refuses NUL characters in parameters.
    if isinstance(name, str) and "\x00" not in name:
        plan = QuotaPlan.objects.filter(name=name).first()
    if plan is None:
        raise NotFound(f"there is no plan {str(name)[:60]!r}")
    return plan


def represent(plan: QuotaPlan) -> dict[str, Any]:
    """A plan as JSON data: {"id","name","description","hard"}."""
    return {
        "id": plan.pk,
        "name": plan.name,
        "description": plan.description,
        "hard": plan.hard,
    }


# --- usage ----------------------------------------------------------------------------------------
def usage(described: services.TenantState) -> dict[str, dict[str, float]]:
    """{"hard","used"} of a tenant, each as `quotas.numbers`, of the resources that are limited.

    Where several quotas limit the same resource, the tightest counts.
    """
    hard: dict[str, float] = {}
    used: dict[str, float] = {}
    for quota in described.quotas:
        limits, consumption = quotas.hard_and_used(quota)
        limit_numbers = quotas.quota_numbers(limits)
        used_numbers = quotas.quota_numbers(consumption)
        for name, kubernetes_name in quotas.RESOURCES.items():
            tightest = hard.get(name, float("inf"))
            if kubernetes_name in limits and limit_numbers[name] <= tightest:
                hard[name] = limit_numbers[name]
                used[name] = used_numbers[name]
    return {"hard": hard, "used": used}


def record_usage(cluster: Cluster, rows: Iterable[Tenant]) -> int:
    """Record what each tenant of the cluster uses now; returns how many samples there are.

    Tenants whose namespace is gone or was created again are left out.
    """
    at = timezone.now().replace(microsecond=0)
    row_by_namespace = {(row.namespace, row.uid): row for row in rows}
    samples = []
    for tenant in services.describe_accessible(cluster):
        uid = str(tenant.namespace["metadata"]["uid"])
        row = row_by_namespace.get((tenant.name, uid))
        if row is not None:
            samples.append(UsageSample(tenant=row, at=at, **usage(tenant)))
    # A task that runs twice within a second meets its own samples.
    UsageSample.objects.bulk_create(samples, ignore_conflicts=True)
    return len(samples)


def clusters_with_tenants() -> list[int]:
    """The ids of the registered clusters that have tenants."""
    rows = Tenant.objects.filter(cluster__deleted_at=None).order_by("cluster_id")
    return list(rows.values_list("cluster_id", flat=True).distinct())


def expire_samples(*, days: int) -> int:
    """Delete samples older than `days`; returns how many."""
    limit = timezone.now() - datetime.timedelta(days=days)
    count, _ = UsageSample.objects.filter(at__lt=limit).delete()
    return count


def usage_history(
    tenant: Tenant, *, since: datetime.datetime, until: datetime.datetime
) -> list[Mapping[str, Any]]:
    """Samples from `since` until before `until`, oldest first: {"at","hard","used"}.

    At most the latest 2,000.
    """
    latest = tenant.samples.filter(at__gte=since, at__lt=until).order_by("-at")[:2000]
    return [
        {
            "at": f"{row.at.astimezone(datetime.UTC):%Y-%m-%dT%H:%M:%SZ}",
            "hard": row.hard,
            "used": row.used,
        }
        for row in reversed(list(latest))
    ]
