"""What objects cost against a ResourceQuota."""

from decimal import Decimal

from simcluster import quantity
from simcluster.objects import is_finished
from simcluster.resources import Object, Resource, ResourceTable
from simcluster.store import Store

Amounts = dict[str, Decimal]
_COUNTED = {
    "services": "services",
    "secrets": "secrets",
    "configmaps": "configmaps",
    "persistentvolumeclaims": "persistentvolumeclaims",
    "replicationcontrollers": "replicationcontrollers",
    "resourcequotas": "resourcequotas",
}
COMPUTE = ("cpu", "memory", "ephemeral-storage")


def pod_requests(spec: Object, part: str = "requests") -> Amounts:
    """The sum of the containers' `requests` or `limits`, or the largest init container's."""
    total: Amounts = {}
    for container in spec.get("containers") or ():
        for name, amount in ((container.get("resources") or {}).get(part) or {}).items():
            total[name] = total.get(name, Decimal(0)) + quantity.parse(amount)
    # Init containers run before the others and one by one: the largest decides.
    for container in spec.get("initContainers") or ():
        for name, amount in ((container.get("resources") or {}).get(part) or {}).items():
            total[name] = max(total.get(name, Decimal(0)), quantity.parse(amount))
    return total


def _pod(obj: Object) -> Amounts:
    # Pods that have ended hold no resources, but still count as objects.
    if is_finished(obj):
        return {"count/pods": Decimal(1)}
    requests = pod_requests(obj["spec"])
    limits = pod_requests(obj["spec"], "limits")
    amounts: Amounts = {"pods": Decimal(1), "count/pods": Decimal(1)}
    for name, amount in requests.items():
        # `cpu` and `requests.cpu` are two names of the same limit.
        amounts[name if name in COMPUTE else f"requests.{name}"] = amount
        amounts[f"requests.{name}"] = amount
    for name, amount in limits.items():
        amounts[f"limits.{name}"] = amount
    return amounts


def usage_of(resource: Resource, obj: Object) -> Amounts:
    """What one object uses, by quota name."""
    if resource.storage == "pods":
        return _pod(obj)
    amounts: Amounts = {f"count/{resource.qualified}": Decimal(1)}
    if resource.storage in _COUNTED:
        amounts[_COUNTED[resource.storage]] = Decimal(1)
    if resource.storage == "services":
        kind = obj["spec"].get("type")
        amounts["services.loadbalancers"] = Decimal(kind == "LoadBalancer")
        amounts["services.nodeports"] = Decimal(
            len(obj["spec"].get("ports") or ()) if kind in ("NodePort", "LoadBalancer") else 0
        )
    if resource.storage == "persistentvolumeclaims":
        size = ((obj["spec"].get("resources") or {}).get("requests") or {}).get("storage")
        amounts["requests.storage"] = quantity.parse(size) if size else Decimal(0)
        if obj["spec"].get("storageClassName"):
            prefix = f"{obj['spec']['storageClassName']}.storageclass.storage.k8s.io"
            amounts[f"{prefix}/requests.storage"] = amounts["requests.storage"]
            amounts[f"{prefix}/persistentvolumeclaims"] = Decimal(1)
    return amounts


def in_scope(quota: Object, resource: Resource, obj: Object) -> bool:
    """Whether a quota with scopes counts this object."""
    for scope in (quota.get("spec") or {}).get("scopes") or ():
        if resource.storage != "pods":
            return False
        best_effort = obj.get("status", {}).get("qosClass") == "BestEffort"
        terminating = "activeDeadlineSeconds" in obj["spec"]
        if not {
            "BestEffort": best_effort,
            "NotBestEffort": not best_effort,
            "Terminating": terminating,
            "NotTerminating": not terminating,
        }.get(scope, True):
            return False
    return True


def storages_of(hard: Object, table: ResourceTable) -> list[Resource]:
    """The kinds that a quota's limits speak about."""
    names = set(hard)
    resources: list[Resource] = []
    for resource in table:
        # Events are stored once and served twice: counted once.
        if not resource.namespaced or (resource.group, resource.version) == (
            "events.k8s.io",
            "v1",
        ):
            continue
        pods = resource.storage == "pods" and any(
            name in COMPUTE or name == "pods" or name.startswith(("requests.", "limits."))
            for name in names
        )
        counted = _COUNTED.get(resource.storage) in names or f"count/{resource.qualified}" in names
        storage = resource.storage == "persistentvolumeclaims" and any(
            "storage" in name for name in names
        )
        services = resource.storage == "services" and any(
            name.startswith("services.") for name in names
        )
        if (pods or counted or storage or services) and all(
            other.storage != resource.storage for other in resources
        ):
            resources.append(resource)
    return resources


def used(quota: Object, store: Store, table: ResourceTable) -> Amounts:
    """What a namespace uses of each limit of its quota."""
    hard = (quota.get("spec") or {}).get("hard") or {}
    total: Amounts = dict.fromkeys(hard, Decimal(0))
    for resource in storages_of(hard, table):
        for record in store.list(resource.storage, quota["metadata"]["namespace"]):
            obj = record.obj
            if in_scope(quota, resource, obj):
                for name, amount in usage_of(resource, obj).items():
                    if name in total:
                        total[name] += amount
    return total
