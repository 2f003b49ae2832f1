"""Which kinds a cluster serves."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from clusters.kinds import KINDS, Kind, custom
from clusters.streams import StreamClient
from core.errors import DomainError, Forbidden, Invalid, NotFound

# The same objects as the core group's.
_TWINS = frozenset({("events.k8s.io", "events")})
_KIND = re.compile(r"[A-Za-z][A-Za-z0-9]{0,62}\Z")


@dataclass(frozen=True, slots=True)
class ServedKinds:
    """What a cluster serves; `unknown` groups did not answer, so nothing is known about their kinds."""

    kinds: tuple[Kind, ...]
    unknown: frozenset[str] = frozenset()


async def discover(client: StreamClient, exclude: Collection[str]) -> ServedKinds:
    """Every kind that can be listed and watched, each in one version; `exclude` names `plural` or `plural.group`."""
    groups = await client.json("GET", "/apis")
    found: dict[tuple[str, str], Kind] = {}
    unknown: set[str] = set()
    for group, versions in [("", ["v1"]), *_versions(groups)]:
        for version in versions:
            try:
                served = await client.json(
                    "GET", f"/apis/{group}/{version}" if group else f"/api/{version}"
                )
            except NotFound:
                continue
            except Forbidden:
                raise
            except DomainError:
                if not group:
                    raise
                unknown.add(group)
                continue
            for kind in _kinds(served, group, version):
                found.setdefault((kind.group, kind.plural), kind)
    left_out = frozenset(exclude)
    wanted = [
        kind
        for key, kind in found.items()
        if key not in _TWINS and not left_out & {kind.plural, f"{kind.plural}.{kind.group}"}
    ]
    return ServedKinds(tuple(wanted), frozenset(unknown))


def _versions(groups: Any) -> list[tuple[str, list[str]]]:
    """(group, versions) with the version of our own table first, then the preferred one."""
    return [(group["name"], _in_order(group)) for group in groups.get("groups") or []]


def _in_order(group: Any) -> list[str]:
    served = [item["version"] for item in group["versions"]]
    ours = [kind.version for kind in KINDS.values() if kind.group == group["name"]]
    preferred = (group.get("preferredVersion") or {}).get("version", "")
    first = [version for version in (*ours, preferred) if version in served]
    return list(dict.fromkeys([*first, *served]))


def _kinds(served: Any, group: str, version: str) -> list[Kind]:
    kinds = []
    for item in served.get("resources") or []:
        name, plural = str(item.get("kind", "")), str(item.get("name", ""))
        if (
            "/" in plural
            or not {"list", "watch"} <= set(item.get("verbs") or [])
            or not _KIND.match(name)
        ):
            continue
        try:
            kind = custom(
                group,
                version,
                plural,
                name=name,
                namespaced=bool(item.get("namespaced")),
                aliases=_aliases(item),
            )
        except Invalid:
            continue
        kinds.append(kind)
    return kinds


def _aliases(item: Any) -> tuple[str, ...]:
    """Singular and short names of a served resource."""
    names = [item.get("singularName"), *(item.get("shortNames") or [])]
    return tuple(name.lower() for name in names if isinstance(name, str) and name)
