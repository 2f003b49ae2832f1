"""One kind in all clusters, and everything that fails in them: out of the store, in pages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from clusters.kinds import KINDS, KINDS_WITH_PROBLEMS
from console import navigation, object_alerts, permissions, preferences
from console.api_client import call
from console.locations import find_kind
from console.page import render_page, require_sign_in
from console.rendering import columns, html
from console.rendering.columns import RenderContext, TableColumn
from console.rendering.health import Object, get
from console.views.clusters import CHECKED_KINDS, list_failing
from console.views.tables import (
    DESCENDING_FIRST,
    EVENT_TEXTS,
    cell_class,
    column_key,
    column_widths,
    is_checked,
    parse_whole,
    width_key,
)

PAGE_SIZE = 50
PHASES = ("Pending", "Running", "Succeeded", "Failed", "Unknown")
PARAMETERS = (
    "q",
    "namespace",
    "clusters",
    "label",
    "phase",
    "troubled",
    "warnings",
    *EVENT_TEXTS,
    "sort",
    "page",
)


@dataclass(frozen=True, slots=True)
class FleetQuery:
    """What the address of such a table asks for."""

    plural: str
    q: str = ""
    namespace: str = ""
    clusters: str = ""
    label: str = ""
    phase: str = ""
    troubled: str = ""
    warnings: str = ""
    reason: str = ""
    source: str = ""
    message: str = ""
    object_kind: str = ""
    sort: str = ""
    page: int = 1

    @classmethod
    def from_request(cls, request: HttpRequest, plural: str) -> "FleetQuery":
        """The query of a request; values that make no sense become the defaults.

        Not the order: one that does not exist is for the API to refuse.
        """
        query = request.GET
        texts = {name: query.get(name, "").strip() for name in PARAMETERS if name != "page"}
        if texts["phase"] not in PHASES:
            texts["phase"] = ""
        for name in ("troubled", "warnings"):
            texts[name] = "1" if is_checked(texts[name]) else ""
        return cls(plural, **texts, page=max(parse_whole(query.get("page"), 1), 1))

    @property
    def address(self) -> str:
        """The page without its query."""
        return f"/all/{self.plural}"

    def link(self, **changes: Any) -> str:
        """The address with some parameters changed; another order begins at the first page."""
        values = {name: getattr(self, name) for name in PARAMETERS} | {"page": 1} | changes
        values["page"] = "" if values["page"] == 1 else values["page"]
        parts = {key: value for key, value in values.items() if value}
        return self.address + (f"?{urlencode(parts)}" if parts else "")

    @property
    def is_events(self) -> bool:
        """Whether it is the table of Events, which the store keeps apart."""
        return self.plural == "events"

    @property
    def can_be_troubled(self) -> bool:
        """Whether the kind has a rule for what is a problem."""
        return self.plural in KINDS_WITH_PROBLEMS


def _api_kind(plural: str) -> str:
    """The kind as the API finds it: a custom one by plural and group."""
    if plural in KINDS:
        return plural
    kind = find_kind(plural)
    return f"{kind.plural}.{kind.group}"


def _read_objects(request: HttpRequest, fleet_query: FleetQuery) -> dict[str, Any]:
    phase = fleet_query.phase
    query = {
        "keyword": fleet_query.q,
        "namespaces": fleet_query.namespace,
        "clusters": fleet_query.clusters,
        "labelSelector": fleet_query.label,
        "fieldSelector": f"status.phase={phase}" if phase else "",
        "troubled": bool(fleet_query.troubled) or None,
        "orderby": fleet_query.sort,
        "page": fleet_query.page,
        "pageSize": PAGE_SIZE,
        "total": True,
    }
    path = f"multicluster/resources/{_api_kind(fleet_query.plural)}"
    answer: dict[str, Any] = call(request, "GET", path, query=query).data
    return answer


def _read_events(request: HttpRequest, fleet_query: FleetQuery) -> dict[str, Any]:
    query = {
        "keyword": fleet_query.q,
        "namespaces": fleet_query.namespace,
        "clusters": fleet_query.clusters,
        "type": "Warning" if fleet_query.warnings else "",
        "reason": fleet_query.reason,
        "source": fleet_query.source,
        "resource_type": fleet_query.object_kind,
        "message": fleet_query.message,
        "page": fleet_query.page,
        "pageSize": PAGE_SIZE,
    }
    answer: dict[str, Any] = call(request, "GET", "multicluster/events", query=query).data
    return answer


@require_GET
@require_sign_in
def table(request: HttpRequest, plural: str) -> HttpResponse:
    """The objects of a kind in all clusters that the person may see."""
    fleet_query = FleetQuery.from_request(request, plural)
    read = _read_events if fleet_query.is_events else _read_objects
    answer = read(request, fleet_query)
    kind = KINDS.get(plural)
    namespaced = kind is None or kind.namespaced
    choices = [(column, column_key(column)) for column in _columns(plural)]
    hidden = preferences.read(request)["hidden_columns"].get(plural, ())
    table_columns = [column for column, key in choices if key not in hidden]
    total = answer["total"]
    last_page = max((total + PAGE_SIZE - 1) // PAGE_SIZE, 1)
    number = fleet_query.page
    hidden_kinds = permissions.summarise_access(request).hidden_fleet_kinds()
    context = {
        "widths": column_widths(request, plural),
        "column_choices": [(key, column.title, key not in hidden) for column, key in choices],
        "query": fleet_query,
        "title": navigation.kind_title(plural),
        "heads": _heads(fleet_query, table_columns, namespaced),
        "rows": _rows(request, plural, answer["items"], table_columns, namespaced),
        "total": total,
        "first": (number - 1) * PAGE_SIZE + 1,
        "last": (number - 1) * PAGE_SIZE + len(answer["items"]),
        "previous": fleet_query.link(page=min(number - 1, last_page)) if number > 1 else "",
        "next": fleet_query.link(page=number + 1) if number < last_page else "",
        "problems": answer["partial_errors"],
        "truncated": answer.get("truncated", False),
        "namespaced": namespaced,
        "phases": PHASES if plural == "pods" else (),
        "kind_choices": [
            (name, navigation.kind_title(name))
            for name in navigation.PLURALS
            if name not in hidden_kinds
        ],
        "at_fleet": True,
    }
    return render_page(request, "console/fleet.html", context)


def _columns(plural: str) -> list[TableColumn]:
    """The kind's columns, without those of use: that is measured cluster by cluster."""
    left_out = {"cpu", "memory"}
    return [column for column in columns.for_kind(plural) if column.sort not in left_out]


def _heads(fleet_query: FleetQuery, table_columns: Sequence[TableColumn], namespaced: bool) -> str:
    own = [columns.title_column(fleet_query.plural)]
    own.append(TableColumn(_("Cluster"), columns.text_cell(), sort="cluster"))
    if namespaced:
        own.append(TableColumn(_("Namespace"), columns.text_cell(), wide=True, sort="namespace"))
    return html.mark_safe("".join(_head(fleet_query, column) for column in [*own, *table_columns]))


def _head(fleet_query: FleetQuery, column: TableColumn) -> str:
    key = html.escape(width_key(column))
    opening = f'<th scope="col" data-column="{key}" class="{cell_class(column)}"'
    title = html.escape(column.title)
    # Events stand by when they happened last.
    if not column.sort or fleet_query.is_events:
        return f"{opening}>{title}</th>"
    directions = {column.sort: "ascending", f"-{column.sort}": "descending"}
    direction = directions.get(fleet_query.sort, "")
    # Ages begin with the newest, restarts with the most.
    is_first = not direction and column.sort in DESCENDING_FIRST
    reverse = direction == "ascending" or is_first
    address = html.escape(fleet_query.link(sort=f"-{column.sort}" if reverse else column.sort))
    aria = f' aria-sort="{direction}"' if direction else ""
    return f'{opening}{aria}><a href="{address}">{title}</a></th>'


def _rows(
    request: HttpRequest,
    plural: str,
    items: Sequence[Object],
    table_columns: Sequence[TableColumn],
    namespaced: bool,
) -> str:
    zone = html.zone_of(request)
    now = datetime.now(UTC)
    badges = object_alerts.badges_of_rows(request, plural, items)
    rows = []
    for item in items:
        context = RenderContext(f"/clusters/{item['cluster_id']}", zone, now)
        badge = badges.get(object_alerts.row_key(item, item["cluster_id"]))
        firing = object_alerts.row_badge(badge)
        rows.append(_row(plural, item, table_columns, context, namespaced, firing))
    return html.mark_safe("".join(rows))


def _row(
    plural: str,
    item: Mapping[str, Any],
    table_columns: Sequence[TableColumn],
    context: RenderContext,
    namespaced: bool,
    firing: str,
) -> str:
    namespace = str(get(item, "metadata", "namespace") or "")
    name = str(get(item, "metadata", "name") or "")
    place = html.path_segment(namespace) if namespace else "-"
    address = f"{context.base}/{html.path_segment(plural)}/{place}/{html.path_segment(name)}"
    cells = [
        f'<th scope="row">{html.link(address, columns.row_title(plural, item))}{firing}</th>',
        f"<td>{html.link(context.base, item['cluster_name'])}</td>",
    ]
    if namespaced:
        cells.append(f'<td class="space wide">{html.escape(namespace)}</td>')
    cells += [
        f'<td class="{cell_class(column)}">{column.render(item, context)}</td>'
        for column in table_columns
    ]
    return f"<tr>{''.join(cells)}</tr>"


@require_GET
@require_sign_in
def failing(request: HttpRequest) -> HttpResponse:
    """Everything that fails now, kind by kind, in all clusters or in one."""
    chosen = request.GET.get("cluster", "")
    context = list_failing(request, chosen, most_per_kind=PAGE_SIZE)
    groups = [
        {
            "plural": plural,
            "total": total,
            "problems": [row for row in context["problems"] if row["plural"] == plural],
        }
        for plural, total in context["totals"]
    ]
    values = {**context, "groups": groups, "at_failing": True, "checked": CHECKED_KINDS}
    return render_page(request, "console/failing.html", values)
