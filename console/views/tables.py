"""The table of every kind: filters, sorting, pages, and rows that follow the cluster."""

import hashlib
import html
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.utils import translation
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from clusters.kinds import KINDS, KINDS_WITH_PROBLEMS
from console import navigation, object_alerts, permissions, preferences, stored_copy
from console.api_client import UNREACHABLE, ApiRefusal, ApiResult, call, require_segment
from console.locations import find_kind
from console.object_alerts import BadgeMap
from console.page import is_fragment, render_page, require_sign_in, with_security_headers
from console.rendering import columns
from console.rendering import html as cells
from console.rendering.columns import Cell, RenderContext, TableColumn
from console.rendering.health import Object, get
from console.views import bulk, printer_columns
from console.views.preferences import set_namespaces
from console.views.templates import offers_template

SIZES = (50, 100, 250, 1000)
DEFAULTS = {"page": 1, "size": SIZES[0], "troubled": False}
PARAMETERS = (
    "q",
    "namespace",
    "label",
    "troubled",
    "warnings",
    "reason",
    "source",
    "message",
    "object_kind",
    "sort",
    "size",
    "page",
)
# Filters that only a table of Events has.
EVENT_TEXTS = ("reason", "source", "message", "object_kind")
MAX_LABELS = 200
DESCENDING_FIRST = ("created", "restarts", "cpu", "memory")


@dataclass(frozen=True, slots=True)
class TableQuery:
    """What the address of a table asks for."""

    cluster: int
    plural: str
    q: str = ""
    namespace: str = ""
    label: str = ""
    troubled: bool = False
    warnings: bool = False
    reason: str = ""
    source: str = ""
    message: str = ""
    object_kind: str = ""
    sort: str = ""
    size: int = SIZES[0]
    page: int = 1

    @classmethod
    def from_request(
        cls,
        request: HttpRequest,
        cluster: int,
        plural: str,
    ) -> "TableQuery":
        """The query of a request; values that make no sense become the defaults."""
        query = request.GET
        size = parse_whole(query.get("size"), SIZES[0])
        chosen = ",".join(preferences.chosen_namespaces(request, cluster))
        # What the address says wins over what the person chose for the cluster.
        namespace = query.get("namespace", chosen)
        if plural in KINDS and not KINDS[plural].namespaced:
            namespace = ""
        is_events = plural == "events"
        return cls(
            cluster,
            plural,
            **{name: query.get(name, "").strip() for name in ("q", "label", "sort")},
            warnings=is_events and is_checked(query.get("warnings")),
            **{name: query.get(name, "").strip() if is_events else "" for name in EVENT_TEXTS},
            namespace=",".join(preferences.split_namespaces(namespace)),
            troubled=is_checked(query.get("troubled")),
            size=size if size in SIZES else SIZES[0],
            page=max(parse_whole(query.get("page"), 1), 1),
        )

    @property
    def address(self) -> str:
        """The page without its query."""
        return f"/clusters/{self.cluster}/{self.plural}"

    def link(self, **changes: object) -> str:
        """The address of the same table with some parameters changed; defaults are left out."""
        # Another sort order or size begins at the first page again.
        values = {name: getattr(self, name) for name in PARAMETERS} | {"page": 1} | changes
        parameters = {
            name: value
            for name, value in values.items()
            if value not in ("", None, False) and (name, value) not in (("page", 1), ("size", 50))
        }
        return self.address + (f"?{urlencode(parameters)}" if parameters else "")

    @property
    def single_namespace(self) -> str:
        """The namespace when it is one; "" for all and for several."""
        return "" if "," in self.namespace else self.namespace

    @property
    def filtered(self) -> bool:
        """Whether anything narrows the table."""
        own = (self.q, self.namespace, self.label)
        texts = (*own, self.object_kind, self.message, self.field_selector)
        return self.troubled or any(texts)

    @property
    def field_selector(self) -> str:
        """What an Events table selects by, as a field selector; "" for other kinds."""
        event_type = "Warning" if self.warnings else ""
        return event_selector(event_type, self.reason, self.source)

    @property
    def can_be_troubled(self) -> bool:
        """Whether the kind has a rule for what is a problem."""
        return self.plural in KINDS_WITH_PROBLEMS


def event_selector(event_type: str, reason: str, source: str = "") -> str:
    """A field selector for Events of a type, a reason and a reporting component; "" is any."""
    terms = {"type": event_type, "reason": reason, "source": source}
    return ",".join(f"{path}={_escape_selector(value)}" for path, value in terms.items() if value)


def _escape_selector(value: str) -> str:
    # What a person enters stays one value.
    return re.sub(r"[\\,=]", r"\\\g<0>", value)


def is_checked(text: str | None) -> bool:
    """Whether the parameter of a checkbox is set."""
    return text in ("1", "on", "True", "true")


def parse_whole(text: str | None, default: int) -> int:
    """The whole number of a parameter; the default for anything else."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else default


def api_path(plural: str) -> str:
    """The API's path of a kind: `pods`, or `resources/{group}/{version}/{plural}`.

    Raises ApiRefusal (404) for a core kind that KubeGale does not know.
    """
    if plural in KINDS:
        return plural
    kind = find_kind(plural)
    if not kind.group:
        raise ApiRefusal(1004, plural, {}, 404)
    segments = (kind.group, kind.version, kind.plural)
    return "/".join(["resources", *(require_segment(segment) for segment in segments)])


def is_namespaced(plural: str, items: Sequence[Object] = ()) -> bool:
    """Whether a kind is namespaced; of a custom kind the first object shows it."""
    if plural in KINDS:
        return KINDS[plural].namespaced
    return not items or bool(get(items[0], "metadata", "namespace"))


@require_GET
@require_sign_in
def table(request: HttpRequest, cluster: int, plural: str) -> HttpResponse:
    """The page of a kind; for htmx the table alone, and 304 while nothing in it changed."""
    table_query = TableQuery.from_request(request, cluster, plural)
    try:
        table_query, answer = _read_table(request, table_query)
    except ApiRefusal as refusal:
        if refusal.code == UNREACHABLE:
            stored = _stored_table(request, table_query, refusal)
            if stored:
                return stored
        # 403 is the API server's: the cluster's credentials may look into some namespaces only.
        limited = refusal.details.get("status") == 403 and is_namespaced(plural)
        if refusal.code != 1001 and not limited:
            raise
        return _render_table(
            request,
            table_query,
            {
                "problem": refusal.message,
                "limited": limited,
                "rows": "",
                "total": 0,
                "heads": _header_cells(table_query, columns.for_kind(plural), True),
            },
        )
    items = answer.data["items"]
    usage = _read_usage(request, table_query, items)
    badges = object_alerts.badges_of_rows(request, plural, items, cluster=cluster)
    mark = _etag(request, table_query, answer.data, usage, badges)
    if request.headers.get("If-None-Match") == mark:
        return with_security_headers(request, HttpResponse(status=304, headers={"ETag": mark}))
    response = _render_table(
        request,
        table_query,
        _table_context(request, table_query, answer.data, usage, badges),
    )
    response["ETag"] = mark
    # Who chooses a namespace above one table wants it in the next one too.
    if request.headers.get("HX-Trigger") == "filters" and "namespace" in request.GET:
        set_namespaces(response, cluster, table_query.namespace)
    return response


def _stored_table(
    request: HttpRequest,
    table_query: TableQuery,
    refusal: ApiRefusal,
) -> HttpResponse | None:
    """The store's copy of a table, with its age, while the cluster does not answer.

    None when there is no copy.
    """
    kind = find_kind(table_query.plural)
    reference = f"{kind.plural}.{kind.group}" if kind.group else kind.plural
    query = {
        "clusters": table_query.cluster,
        "namespaces": table_query.namespace,
        "keyword": table_query.q,
        "labelSelector": table_query.label,
        "troubled": table_query.troubled or None,
        "pageSize": table_query.size,
        "total": True,
    }
    age = stored_copy.copy_age(request, table_query.cluster, kind)
    # What was never collected is not empty: it is unknown.
    if age is None:
        return None
    try:
        data = call(request, "GET", f"multicluster/resources/{reference}", query=query).data
    except ApiRefusal:
        return None
    badges = object_alerts.badges_of_rows(
        request,
        table_query.plural,
        data["items"],
        cluster=table_query.cluster,
    )
    context = _table_context(request, table_query, data, {}, badges)
    # The store pages by cursors: its first page is shown, and filters narrow it.
    context |= {
        "copy_age": cells.short_age(age),
        "problem": refusal.message,
        "next": "",
        "previous": "",
    }
    return _render_table(request, table_query, context)


def _read_table(request: HttpRequest, table_query: TableQuery) -> tuple[TableQuery, ApiResult]:
    """(the query that was answered, the API's answer)."""
    path = api_path(table_query.plural)
    try:
        return table_query, call(request, "GET", path, query=_api_query(table_query))
    except ApiRefusal as refusal:
        # What another person chose in this browser, or a namespace whose grant has ended.
        is_kept = bool(table_query.namespace) and "namespace" not in request.GET
        if not is_kept or refusal.code not in (1003, 1005):
            raise
        everywhere = replace(table_query, namespace="")
        return everywhere, call(request, "GET", path, query=_api_query(everywhere))


def _api_query(table_query: TableQuery) -> dict[str, Any]:
    return {
        "cluster_id": table_query.cluster,
        "namespace": table_query.single_namespace,
        "namespace_in": "" if table_query.single_namespace else table_query.namespace,
        "keyword": table_query.q,
        "labelSelector": table_query.label,
        "fieldSelector": table_query.field_selector,
        "resource_type": table_query.object_kind,
        "message": table_query.message,
        "orderby": table_query.sort,
        "troubled": table_query.troubled or None,
        "page": table_query.page,
        "pageSize": table_query.size,
    }


def _read_usage(
    request: HttpRequest,
    table_query: TableQuery,
    items: Sequence[Object],
) -> dict[str, Any]:
    """What the page's objects use, by `columns.usage_key`; {} for kinds that use nothing."""
    plural = table_query.plural
    if plural not in columns.KINDS_WITH_USAGE or not items:
        return {}
    keys = ",".join(columns.usage_key(item) for item in items)
    query = {
        "cluster_id": table_query.cluster,
        "namespace": table_query.single_namespace,
        "by": plural,
        "names": keys,
    }
    try:
        rows = call(request, "GET", "metrics/usage", query=query).data["items"]
    except ApiRefusal:
        # The table itself was readable: without usage its cells show dashes.
        return {}
    return {f"{row['namespace']}/{row['name']}".lstrip("/"): row for row in rows}


def _etag(
    request: HttpRequest,
    table_query: TableQuery,
    data: Mapping[str, Any],
    usage: Mapping[str, Any],
    badges: BadgeMap,
) -> str:
    """An ETag that changes exactly when a row, or what is said beside it, is another one."""
    versions = []
    for item in data["items"]:
        uid = get(item, "metadata", "uid")
        versions.append(f"{uid}:{get(item, 'metadata', 'resourceVersion')}")
    # The language is part of it: the same rows look different in another one.
    hidden = preferences.read(request)["hidden_columns"].get(table_query.plural)
    marks = sorted((key, badge.mark) for key, badge in badges.items())
    beside = repr((data["total"], usage, hidden, marks))
    parts = [str(table_query), request.LANGUAGE_CODE, beside, *versions]
    fingerprint = "\n".join(parts)
    return f'"{hashlib.sha256(fingerprint.encode()).hexdigest()[:32]}"'


def _render_table(
    request: HttpRequest,
    table_query: TableQuery,
    content: Mapping[str, Any],
) -> HttpResponse:
    context = {
        "table_query": table_query,
        "bulk": bulk.bulk_buttons(table_query.plural),
        "cluster_id": table_query.cluster,
        "title": navigation.kind_title(table_query.plural),
        "kind": navigation.kind_name(table_query.plural),
        "widths": column_widths(request, table_query.plural),
        # A part of a page is rendered without the frame, which knows it too.
        "may": permissions.summarise_access(request, table_query.cluster),
    }
    part = is_fragment(request) and request.headers.get("HX-Target") == "table"
    if not part:
        context["may_template"] = offers_template(request, table_query.cluster, table_query.plural)
    return render_page(
        request,
        "console/parts/table.html" if part else "console/table.html",
        {**context, **content},
    )


def _table_context(
    request: HttpRequest,
    table_query: TableQuery,
    data: Mapping[str, Any],
    usage: Mapping[str, Any],
    badges: BadgeMap,
) -> dict[str, Any]:
    items = data["items"]
    total = data["total"]
    context = RenderContext(
        f"/clusters/{table_query.cluster}",
        cells.zone_of(request),
        datetime.now(UTC),
        usage,
        cells.escape(_("Actions")),
    )
    plural = table_query.plural
    namespaced = is_namespaced(plural, items)
    table_columns = columns.for_kind(plural)
    if plural not in KINDS:
        table_columns = printer_columns.columns_of_custom_kind(request, table_query.cluster, plural)
    hidden = set(preferences.read(request)["hidden_columns"].get(plural, ()))
    choices = [(column, column_key(column)) for column in table_columns]
    table_columns = [column for column, key in choices if key not in hidden]
    number = table_query.page
    size = table_query.size
    last_page = max((total + size - 1) // size, 1)
    offset = (number - 1) * size
    # From a page beyond the end, `previous` leads to the last one.
    previous = table_query.link(page=min(number - 1, last_page)) if number > 1 else ""
    following = table_query.link(page=number + 1) if number < last_page else ""
    return {
        "heads": _header_cells(table_query, table_columns, namespaced),
        "rows": _body_rows(
            plural,
            items,
            table_columns,
            context,
            namespaced,
            _cells_of_alerts(badges),
        ),
        "total": total,
        "column_choices": [(key, column.title, key not in hidden) for column, key in choices],
        "namespaced": namespaced,
        "first": offset + 1 if items else 0,
        "last": offset + len(items),
        "previous": previous,
        "next": following,
        "sizes": [(choice, table_query.link(size=choice), choice == size) for choice in SIZES],
        "labels": _label_options(items),
        "clear": table_query.address,
    }


def column_key(column: TableColumn) -> str:
    """The name of a column in preferences: its English title, whatever language it is shown in."""
    with translation.override("en"):
        return str(column.title)


def _label_options(items: Sequence[Object]) -> str:
    """The labels of the page's objects, as options of the label filter."""
    labels = set()
    for item in items:
        pairs = get(item, "metadata", "labels")
        if isinstance(pairs, dict):
            labels |= {f"{key}={value}" for key, value in pairs.items()}
    options = [f'<option value="{cells.escape(label)}">' for label in sorted(labels)[:MAX_LABELS]]
    return cells.mark_safe("".join(options))


def _header_cells(
    table_query: TableQuery,
    table_columns: Sequence[TableColumn],
    namespaced: bool,
) -> str:
    """The header cells; a column that the API can sort by links to that order, or reverses it."""
    own = [columns.title_column(table_query.plural)]
    if namespaced:
        own.append(TableColumn(_("Namespace"), columns.text_cell(), wide=True, sort="namespace"))
    return cells.mark_safe(
        "".join(_header_cell(table_query, column) for column in [*own, *table_columns])
    )


def _header_cell(table_query: TableQuery, column: TableColumn) -> str:
    style = cell_class(column)
    title = cells.escape(column.title)
    opening = f'<th scope="col" data-column="{cells.escape(width_key(column))}"'
    opening += f' class="{style}"' if style else ""
    if not column.sort:
        return f"{opening}>{title}</th>"
    directions = {column.sort: "ascending", f"-{column.sort}": "descending"}
    direction = directions.get(table_query.sort, "")
    # The first click sorts ages and restarts with the newest and the most on top.
    descending_first = not direction and column.sort in DESCENDING_FIRST
    descending_next = direction == "ascending" or descending_first
    next_sort = f"-{column.sort}" if descending_next else column.sort
    link = html.escape(table_query.link(sort=next_sort))
    aria_sort = f' aria-sort="{direction}"' if direction else ""
    return f'{opening}{aria_sort}><a href="{link}" hx-get="{link}">{title}</a></th>'


def width_key(column: TableColumn) -> str:
    """The name of a column where its width is kept: the same in every language."""
    return column.sort or column_key(column)


def column_widths(request: HttpRequest, plural: str) -> str:
    """The widths that the person gave a kind's columns, as JSON for the table's script."""
    return json.dumps(preferences.read(request)["column_widths"].get(plural, {}))


def cell_class(column: TableColumn) -> str:
    """The CSS classes of a column's cells."""
    names = {
        "wide": column.wide,
        "right": column.right,
        "spare": column.spare,
        "rest": column.stretches,
    }
    return " ".join(name for name, applies in names.items() if applies)


def _cells_of_alerts(badges: BadgeMap) -> dict[tuple[str, str], tuple[str, str]]:
    """(namespace, name) of a row -> (a mark that changes with its badge, the badge)."""
    return {
        (namespace, name): (badge.mark, object_alerts.row_badge(badge))
        for (_cluster, namespace, name), badge in badges.items()
    }


def _body_rows(
    plural: str,
    items: Sequence[Object],
    table_columns: Sequence[TableColumn],
    context: RenderContext,
    namespaced: bool,
    alerts: Mapping[tuple[str, str], tuple[str, str]],
) -> str:
    """All rows; by key and version the page's script replaces only rows that changed."""
    base = f"{context.base}/{cells.path_segment(plural)}/"
    # Opening tags are made once for all rows: a page has up to a thousand of them.
    opened = []
    for column in table_columns:
        style = cell_class(column)
        opened.append((f'<td class="{style}">' if style else "<td>", column.render))
    return cells.mark_safe(
        "".join(
            _body_row(
                base,
                item,
                opened,
                context,
                plural=plural,
                namespaced=namespaced,
                alerts=alerts,
            )
            for item in items
        )
    )


def _body_row(
    base: str,
    item: Object,
    opened: Sequence[tuple[str, Cell]],
    context: RenderContext,
    *,
    plural: str,
    namespaced: bool,
    alerts: Mapping[tuple[str, str], tuple[str, str]],
) -> str:
    # As texts: an agent may have stored anything under these members.
    plain_name = str(get(item, "metadata", "name") or "")
    plain_space = str(get(item, "metadata", "namespace") or "")
    name = cells.escape(plain_name)
    space = cells.escape(plain_space)
    parent = cells.path_segment(plain_space) if namespaced else "-"
    address = f"{base}{parent}/{cells.path_segment(plain_name)}"
    key = f"{space}/{name}" if namespaced else name
    rest = "".join([f"{opening}{cell(item, context)}</td>" for opening, cell in opened])
    title = cells.escape(columns.row_title(plural, item))
    version = cells.escape(get(item, "metadata", "resourceVersion") or "")
    used = context.usage.get(columns.usage_key(item))
    # Apart from the version: numbers that move do not make a row one that changed.
    mark = (
        f' data-used="{used["cpu"]["used_cores"]}/{used["memory"]["used_bytes"]}"' if used else ""
    )
    firing = ""
    if alerts:
        state, firing = alerts.get((plain_space, plain_name), ("", ""))
        mark += f' data-alerts="{state}"'
    return (
        f'<tr data-row="{key}" data-version="{version}"{mark}>'
        f'<td class="pick"><input type="checkbox" name="row" value="{key}" aria-label="{key}">'
        f'<button type="button" class="icon" data-menu aria-haspopup="true" '
        f'aria-label="{context.actions} {key}">⋯</button></td>'
        f'<th scope="row"><a href="{address}">{title}</a>{firing}'
        + (
            f'<small class="only-narrow">{space}</small></th><td class="space">{space}</td>'
            if namespaced
            else "</th>"
        )
        + f"{rest}</tr>"
    )


@require_GET
@require_sign_in
def namespaces(request: HttpRequest, cluster: int) -> HttpResponse:
    """The options of a namespace picker."""
    chosen = request.GET.get("chosen", "")
    several = preferences.split_namespaces(chosen)
    names = stored_copy.list_namespaces(request, cluster, several)
    context = {"names": names, "chosen": chosen, "several": several if len(several) > 1 else []}
    return render_page(request, "console/parts/namespaces.html", context)
