"""Quotas in the six names that tenants know, and as plain numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from clusters import quantities
from clusters.documents import Object
from kubegale.errors import Invalid

# The tenant's name for a resource -> Kubernetes' name.
RESOURCES: Mapping[str, str] = {
    "limitCpu": "limits.cpu",
    "limitMemory": "limits.memory",
    "requestsCpu": "requests.cpu",
    "requestsMemory": "requests.memory",
    "requestsStorage": "requests.storage",
    "pods": "pods",
}
MEBIBYTE, GIBIBYTE = 2**20, 2**30


@dataclass(frozen=True, slots=True)
class Quota:
    """A ResourceQuota to be made: `hard` under Kubernetes' names, without what was left empty."""

    name: str
    hard: Mapping[str, str]


def read(value: object) -> tuple[Quota, ...]:
    """`tenantQuotas` of a request; Invalid, naming the member, for anything else. None is none."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise Invalid("tenantQuotas must be a list")
    quotas = tuple(_quota(item, index) for index, item in enumerate(value))
    names = [quota.name for quota in quotas]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise Invalid(f"tenantQuotas: quotaName {twice} is given twice")
    return quotas


def _quota(item: object, index: int) -> Quota:
    if not isinstance(item, dict):
        raise Invalid(f"tenantQuotas[{index}] must be an object")
    name, hard = item.get("quotaName"), item.get("hard")
    if not isinstance(name, str) or not name:
        raise Invalid(f"tenantQuotas[{index}]: quotaName is required")
    if not isinstance(hard, dict):
        raise Invalid(f"tenantQuotas[{index}]: hard is required")
    return Quota(name, _hard(hard, index))


def _hard(hard: Mapping[str, object], index: int) -> dict[str, str]:
    found: dict[str, str] = {}
    for ours, theirs in RESOURCES.items():
        value = hard.get(ours)
        if value is not None and not isinstance(value, str):
            raise Invalid(f"tenantQuotas[{index}]: hard.{ours} must be a string")
        if value:
            found[theirs] = value
    return found


def texts(values: Mapping[str, Any]) -> dict[str, str]:
    """The six as the cluster writes them; "" where there is none."""
    return {ours: str(values.get(theirs, "")) for ours, theirs in RESOURCES.items()}


def numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """The six as numbers: cores, whole Mi, whole Gi of storage, pods; 0 where there is none."""
    return {
        ours: _number(ours, quantities.parse(values.get(theirs)))
        for ours, theirs in RESOURCES.items()
    }


def _number(name: str, value: Decimal | None) -> float:
    if value is None:
        return 0
    if name.endswith("Cpu"):
        return float(value)
    if name.endswith("Memory"):
        return int(value // MEBIBYTE)
    return int(value // GIBIBYTE) if name == "requestsStorage" else int(value)


def hard_and_used(quota: Object) -> tuple[dict[str, Any], dict[str, Any]]:
    """(spec.hard, status.used) of a ResourceQuota."""
    return (quota.get("spec") or {}).get("hard") or {}, (quota.get("status") or {}).get(
        "used"
    ) or {}
