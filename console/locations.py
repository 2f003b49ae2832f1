"""Where an object is: its address in the console, and its path in the API."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clusters.kinds import KINDS, Kind, custom
from console.api_client import Refused, quoted
from console.rendering.html import part
from core.errors import Invalid

NONE = "-"


def kind_of(plural: str) -> Kind:
    """The kind behind `pods` or `widgets.v1.example.com`; Refused for what can be none."""
    if plural in KINDS:
        return KINDS[plural]
    name, _, rest = plural.partition(".")
    version, _, group = rest.partition(".")
    try:
        return custom(group, version, name, name=name)
    except Invalid as error:
        raise Refused(1004, error.message, {}, 404) from None


@dataclass(frozen=True, slots=True)
class Place:
    """One object of one cluster; `plural` is as in addresses, `namespace` is empty for what has none."""

    cluster: int
    plural: str
    namespace: str
    name: str

    @property
    def kind(self) -> Kind:
        """Its kind."""
        return kind_of(self.plural)

    @property
    def table(self) -> str:
        """The address of the table that it stands in."""
        return f"/clusters/{self.cluster}/{part(self.plural)}"

    @property
    def address(self) -> str:
        """The address of its page."""
        return f"{self.table}/{part(self.namespace or NONE)}/{part(self.name)}"

    @property
    def path(self) -> str:
        """Its path in the API."""
        if self.plural == "pods":
            return f"namespaces/{quoted(self.namespace)}/pods/{quoted(self.name)}"
        return f"{collection(self.plural)}/{quoted(self.name)}"

    @property
    def query(self) -> dict[str, Any]:
        """What the API is told of the place beside the path."""
        return {"cluster_id": self.cluster, "namespace": self.namespace}

    def other(self, plural: str, name: str, namespace: str | None = None) -> "Place":
        """Another object of the same cluster, in the same namespace unless said otherwise or its kind has none."""
        inside = self.namespace if namespace is None else namespace
        return Place(self.cluster, plural, inside if kind_of(plural).namespaced else "", name)


def collection(plural: str) -> str:
    """The path of all objects of a kind in the API."""
    kind = kind_of(plural)
    return plural if plural in KINDS else f"resources/{kind.group}/{kind.version}/{kind.plural}"


def at(cluster_id: int, plural: str, namespace: str, name: str) -> Place:
    """The place that an address of the console means."""
    return Place(cluster_id, plural, "" if namespace == NONE else namespace, name)


def referred(place: Place, reference: Mapping[str, Any]) -> Place | None:
    """The object that an ownerReference, an involvedObject or a targetRef names; None when it cannot be told which kind it is."""
    name, kind = str(reference.get("name") or ""), str(reference.get("kind") or "")
    if not name or not kind:
        return None
    namespace = str(reference.get("namespace") or place.namespace)
    plural = next((known.plural for known in KINDS.values() if known.name == kind), "")
    return place.other(plural, name, namespace) if plural else None
