"""The columns that a custom kind names for itself (additionalPrinterColumns of its definition), as kubectl shows them.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#additional-printer-columns
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from django.core.cache import cache
from django.http import HttpRequest

from console.api_client import Refused, call
from console.rendering import columns as tables
from console.rendering import html
from console.rendering.columns import Cell, Column, Sight
from console.rendering.health import Object, rows

REMEMBERED = 60
MOST = 8
STEP = re.compile(
    r"""\.(?P<name>[\w/-]+(?:\\\.[\w/-]+)*)|\[(?P<index>\d+|\*)\]|\['(?P<quoted>[^']+)'\]"""
    r"""|\[\?\(@\.(?P<key>[\w.]+)\s*==\s*["'](?P<value>[^"']*)["']\)\]"""
)


def columns(request: HttpRequest, cluster: int, plural: str) -> Sequence[Column]:
    """What the definition names, then the age; the columns of unknown kinds when it names none or may not be read."""
    name, _, rest = plural.partition(".")
    version, _, group = rest.partition(".")
    own = [_column(one) for one in _named(request, cluster, f"{name}.{group}", version)]
    return (*own, tables.AGE) if own else tables.of(plural)


def _named(
    request: HttpRequest, cluster: int, definition: str, version: str
) -> list[dict[str, Any]]:
    """The columns out of the definition, remembered by the session for a minute."""
    key = f"console-columns:{request.session.session_key}:{cluster}:{definition}:{version}"
    found: list[dict[str, Any]] | None = cache.get(key)
    if found is None:
        try:
            item = call(
                request,
                "GET",
                f"customresourcedefinitions/{definition}",
                query={"cluster_id": cluster},
            ).data
        except Refused:
            item = {}
        served = next(
            (
                one
                for one in rows((item.get("spec") or {}).get("versions"))
                if one.get("name") == version
            ),
            {},
        )
        named = rows(served.get("additionalPrinterColumns"))
        found = [
            dict(one)
            for one in named
            if not one.get("priority") and one.get("jsonPath") != ".metadata.creationTimestamp"
        ][:MOST]
        cache.set(key, found, REMEMBERED)
    return found


def _column(named: Mapping[str, Any]) -> Column:
    path, number = str(named.get("jsonPath", "")), named.get("type") in ("integer", "number")
    return Column(
        html.clean(named.get("name", "")),
        _cell(path, str(named.get("type"))),
        right=number or named.get("type") == "date",
    )


def _cell(path: str, kind: str) -> Cell:
    def shown(item: Object, sight: Sight) -> str:
        found = at(item, path)
        if kind == "date" and found:
            return html.age(str(found[0]), sight.zone, sight.now)
        return html.code(
            ", ".join(str(one).lower() if isinstance(one, bool) else str(one) for one in found)
        )

    return shown


def at(item: Any, path: str) -> list[Any]:
    """What a simple JSONPath reaches: names, indexes, `[*]` and `[?(@.key=="value")]`; nothing for what is not understood."""
    found, place = [item], 0
    while place < len(path):
        step = STEP.match(path, place)
        if step is None:
            return []
        found = [inner for one in found for inner in _inside(one, step)]
        place = step.end()
    return [one for one in found if one is not None]


def _inside(item: Any, step: "re.Match[str]") -> list[Any]:
    if name := step["name"] or step["quoted"]:
        return (
            [item[name.replace("\\.", ".")]]
            if isinstance(item, Mapping) and name.replace("\\.", ".") in item
            else []
        )
    if not isinstance(item, list):
        return []
    if step["index"]:
        return item if step["index"] == "*" else item[int(step["index"]) :][:1]
    return [one for one in item if at(one, f".{step['key']}") == [step["value"]]]
