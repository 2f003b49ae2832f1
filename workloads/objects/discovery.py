"""Kinds that are not in the table of `clusters.kinds`: looked up in a cluster's discovery."""

from collections.abc import Mapping
from typing import Any

import orjson

from clusters import registry
from clusters.kinds import KINDS, Kind, custom_kind
from clusters.models import Cluster
from core.errors import NotFound


def discover(cluster: Cluster, group: str, version: str, plural: str) -> Kind:
    """The kind that a cluster serves at a group and version, by its plural or any other name.

    `group` may be "core" for the group without a name. NotFound when the cluster serves none.
    """
    group = "" if group == "core" else group
    kind = KINDS.get(plural)
    if kind and (kind.group, kind.version) == (group, version):
        return kind
    # Invalid for words that no resource can have; shields the path that is asked for.
    address = custom_kind(group, version, plural.lower())
    resource = _find_resource(served_resources(cluster, address.group, address.version), plural)
    if resource is None:
        raise NotFound(
            f"the cluster serves no {plural} in {group or 'core'}/{version}",
            reason="NotFound",
        )
    return custom_kind(
        group,
        version,
        resource["name"],
        name=resource["kind"],
        namespaced=bool(resource["namespaced"]),
    )


def served_resources(cluster: Cluster, group: str, version: str) -> list[Mapping[str, Any]]:
    """The APIResourceList of a group ("" for the core group) and version, without subresources.

    NotFound when the cluster does not serve them, Invalid for words that no API group can have.
    """
    group_path = custom_kind(group, version, "x").path().rpartition("/")[0]
    listing = orjson.loads(registry.client(cluster).request("GET", group_path))
    resources = listing.get("resources") or []
    # Subresources are listed as "pods/log".
    return [resource for resource in resources if "/" not in resource["name"]]


def _find_resource(resources: list[Mapping[str, Any]], name: str) -> Mapping[str, Any] | None:
    # An exact plural wins over another resource's short name.
    for resource in resources:
        if resource["name"] == name:
            return resource
    for resource in resources:
        if name.lower() in _resource_names(resource):
            return resource
    return None


def _resource_names(resource: Mapping[str, Any]) -> set[str]:
    """Every name of a resource in discovery, in lower case."""
    names = [
        resource["name"],
        resource["kind"],
        resource.get("singularName"),
        *(resource.get("shortNames") or []),
    ]
    return {str(name).lower() for name in names if name}
