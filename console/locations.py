"""Where an object is: its address in the console, and its path in the API."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clusters.kinds import KINDS, Kind, custom
from console.api_client import ApiRefusal, require_segment
from console.rendering.html import path_segment
from core.errors import Invalid

NONE = "-"


def find_kind(plural: str) -> Kind:
    """The kind behind `pods` or `widgets.v1.example.com`; Refused for what can be none."""
    if plural in KINDS:
        return KINDS[plural]
    name, _, rest = plural.partition(".")
    version, _, group = rest.partition(".")
    try:
        return custom(group, version, name, name=name)
    except Invalid as error:
        raise ApiRefusal(1004, error.message, {}, 404) from None


@dataclass(frozen=True, slots=True)
class Location:
    """One object of one cluster; `plural` is as in addresses, `namespace` is empty for what has none."""

    cluster: int
    plural: str
    namespace: str
    name: str

    @property
    def kind(self) -> Kind:
        """Its kind."""
        return find_kind(self.plural)

    @property
    def table(self) -> str:
        """The address of the table that it stands in."""
        return f"/clusters/{self.cluster}/{path_segment(self.plural)}"

    @property
    def address(self) -> str:
        """The address of its page."""
        return f"{self.table}/{path_segment(self.namespace or NONE)}/{path_segment(self.name)}"

    @property
    def path(self) -> str:
        """Its path in the API."""
        if self.plural == "pods":
            return f"namespaces/{require_segment(self.namespace)}/pods/{require_segment(self.name)}"
        return f"{collection_path(self.plural)}/{require_segment(self.name)}"

    @property
    def query(self) -> dict[str, Any]:
        """What the API is told of the place beside the path."""
        return {"cluster_id": self.cluster, "namespace": self.namespace}

    def other(self, plural: str, name: str, namespace: str | None = None) -> "Location":
        """Another object of the same cluster, in the same namespace unless said otherwise or its kind has none."""
        inside = self.namespace if namespace is None else namespace
        return Location(self.cluster, plural, inside if find_kind(plural).namespaced else "", name)


def collection_path(plural: str) -> str:
    """The path of all objects of a kind in the API."""
    kind = find_kind(plural)
    return plural if plural in KINDS else f"resources/{kind.group}/{kind.version}/{kind.plural}"


def locate(cluster_id: int, plural: str, namespace: str, name: str) -> Location:
    """The place that an address of the console means."""
    return Location(cluster_id, plural, "" if namespace == NONE else namespace, name)


def resolve_reference(location: Location, reference: Mapping[str, Any]) -> Location | None:
    """The object that an ownerReference, an involvedObject or a targetRef names; None when it cannot be told which kind it is."""
    name, kind = str(reference.get("name") or ""), str(reference.get("kind") or "")
    if not name or not kind:
        return None
    namespace = str(reference.get("namespace") or location.namespace)
    plural = next((candidate.plural for candidate in KINDS.values() if candidate.name == kind), "")
    return location.other(plural, name, namespace) if plural else None
