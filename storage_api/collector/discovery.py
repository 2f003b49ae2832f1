"""Which kinds a cluster serves."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from clusters.kinds import KINDS, Kind, custom_kind
from clusters.streams import StreamClient
from core.errors import DomainError, Forbidden, Invalid, NotFound

# These are the same objects as the core group's: collecting them would store each Event twice.
_CORE_DUPLICATES = frozenset({("events.k8s.io", "events")})
_KIND_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]{0,62}\Z")


@dataclass(frozen=True, slots=True)
class ServedKinds:
    """The kinds that a cluster serves.

    Groups in `unknown` did not answer, so their kinds may be served or not.
    """

    kinds: tuple[Kind, ...]
    unknown: frozenset[str] = frozenset()


async def discover(client: StreamClient, exclude: Collection[str]) -> ServedKinds:
    """Every kind that can be listed and watched, each in one version.

    `exclude` names kinds to leave out, as `plural` or `plural.group`.
    Raises the domain error when the cluster, or its core group, does not answer.
    """
    groups = await client.json("GET", "/apis")
    served: dict[tuple[str, str], Kind] = {}
    unknown: set[str] = set()
    for group, versions in [("", ["v1"]), *_group_versions(groups)]:
        for version in versions:
            path = f"/apis/{group}/{version}" if group else f"/api/{version}"
            try:
                resources = await client.json("GET", path)
            except NotFound:
                continue
            except Forbidden:
                raise
            except DomainError:
                if not group:
                    raise
                # An aggregated API whose server is down; the other groups are still collected.
                unknown.add(group)
                continue
            for kind in _watchable_kinds(resources, group, version):
                # Versions come in order of preference: the first that serves a kind is used.
                served.setdefault((kind.group, kind.plural), kind)
    excluded = frozenset(exclude)
    kinds = []
    for key, kind in served.items():
        is_excluded = excluded & {
            kind.plural,
            f"{kind.plural}.{kind.group}",
        }
        if key not in _CORE_DUPLICATES and not is_excluded:
            kinds.append(kind)
    return ServedKinds(tuple(kinds), frozenset(unknown))


def _group_versions(groups: Any) -> list[tuple[str, list[str]]]:
    """[(group, its versions in order of preference) …] of an APIGroupList."""
    return [(group["name"], _preferred_versions(group)) for group in groups.get("groups") or []]


def _preferred_versions(group: Any) -> list[str]:
    """A group's versions: that of our own table of kinds, then the preferred one, then others."""
    served = [entry["version"] for entry in group["versions"]]
    in_table = [kind.version for kind in KINDS.values() if kind.group == group["name"]]
    preferred = (group.get("preferredVersion") or {}).get("version", "")
    first = [version for version in (*in_table, preferred) if version in served]
    return list(dict.fromkeys([*first, *served]))


def _watchable_kinds(resources: Any, group: str, version: str) -> list[Kind]:
    """The kinds of an APIResourceList that can be listed and watched."""
    kinds = []
    for resource in resources.get("resources") or []:
        name = str(resource.get("kind", ""))
        plural = str(resource.get("name", ""))
        is_subresource = "/" in plural
        can_watch = {"list", "watch"} <= set(resource.get("verbs") or [])
        if is_subresource or not can_watch or not _KIND_NAME.match(name):
            continue
        try:
            kind = custom_kind(
                group,
                version,
                plural,
                name=name,
                namespaced=bool(resource.get("namespaced")),
                aliases=_aliases(resource),
            )
        except Invalid:
            # A name that no URL of ours can hold; the other kinds are still collected.
            continue
        kinds.append(kind)
    return kinds


def _aliases(resource: Any) -> tuple[str, ...]:
    """Singular and short names of a served resource, in lower case."""
    names = [
        resource.get("singularName"),
        *(resource.get("shortNames") or []),
    ]
    return tuple(name.lower() for name in names if isinstance(name, str) and name)
