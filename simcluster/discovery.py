"""Discovery: plain (`APIResourceList`) and aggregated (`APIGroupDiscoveryList`)."""

from collections.abc import Iterable

from simcluster.resources import Object, Resource, ResourceTable

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
VERSION: Object = {
    "major": "1",
    "minor": "36",
    "emulationMajor": "1",
    "emulationMinor": "36",
    "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "35",
    "gitVersion": "v1.36.2",
    "gitCommit": "$Format:%H$",
    "gitTreeState": "",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "go1.26.6",
    "compiler": "gc",
    "platform": "linux/amd64",
}


def wants_aggregated(accept: str) -> bool:
    """Whether the Accept header asks for aggregated discovery in its final version."""
    return any(
        {"as=APIGroupDiscoveryList", "v=v2", "g=apidiscovery.k8s.io"}
        <= {part.strip() for part in media_range.split(";")}
        for media_range in accept.split(",")
    )


def api_versions(address: str) -> Object:
    """`/api`."""
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    }


def _groups(table: ResourceTable) -> dict[str, dict[str, list[Resource]]]:
    groups: dict[str, dict[str, list[Resource]]] = {}
    for resource in table:
        groups.setdefault(resource.group, {}).setdefault(resource.version, []).append(resource)
    return groups


def _group(name: str, versions: Iterable[str]) -> Object:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def group_list(table: ResourceTable) -> Object:
    """`/apis`."""
    groups = [_group(name, versions) for name, versions in _groups(table).items() if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def group(table: ResourceTable, name: str) -> Object | None:
    """`/apis/{group}`; None when nothing is served there."""
    versions = _groups(table).get(name)
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)} if versions else None


def resource_list(table: ResourceTable, group_name: str, version: str) -> Object | None:
    """`/api/v1`, `/apis/{group}/{version}`; None when nothing is served there."""
    resources = _groups(table).get(group_name, {}).get(version)
    if not resources:
        return None
    head = {
        "kind": "APIResourceList",
        **({"apiVersion": "v1"} if group_name else {}),
    }
    rows = [row for resource in resources for row in _rows(resource)]
    return {
        **head,
        "groupVersion": f"{group_name}/{version}" if group_name else version,
        "resources": rows,
    }


def _rows(resource: Resource) -> list[Object]:
    row: Object = {
        "name": resource.plural,
        "singularName": resource.singular or resource.kind.lower(),
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        row["shortNames"] = list(resource.short_names)
    if resource.categories:
        row["categories"] = list(resource.categories)
    if "list" in resource.verbs and resource.plural != "componentstatuses":
        row["storageVersionHash"] = resource.storage_hash
    rows = [row]
    for sub in resource.subresources.values():
        other = (
            {"group": sub.group, "version": sub.version}
            if sub.version and (sub.group, sub.version) != (resource.group, resource.version)
            else {}
        )
        name = f"{resource.plural}/{sub.name}"
        rows.append(
            {
                "name": name,
                "singularName": "",
                "namespaced": resource.namespaced,
                **other,
                "kind": sub.kind,
                "verbs": list(sub.verbs),
            }
        )
    return rows


def aggregated(table: ResourceTable, *, core: bool) -> Object:
    """`/api` (core) or `/apis` in the aggregated form."""
    items = []
    for name, versions in _groups(table).items():
        if bool(name) is core:
            continue
        listed = [
            {
                "version": version,
                "resources": [_aggregated(resource) for resource in resources],
                "freshness": "Current",
            }
            for version, resources in versions.items()
        ]
        items.append({"metadata": {"name": name} if name else {}, "versions": listed})
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    }


def _kind(group_name: str, version: str, kind: str) -> Object:
    return {"group": group_name, "version": version, "kind": kind}


def _aggregated(resource: Resource) -> Object:
    group_name, version = (resource.group, resource.version) if resource.custom else ("", "")
    row: Object = {
        "resource": resource.plural,
        "responseKind": _kind(group_name, version, resource.kind),
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular or resource.kind.lower(),
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        row["shortNames"] = list(resource.short_names)
    if resource.categories:
        row["categories"] = list(resource.categories)
    if resource.subresources:
        row["subresources"] = [
            {
                "subresource": sub.name,
                "responseKind": _kind(sub.group, sub.version, sub.kind),
                "verbs": list(sub.verbs),
            }
            for sub in resource.subresources.values()
        ]
    return row
