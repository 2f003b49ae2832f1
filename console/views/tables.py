"""A table for every kind: filter, labels, namespace, sort, pages, and rows that follow the cluster."""

import hashlib
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from clusters.kinds import KINDS, KINDS_WITH_PROBLEMS
from console import navigation
from console.api_client import Refused, call, quoted
from console.locations import kind_of
from console.page import is_fragment, page, sealed, signed_in
from console.rendering import columns
from console.rendering import html as cells
from console.rendering.columns import Cell, Column, Sight
from console.rendering.health import Object, get
from console.views import bulk, printer_columns

SIZES = (50, 100, 250, 1000)
DEFAULTS = {"page": 1, "size": SIZES[0], "troubled": False}
KEPT = ("q", "namespace", "label", "troubled", "sort", "size", "page")
MOST_LABELS = 200
TELLING = ("created", "restarts")


@dataclass(frozen=True, slots=True)
class Wish:
    """What the address of a table asks for."""

    cluster: int
    plural: str
    q: str = ""
    namespace: str = ""
    label: str = ""
    troubled: bool = False
    sort: str = ""
    size: int = SIZES[0]
    page: int = 1

    @classmethod
    def of(cls, request: HttpRequest, cluster: int, plural: str) -> "Wish":
        """Out of the query; what makes no sense is the default."""
        query = request.GET
        size = _whole(query.get("size"), SIZES[0])
        return cls(
            cluster,
            plural,
            **{name: query.get(name, "").strip() for name in ("q", "namespace", "label", "sort")},
            troubled=query.get("troubled") in ("1", "on", "True", "true"),
            size=size if size in SIZES else SIZES[0],
            page=max(_whole(query.get("page"), 1), 1),
        )

    @property
    def address(self) -> str:
        """The page without its query."""
        return f"/clusters/{self.cluster}/{self.plural}"

    def link(self, **changes: object) -> str:
        """The same table with something changed; what is default is left out of the address."""
        values = {name: getattr(self, name) for name in KEPT} | {"page": 1} | changes
        shown = {
            name: value
            for name, value in values.items()
            if value not in ("", None) and (name, value) not in (("page", 1), ("size", 50))
        }
        return self.address + (f"?{urlencode(shown)}" if shown else "")

    @property
    def filtered(self) -> bool:
        """Whether anything narrows the table."""
        return bool(self.q or self.namespace or self.label or self.troubled)

    @property
    def can_be_troubled(self) -> bool:
        """Whether it is known of the kind what is in trouble."""
        return self.plural in KINDS_WITH_PROBLEMS


def _whole(text: str | None, default: int) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else default


def api_path(plural: str) -> str:
    """The API's address of a kind: `pods`, or `resources/{group}/{version}/{plural}` for `widgets.v1.example.com`."""
    if plural in KINDS:
        return plural
    kind = kind_of(plural)
    if not kind.group:
        raise Refused(1004, plural, {}, 404)
    return f"resources/{quoted(kind.group)}/{quoted(kind.version)}/{quoted(kind.plural)}"


def is_namespaced(plural: str, items: Sequence[Object] = ()) -> bool:
    """Whether objects of the kind live in namespaces; of custom kinds the objects themselves tell."""
    return (
        KINDS[plural].namespaced
        if plural in KINDS
        else not items or bool(get(items[0], "metadata", "namespace"))
    )


@require_GET
@signed_in
def table(request: HttpRequest, cluster: int, plural: str) -> HttpResponse:
    """The page of a kind; for htmx the table alone, and 304 while nothing in it changed."""
    wish = Wish.of(request, cluster, plural)
    try:
        answer = call(request, "GET", api_path(plural), query=_query(wish))
    except Refused as refused:
        # 403 is the API server's: the cluster's credentials may look into some namespaces only.
        limited = refused.details.get("status") == 403 and is_namespaced(plural)
        if refused.code != 1001 and not limited:
            raise
        return _shown(
            request,
            wish,
            {
                "problem": refused.message,
                "limited": limited,
                "rows": "",
                "total": 0,
                "heads": _heads(wish, columns.of(plural), True),
            },
        )
    items, total = answer.data["items"], answer.data["total"]
    mark = _mark(request, wish, items, total)
    if request.headers.get("If-None-Match") == mark:
        return sealed(request, HttpResponse(status=304, headers={"ETag": mark}))
    response = _shown(request, wish, _table(request, wish, items, total))
    response["ETag"] = mark
    return response


def _query(wish: Wish) -> dict[str, Any]:
    return {
        "cluster_id": wish.cluster,
        "namespace": wish.namespace,
        "keyword": wish.q,
        "labelSelector": wish.label,
        "orderby": wish.sort,
        "troubled": wish.troubled or None,
        "page": wish.page,
        "pageSize": wish.size,
    }


def _mark(request: HttpRequest, wish: Wish, items: Sequence[Object], total: int) -> str:
    """Changes exactly when a row came, went or changed."""
    versions = [
        f"{get(item, 'metadata', 'uid')}:{get(item, 'metadata', 'resourceVersion')}"
        for item in items
    ]
    seen = "\n".join([str(wish), str(total), request.LANGUAGE_CODE, *versions])
    return f'"{hashlib.sha256(seen.encode()).hexdigest()[:32]}"'


def _shown(request: HttpRequest, wish: Wish, found: Mapping[str, Any]) -> HttpResponse:
    context = {
        "wish": wish,
        "bulk": bulk.offered(wish.plural),
        "cluster_id": wish.cluster,
        "title": navigation.title(wish.plural),
        "kind": navigation.kind_name(wish.plural),
    }
    part = is_fragment(request) and request.headers.get("HX-Target") == "table"
    return page(
        request, "console/parts/table.html" if part else "console/table.html", {**context, **found}
    )


def _table(request: HttpRequest, wish: Wish, items: Sequence[Object], total: int) -> dict[str, Any]:
    sight = Sight(f"/clusters/{wish.cluster}", cells.zone_of(request), datetime.now(UTC))
    namespaced = is_namespaced(wish.plural, items)
    shown = (
        columns.of(wish.plural)
        if wish.plural in KINDS
        else printer_columns.columns(request, wish.cluster, wish.plural)
    )
    last = max((total + wish.size - 1) // wish.size, 1)
    return {
        "heads": _heads(wish, shown, namespaced),
        "rows": _rows(wish.plural, items, shown, sight, namespaced),
        "total": total,
        "namespaced": namespaced,
        "first": (wish.page - 1) * wish.size + 1 if items else 0,
        "last": (wish.page - 1) * wish.size + len(items),
        "previous": wish.link(page=min(wish.page - 1, last)) if wish.page > 1 else "",
        "next": wish.link(page=wish.page + 1) if wish.page < last else "",
        "sizes": [(size, wish.link(size=size), size == wish.size) for size in SIZES],
        "labels": _labels(items),
        "clear": wish.address,
    }


def _labels(items: Sequence[Object]) -> str:
    """The labels of what is shown, as options to choose from."""
    found = {
        f"{key}={value}"
        for item in items
        for key, value in (get(item, "metadata", "labels") or {}).items()
    }
    return cells.safe(
        "".join(f'<option value="{cells.escaped(label)}">' for label in sorted(found)[:MOST_LABELS])
    )


def _heads(wish: Wish, shown: Sequence[Column], namespaced: bool) -> str:
    """The heads of the columns; those that the API can sort by are links that do, or turn the order round."""
    own = [Column(_("Name"), columns.of_path(), sort="name")]
    if namespaced:
        own.append(Column(_("Namespace"), columns.of_path(), wide=True, sort="namespace"))
    return cells.safe("".join(_head(wish, column) for column in [*own, *shown]))


def _head(wish: Wish, column: Column) -> str:
    style, title = _style(column), cells.escaped(column.title)
    opening = f'<th scope="col" class="{style}"' if style else '<th scope="col"'
    if not column.sort:
        return f"{opening}>{title}</th>"
    direction = {column.sort: "ascending", f"-{column.sort}": "descending"}.get(wish.sort, "")
    # The first press sorts times and numbers with the most telling end up.
    wanted = (
        column.sort
        if direction == "descending" or (not direction and column.sort not in TELLING)
        else f"-{column.sort}"
    )
    link = html.escape(wish.link(sort=wanted))
    told = f' aria-sort="{direction}"' if direction else ""
    return f'{opening}{told}><a href="{link}" hx-get="{link}">{title}</a></th>'


def _style(column: Column) -> str:
    return " ".join(
        name for name, wanted in (("wide", column.wide), ("right", column.right)) if wanted
    )


def _rows(
    plural: str, items: Sequence[Object], shown: Sequence[Column], sight: Sight, namespaced: bool
) -> str:
    """All rows; each has a key and a version, so that the page's script changes only rows that changed."""
    base = f"{sight.base}/{cells.part(plural)}/"
    opened = [
        (f'<td class="{style}">' if (style := _style(column)) else "<td>", column.cell)
        for column in shown
    ]
    return cells.safe("".join(_row(base, item, opened, sight, namespaced) for item in items))


def _row(
    base: str, item: Object, opened: Sequence[tuple[str, Cell]], sight: Sight, namespaced: bool
) -> str:
    metadata = item.get("metadata") or {}
    name, space = (
        cells.escaped(metadata.get("name", "")),
        cells.escaped(metadata.get("namespace", "")),
    )
    address = f"{base}{cells.part(metadata.get('namespace', '')) if namespaced else '-'}/{cells.part(metadata.get('name', ''))}"
    key = f"{space}/{name}" if namespaced else name
    rest = "".join([f"{opening}{cell(item, sight)}</td>" for opening, cell in opened])
    return (
        f'<tr data-row="{key}" data-version="{cells.escaped(metadata.get("resourceVersion", ""))}">'
        f'<td class="pick"><input type="checkbox" name="row" value="{key}" aria-label="{key}"></td>'
        f'<th scope="row"><a href="{address}">{name}</a>'
        + (
            f'<small class="only-narrow">{space}</small></th><td class="space">{space}</td>'
            if namespaced
            else "</th>"
        )
        + f"{rest}</tr>"
    )


@require_GET
@signed_in
def namespaces(request: HttpRequest, cluster: int) -> HttpResponse:
    """The options of a namespace picker."""
    chosen = request.GET.get("chosen", "")
    try:
        found = call(request, "GET", f"clusters/{cluster}/namespaces").data["namespaces"]
    except Refused as refused:
        if refused.code != 1005:
            raise
        # Credentials that may not list namespaces know those that they are given.
        found = [{"metadata": {"name": chosen}}] if chosen else []
    names = [one["metadata"]["name"] for one in found]
    return page(request, "console/parts/namespaces.html", {"names": names, "chosen": chosen})
