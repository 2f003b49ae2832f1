"""Resolves any name of a kind to the one in console addresses: `pods`, `widgets.v1.example.com`."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext as _

from clusters.kinds import KINDS, Kind, is_place_of, lookup_kind, parse_reference
from console.api_client import ApiRefusal, call

MAX_DEFINITIONS = 1000


def canonical_name(request: HttpRequest, cluster: object, text: str) -> str:
    """The name in console addresses of the kind that `text` names in a cluster; "" for none.

    Full names win over short names, and built-in kinds over custom ones, as in the API.
    Raises ApiRefusal (400), listing the groups, when several kinds match.
    """
    table_kind = lookup_kind(text)
    name, place = parse_reference(text)
    if table_kind and name in table_kind.names:
        return table_kind.plural
    # The store answers at once; the cluster's own definitions are the slower second source.
    for kinds in (_collected_kinds, _defined_kinds):
        matching = [kind for kind in kinds(request, cluster) if is_place_of(kind, place)]
        by_name = [kind for kind in matching if name in (kind.plural, kind.name.lower())]
        by_alias = [kind for kind in matching if name in kind.names]
        if by_name or (by_alias and not table_kind):
            return _require_single(text, by_name or by_alias)
    return table_kind.plural if table_kind else ""


def _require_single(text: str, kinds: Iterable[Kind]) -> str:
    references = {(kind.group, kind.plural): _address_name(kind) for kind in reversed([*kinds])}
    if len(references) > 1:
        choices = ", ".join(sorted(f"{plural}.{group}" for group, plural in references))
        message = _("%(name)s is in several groups: name one of %(choices)s.")
        raise ApiRefusal(1001, message % {"name": text[:80], "choices": choices}, {}, 400)
    return next(iter(references.values()))


def _address_name(kind: Kind) -> str:
    table_kind = KINDS.get(kind.plural)
    if table_kind and table_kind.group == kind.group:
        return kind.plural
    return f"{kind.plural}.{kind.version}.{kind.group}"


def _collected_kinds(request: HttpRequest, cluster: object) -> Iterator[Kind]:
    """What the collector has seen there."""
    for row in call(request, "GET", f"clusters/{cluster}/sync").data["kinds"]:
        if row["group"] or row["plural"] in KINDS:
            names = tuple(str(name) for name in row["aliases"])
            yield Kind(row["kind"], row["plural"], row["group"], row["version"], aliases=names)


def _defined_kinds(request: HttpRequest, cluster: object) -> Iterator[Kind]:
    """The kinds of the cluster's CustomResourceDefinitions, as far as the person may see them.

    Each is listed in every served version, the storage version first.
    """
    query = {"cluster_id": cluster, "pageSize": MAX_DEFINITIONS}
    try:
        items = call(request, "GET", "customresourcedefinitions", query=query).data["items"]
    except ApiRefusal:
        # Definitions are cluster-wide: a person with grants on namespaces may not list them.
        return
    for item in items:
        yield from _kinds_of_definition(item.get("spec") or {})


def _kinds_of_definition(definition: Mapping[str, Any]) -> Iterator[Kind]:
    names = definition.get("names") or {}
    aliases = [names.get("singular"), *(names.get("shortNames") or [])]
    versions = [version for version in definition.get("versions") or [] if version.get("served")]
    for version in sorted(versions, key=lambda version: not version.get("storage")):
        yield Kind(
            str(names.get("kind")),
            str(names.get("plural")),
            str(definition.get("group")),
            str(version.get("name")),
            aliases=tuple(str(alias).lower() for alias in aliases if alias),
        )
