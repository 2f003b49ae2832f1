"""The columns of a custom kind: additionalPrinterColumns of its definition, as kubectl shows them.

See "Additional printer columns" in the documentation of CustomResourceDefinitions:
https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from django.core.cache import cache
from django.http import HttpRequest

from console.api_client import ApiRefusal, call
from console.rendering import columns, html
from console.rendering.columns import Cell, RenderContext, TableColumn
from console.rendering.health import Object, rows

CACHE_SECONDS = 60
MAX_COLUMNS = 8
STEP = re.compile(
    r"""\.(?P<name>[\w/-]+(?:\\\.[\w/-]+)*)|\[(?P<index>\d+|\*)\]|\['(?P<quoted>[^']+)'\]"""
    r"""|\[\?\(@\.(?P<key>[\w.]+)\s*==\s*["'](?P<value>[^"']*)["']\)\]"""
)


def columns_of_custom_kind(
    request: HttpRequest,
    cluster: int,
    plural: str,
) -> Sequence[TableColumn]:
    """The columns of the definition, then the age.

    Those of an unknown kind when it has none, or when the person may not read the definition.
    """
    name, _, rest = plural.partition(".")
    version, _, group = rest.partition(".")
    own = [
        _table_column(definition)
        for definition in _definition_columns(request, cluster, f"{name}.{group}", version)
    ]
    return (*own, columns.AGE) if own else columns.for_kind(plural)


def _definition_columns(
    request: HttpRequest,
    cluster: int,
    definition: str,
    version: str,
) -> list[dict[str, Any]]:
    """The columns out of the definition, remembered by the session for a minute."""
    key = f"console-columns:{request.session.session_key}:{cluster}:{definition}:{version}"
    visible_columns: list[dict[str, Any]] | None = cache.get(key)
    if visible_columns is None:
        try:
            item = call(
                request,
                "GET",
                f"customresourcedefinitions/{definition}",
                query={"cluster_id": cluster},
            ).data
        except ApiRefusal:
            item = {}
        versions = rows((item.get("spec") or {}).get("versions"))
        served = next((entry for entry in versions if entry.get("name") == version), {})
        visible_columns = []
        for entry in rows(served.get("additionalPrinterColumns")):
            # kubectl shows columns with a priority only with `-o wide`; the age has its own column.
            is_age = entry.get("jsonPath") == ".metadata.creationTimestamp"
            if not entry.get("priority") and not is_age:
                visible_columns.append(dict(entry))
        visible_columns = visible_columns[:MAX_COLUMNS]
        cache.set(key, visible_columns, CACHE_SECONDS)
    return visible_columns


def _table_column(named: Mapping[str, Any]) -> TableColumn:
    path = str(named.get("jsonPath", ""))
    number = named.get("type") in ("integer", "number")
    return TableColumn(
        html.clean(named.get("name", "")),
        _path_cell(path, str(named.get("type"))),
        right=number or named.get("type") == "date",
    )


def _path_cell(path: str, kind: str) -> Cell:
    def render(item: Object, context: RenderContext) -> str:
        values = evaluate_path(item, path)
        if kind == "date" and values:
            return html.age(str(values[0]), context.zone, context.now)
        # Booleans as kubectl prints them.
        texts = [str(value).lower() if isinstance(value, bool) else str(value) for value in values]
        return html.code(", ".join(texts))

    return render


def evaluate_path(item: Any, path: str) -> list[Any]:
    """The values at a simple JSONPath: names, indexes, `[*]` and `[?(@.key=="value")]`.

    [] for a path with anything else in it.
    """
    values = [item]
    position = 0
    while position < len(path):
        step = STEP.match(path, position)
        if step is None:
            return []
        values = [inner for value in values for inner in _apply_step(value, step)]
        position = step.end()
    return [value for value in values if value is not None]


def _apply_step(item: Any, step: "re.Match[str]") -> list[Any]:
    name = step["name"] or step["quoted"]
    if name:
        # `\.` is a dot inside a name, as in annotations.
        key = name.replace("\\.", ".")
        return [item[key]] if isinstance(item, Mapping) and key in item else []
    if not isinstance(item, list):
        return []
    if step["index"]:
        return item if step["index"] == "*" else item[int(step["index"]) :][:1]
    return [
        element for element in item if evaluate_path(element, f".{step['key']}") == [step["value"]]
    ]
