"""Quotas in the six names that tenants know or in Kubernetes' own, and as plain numbers."""

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
# Everything else that a ResourceQuota can limit, as Kubernetes' own validation has it: its standard names, what storage classes
# and device plug-ins add, and counts of objects of any kind.
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
    return Quota(name, read_hard(hard, f"tenantQuotas[{index}]: hard"))


def read_hard(hard: Mapping[str, object], where: str = "hard") -> dict[str, str]:
    """Limits in either spelling, under Kubernetes' names and without those left empty.

    Invalid, naming the member, for what no quota can limit, what is no quantity, and for both spellings with different values.
    """
    found: dict[str, str] = {}
    for name, value in hard.items():
        theirs = resource_of(name)
        if not theirs:
            raise Invalid(
                f"{where}.{name[:60]} is nothing that a quota limits: use {', '.join(RESOURCES)} or Kubernetes' names",
                field="hard",
            )
        if value is not None and not isinstance(value, str):
            raise Invalid(f"{where}.{name} must be a string", field="hard")
        if not value:
            continue
        amount = quantities.parse(value)
        if amount is None or amount < 0:
            raise Invalid(f"{where}.{name} must be a quantity: {value[:40]!r}", field="hard")
        if theirs in found and quantities.parse(found[theirs]) != amount:
            raise Invalid(f"{where}.{name} is given twice, and differently", field="hard")
        found.setdefault(theirs, value)
    return found


def resource_of(name: str) -> str:
    """Kubernetes' name for what a member of `hard` limits, whichever spelling it has; "" for what is none."""
    if name in RESOURCES:
        return RESOURCES[name]
    known = name in STANDARD or (len(name) <= LONGEST and OTHER_RESOURCES.fullmatch(name))
    return name if known else ""


def texts(values: Mapping[str, Any]) -> dict[str, str]:
    """The six as the cluster writes them; "" where there is none."""
    return {ours: str(values.get(theirs, "")) for ours, theirs in RESOURCES.items()}


def all_texts(values: Mapping[str, Any]) -> dict[str, str]:
    """The six, and whatever else is limited under Kubernetes' names."""
    others = {name: str(value) for name, value in values.items() if name not in RESOURCES.values()}
    return {**texts(values), **others}


def numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """The six as numbers: cores, whole Mi, whole Gi of storage, pods; 0 where there is none."""
    return {
        ours: _as_number(ours, quantities.parse(values.get(theirs)))
        for ours, theirs in RESOURCES.items()
    }


def _as_number(name: str, value: Decimal | None) -> float:
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
