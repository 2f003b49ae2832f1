"""Admission: what may not be created although it is valid."""

from simcluster import quantity, usage
from simcluster.errors import ApiError, forbidden, not_found
from simcluster.resources import Object, Resource, ResourceTable
from simcluster.store import Store


def check_namespace(resource: Resource, obj: Object, store: Store, table: ResourceTable) -> None:
    """The namespace must exist (404) and not be on its way out (403)."""
    name = obj["metadata"]["namespace"]
    record = store.get("namespaces", "", name)
    if record is None:
        raise not_found(table.of_storage("namespaces"), name)
    if record.field("metadata.deletionTimestamp"):
        refusal = forbidden(
            resource,
            obj["metadata"]["name"],
            f"unable to create new content in namespace {name} because it is being terminated",
        )
        cause = {
            "reason": "NamespaceTerminating",
            "message": f"namespace {name} is being terminated",
            "field": "metadata.namespace",
        }
        refusal.details = {**(refusal.details or {}), "causes": [cause]}
        raise refusal


def limit_pod(resource: Resource, pod: Object, store: Store) -> None:
    """LimitRanges: defaults for containers without requests or limits, then their bounds (403)."""
    for record in store.list("limitranges", pod["metadata"]["namespace"]):
        for limit in record.obj["spec"].get("limits") or ():
            if limit.get("type") == "Container":
                _limit_containers(resource, pod, limit)


def _limit_containers(resource: Resource, pod: Object, limit: Object) -> None:
    notes = []
    for container in pod["spec"]["containers"]:
        added: dict[str, list[str]] = {"request": [], "limit": []}
        resources = container.setdefault("resources", {})
        # `default` of a LimitRange are limits, `defaultRequest` requests.
        for part, source, word in (
            ("requests", "defaultRequest", "request"),
            ("limits", "default", "limit"),
        ):
            for name, amount in sorted((limit.get(source) or {}).items()):
                if name not in (resources.get(part) or {}):
                    resources.setdefault(part, {})[name] = amount
                    added[word].append(name)
        notes += [
            f"{', '.join(names)} {word} for container {container['name']}"
            for word, names in added.items()
            if names
        ]
        _check_bounds(resource, pod, resources, limit)
    if notes:
        pod["metadata"].setdefault("annotations", {})["kubernetes.io/limit-ranger"] = (
            f"LimitRanger plugin set: {'; '.join(notes)}"
        )


def _check_bounds(resource: Resource, pod: Object, resources: Object, limit: Object) -> None:
    limits = resources.get("limits") or {}
    requests = resources.get("requests") or {}
    for name, bound in (limit.get("max") or {}).items():
        amount = limits.get(name)
        # No limit at all is more than any maximum.
        if amount is None or quantity.parse(amount) > quantity.parse(bound):
            message = f"maximum {name} usage per Container is {bound}, but " + (
                f"limit is {amount}" if amount else "no limit is specified"
            )
            raise forbidden(resource, pod["metadata"]["name"], message)
    for name, bound in (limit.get("min") or {}).items():
        amount = requests.get(name)
        if amount is None or quantity.parse(amount) < quantity.parse(bound):
            message = f"minimum {name} usage per Container is {bound}, but " + (
                f"request is {amount}" if amount else "no request is specified"
            )
            raise forbidden(resource, pod["metadata"]["name"], message)


def check_quota(resource: Resource, obj: Object, store: Store, table: ResourceTable) -> None:
    """ResourceQuotas: 403 when the object would go over one, or does not say what it needs."""
    usage_amounts = usage.usage_of(resource, obj)
    for record in store.list("resourcequotas", obj["metadata"]["namespace"]):
        quota = record.obj
        if usage.in_scope(quota, resource, obj):
            _check_quota(resource, obj, quota, usage_amounts, store, table)


def _check_quota(
    resource: Resource,
    obj: Object,
    quota: Object,
    usage_amounts: usage.Amounts,
    store: Store,
    table: ResourceTable,
) -> None:
    hard = (quota.get("spec") or {}).get("hard") or {}
    name = quota["metadata"]["name"]
    about = obj["metadata"]["name"]
    if resource.storage == "pods":
        missing = _unspecified(obj["spec"], hard)
        if missing:
            raise forbidden(resource, about, f"failed quota: {name}: must specify {missing}")
    # A quota speaks only about what it limits.
    concerned = {key: amount for key, amount in usage_amounts.items() if key in hard and amount}
    if not concerned:
        return
    used = usage.used(quota, store, table)
    limits = {key: quantity.parse(hard[key]) for key in concerned}
    exceeded = sorted(key for key in concerned if used[key] + concerned[key] > limits[key])
    if not exceeded:
        return

    def text(amounts: usage.Amounts) -> str:
        return ",".join(f"{key}={quantity.canonical(key, amounts[key])}" for key in exceeded)

    # The words and their order are those of Kubernetes' quota plug-in.
    message = (
        f"exceeded quota: {name}, requested: {text(concerned)}, "
        f"used: {text(used)}, limited: {text(limits)}"
    )
    raise forbidden(resource, about, message)


def _unspecified(spec: Object, hard: Object) -> str:
    parts = []
    for limit in sorted(hard):
        part, _, name = (
            limit.partition(".")
            if limit.startswith(("limits.", "requests."))
            else ("requests", "", limit)
        )
        if name not in ("cpu", "memory"):
            continue
        without = [
            container["name"]
            for container in spec["containers"]
            if name not in ((container.get("resources") or {}).get(part) or {})
        ]
        if without:
            parts.append(f"{limit} for: {','.join(without)}")
    return "; ".join(parts)


def admit(resource: Resource, obj: Object, store: Store, table: ResourceTable) -> None:
    """All checks of a create, in the order of the API server; may complete the object."""
    if not resource.namespaced:
        return
    check_namespace(resource, obj, store, table)
    if resource.storage == "pods":
        limit_pod(resource, obj, store)
    check_quota(resource, obj, store, table)


def protect(resource: Resource, name: str) -> None:
    """Namespaces that cannot be deleted (403)."""
    if resource.storage == "namespaces" and name in (
        "default",
        "kube-system",
        "kube-public",
    ):
        raise ApiError(
            403,
            "Forbidden",
            f'namespaces "{name}" is forbidden: this namespace may not be deleted',
            details={"name": name, "kind": "namespaces"},
        )
