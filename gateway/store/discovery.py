"""Discovery out of the store: the kinds that were collected, with the verbs that the store has."""

from collections.abc import Iterable, Sequence
from typing import Any

from clusters.models import Cluster
from gateway.store.kinds import StoredKind, view_verbs
from gateway.store.negotiation import MediaType
from gateway.store.views import StoreView

Document = dict[str, Any]


def api_versions() -> Document:
    """/api."""
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [],
    }


def _versions_by_group(kinds: Iterable[StoredKind]) -> dict[str, list[str]]:
    versions: dict[str, list[str]] = {}
    for stored in kinds:
        known = versions.setdefault(stored.kind.group, [])
        if stored.kind.version not in known:
            known.append(stored.kind.version)
    return versions


def _group(name: str, versions: Sequence[str]) -> Document:
    entries = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": entries, "preferredVersion": entries[0]}


def group_list(kinds: Iterable[StoredKind]) -> Document:
    """/apis."""
    groups = [
        _group(
            name,
            versions,
        )
        for name, versions in _versions_by_group(kinds).items()
        if name
    ]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def group(kinds: Iterable[StoredKind], name: str) -> Document | None:
    """/apis/{group}; None when no kind is in it."""
    versions = _versions_by_group(kinds).get(name)
    if not versions:
        return None
    return {
        "kind": "APIGroup",
        "apiVersion": "v1",
        **_group(
            name,
            versions,
        ),
    }


def resource_list(
    kinds: Iterable[StoredKind], group_name: str, version: str, view: StoreView
) -> Document | None:
    """/api/v1 and /apis/{group}/{version}; None when no kind is in it."""
    resources = []
    for stored in kinds:
        kind = stored.kind
        if (kind.group, kind.version) != (group_name, version):
            continue
        resource: Document = {
            "name": kind.plural,
            "singularName": kind.name.lower(),
            "namespaced": kind.namespaced,
            "kind": kind.name,
            "verbs": view_verbs(stored, view),
        }
        if stored.short_names:
            resource["shortNames"] = stored.short_names
        if stored.categories:
            resource["categories"] = stored.categories
        resources.append(resource)
    if not resources and group_name:
        return None
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{group_name}/{version}" if group_name else version,
        "resources": resources,
    }


def aggregated(
    kinds: Iterable[StoredKind], media: MediaType, view: StoreView, *, core: bool
) -> Document:
    """/api (`core`) and /apis as an APIGroupDiscoveryList, which has everything in one answer."""
    groups: dict[str, dict[str, list[Document]]] = {}
    for stored in kinds:
        if (not stored.kind.group) is core:
            versions = groups.setdefault(stored.kind.group, {})
            versions.setdefault(stored.kind.version, []).append(
                _discovered(
                    stored,
                    view,
                )
            )
    items = []
    for name, versions in groups.items():
        entries = [
            {"version": version, "resources": resources, "freshness": "Current"}
            for version, resources in versions.items()
        ]
        items.append({"metadata": {"name": name} if name else {}, "versions": entries})
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"apidiscovery.k8s.io/{media.version}",
        "metadata": {},
        "items": items,
    }


def _discovered(stored: StoredKind, view: StoreView) -> Document:
    kind = stored.kind
    resource: Document = {
        "resource": kind.plural,
        "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.name},
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.name.lower(),
        "verbs": view_verbs(stored, view),
    }
    if stored.short_names:
        resource["shortNames"] = stored.short_names
    if stored.categories:
        resource["categories"] = stored.categories
    return resource


def version(clusters: Sequence[Cluster]) -> Document:
    """/version: that of the cluster; of a fleet the oldest, which all of it speaks."""
    texts = [cluster.version for cluster in clusters if cluster.version]
    oldest = min(texts, key=_version_key, default="v0.0.0")
    major, minor, *_ = [*oldest.removeprefix("v").split("."), "0"]
    return {
        "major": major,
        "minor": minor,
        "gitVersion": oldest if oldest.startswith("v") else f"v{oldest}",
        "gitCommit": "",
        "gitTreeState": "",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "",
        "platform": "",
    }


def _version_key(text: str) -> tuple[int, ...]:
    numbers = []
    for part in text.removeprefix("v").split("."):
        digits = "".join(character for character in part if character.isdigit())
        numbers.append(int(digits or 0))
    return tuple(numbers)
