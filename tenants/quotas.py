"""Quotas under the names of tenants or of Kubernetes, and as plain numbers."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from clusters import quantities
from clusters.manifests import Object
from core.errors import Invalid

# The tenant's name for a resource -> Kubernetes' name.
RESOURCES: Mapping[str, str] = {
    "limitCpu": "limits.cpu",
    "limitMemory": "limits.memory",
    "requestsCpu": "requests.cpu",
    "requestsMemory": "requests.memory",
    "requestsStorage": "requests.storage",
    "pods": "pods",
}
# Everything else that a ResourceQuota can limit, as Kubernetes' own validation has it: its standard
# names, what storage classes and device plug-ins add, and counts of objects of any kind.
STANDARD = frozenset(
    {
        *("cpu", "memory", "ephemeral-storage", "requests.ephemeral-storage"),
        *("limits.ephemeral-storage", "services", "services.loadbalancers", "services.nodeports"),
        *("replicationcontrollers", "resourcequotas", "secrets", "configmaps"),
        *("persistentvolumeclaims", *RESOURCES.values()),
    }
)
DNS_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
DNS_NAME = rf"{DNS_LABEL}(\.{DNS_LABEL})*"
OTHER_RESOURCES = re.compile(
    rf"count/{DNS_NAME}"
    rf"|{DNS_NAME}\.storageclass\.storage\.k8s\.io/(requests\.storage|persistentvolumeclaims)"
    rf"|(requests\.)?hugepages-[0-9]+([KMGTPE]i)?"
    rf"|requests\.{DNS_NAME}/[A-Za-z0-9]([-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?"
)
LONGEST = 253
MEBIBYTE = 2**20
GIBIBYTE = 2**30


@dataclass(frozen=True, slots=True)
class Quota:
    """A desired ResourceQuota: `hard` under Kubernetes' names, without what was left empty."""

    name: str
    hard: Mapping[str, str]


def parse_quotas(value: object) -> tuple[Quota, ...]:
    """The quotas of a request's `tenantQuotas`; () for None, Invalid, naming the member, else."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise Invalid("tenantQuotas must be a list")
    quotas = tuple(_quota(item, index) for index, item in enumerate(value))
    names = [quota.name for quota in quotas]
    for name in names:
        if names.count(name) > 1:
            raise Invalid(f"tenantQuotas: quotaName {name} is given twice")
    return quotas


def _quota(item: object, index: int) -> Quota:
    if not isinstance(item, dict):
        raise Invalid(f"tenantQuotas[{index}] must be an object")
    name = item.get("quotaName")
    hard = item.get("hard")
    if not isinstance(name, str) or not name:
        raise Invalid(f"tenantQuotas[{index}]: quotaName is required")
    if not isinstance(hard, dict):
        raise Invalid(f"tenantQuotas[{index}]: hard is required")
    return Quota(name, read_hard(hard, f"tenantQuotas[{index}]: hard"))


def read_hard(hard: Mapping[str, object], where: str = "hard") -> dict[str, str]:
    """Limits in either spelling, under Kubernetes' names and without those left empty.

    Invalid, naming the member under `where`, for what no quota can limit, for what is no quantity,
    and for both spellings of a resource with different values.
    """
    limits: dict[str, str] = {}
    for name, value in hard.items():
        resource = resource_of(name)
        if not resource:
            raise Invalid(
                f"{where}.{name[:60]} is not a resource that a quota limits: "
                f"use {', '.join(RESOURCES)} or Kubernetes' names",
                field="hard",
            )
        if value is not None and not isinstance(value, str):
            raise Invalid(f"{where}.{name} must be a string", field="hard")
        if not value:
            # Left empty: no limit.
            continue
        amount = quantities.parse(value)
        if amount is None or amount < 0:
            raise Invalid(f"{where}.{name} must be a quantity: {value[:40]!r}", field="hard")
        if resource in limits and quantities.parse(limits[resource]) != amount:
            raise Invalid(f"{where}.{name} is given twice with different values", field="hard")
        limits.setdefault(resource, value)
    return limits


def resource_of(name: str) -> str:
    """Kubernetes' name of a resource in either spelling; "" for what no quota can limit."""
    if name in RESOURCES:
        return RESOURCES[name]
    if name in STANDARD:
        return name
    is_other = len(name) <= LONGEST and OTHER_RESOURCES.fullmatch(name)
    return name if is_other else ""


def quota_texts(values: Mapping[str, Any]) -> dict[str, str]:
    """The resources of tenants as the cluster writes them; "" where there is none."""
    return {name: str(values.get(resource, "")) for name, resource in RESOURCES.items()}


def all_texts(values: Mapping[str, Any]) -> dict[str, str]:
    """The resources of tenants, and the others under Kubernetes' names."""
    others = {name: str(value) for name, value in values.items() if name not in RESOURCES.values()}
    return {**quota_texts(values), **others}


def quota_numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """The resources of tenants as numbers; 0 where there is none.

    CPU in cores, memory in whole Mi, storage in whole Gi, and the number of pods.
    """
    return {
        name: _as_number(name, quantities.parse(values.get(resource)))
        for name, resource in RESOURCES.items()
    }


def _as_number(name: str, value: Decimal | None) -> float:
    if value is None:
        return 0
    if name.endswith("Cpu"):
        return float(value)
    if name.endswith("Memory"):
        return int(value // MEBIBYTE)
    if name == "requestsStorage":
        return int(value // GIBIBYTE)
    return int(value)


def hard_and_used(quota: Object) -> tuple[dict[str, Any], dict[str, Any]]:
    """(spec.hard, status.used) of a ResourceQuota."""
    spec = quota.get("spec") or {}
    # The quota controller fills the status a moment after creation.
    status = quota.get("status") or {}
    return spec.get("hard") or {}, status.get("used") or {}
