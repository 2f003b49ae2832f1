"""Where an object is: the address of its page in the console and its path in the API."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clusters.kinds import KINDS, Kind, custom_kind
from console.api_client import ApiRefusal, require_segment
from console.rendering.html import path_segment
from core.errors import Invalid

NONE = "-"


def find_kind(plural: str) -> Kind:
    """The kind that an address names, as `pods` or `widgets.v1.example.com`.

    Raises ApiRefusal (404) for a text that cannot name a kind.
    """
    if plural in KINDS:
        return KINDS[plural]
    name, _, rest = plural.partition(".")
    version, _, group = rest.partition(".")
    try:
        return custom_kind(group, version, name, name=name)
    except Invalid as error:
        raise ApiRefusal(1004, error.message, {}, 404) from None


@dataclass(frozen=True, slots=True)
class Location:
    """An object of a cluster; `plural` as in console addresses, `namespace` "" for none."""

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
        """The query parameters that go with `path`."""
        return {"cluster_id": self.cluster, "namespace": self.namespace}

    def other(
        self,
        plural: str,
        name: str,
        namespace: str | None = None,
    ) -> "Location":
        """Another object of the same cluster, by default in the same namespace.

        The namespace is left out for a kind that has none.
        """
        if not find_kind(plural).namespaced:
            namespace = ""
        elif namespace is None:
            namespace = self.namespace
        return Location(self.cluster, plural, namespace, name)


def collection_path(plural: str) -> str:
    """The path of all objects of a kind in the API."""
    kind = find_kind(plural)
    return plural if plural in KINDS else f"resources/{kind.group}/{kind.version}/{kind.plural}"


def locate(
    cluster_id: int,
    plural: str,
    namespace: str,
    name: str,
) -> Location:
    """The location that the parts of a console address name; "-" stands for no namespace."""
    return Location(cluster_id, plural, "" if namespace == NONE else namespace, name)


def without_version(plural: str) -> str:
    """`widgets.example.com` for `widgets.v1.example.com`, the name of a kind in addresses."""
    name, _, rest = plural.partition(".")
    group = rest.partition(".")[2]
    return f"{name}.{group}"


def resolve_reference(
    location: Location,
    reference: Mapping[str, Any],
) -> Location | None:
    """The object that an ownerReference, an involvedObject or a targetRef names.

    None when the reference names no built-in kind.
    """
    name = str(reference.get("name") or "")
    kind = str(reference.get("kind") or "")
    if not name or not kind:
        return None
    namespace = str(reference.get("namespace") or location.namespace)
    plural = next((candidate.plural for candidate in KINDS.values() if candidate.name == kind), "")
    return location.other(plural, name, namespace) if plural else None


def page_address(
    cluster: int,
    item: Mapping[str, Any],
) -> str:
    """The page of an object that answers name by "kind", "namespace" and "name" alone."""
    target = resolve_reference(Location(cluster, "", item["namespace"], ""), item)
    if target:
        return target.address
    if not item["kind"] or not item["name"]:
        return ""
    # The page of a custom kind is found by the kind's own name.
    return Location(cluster, item["kind"].lower(), item["namespace"], item["name"]).address
