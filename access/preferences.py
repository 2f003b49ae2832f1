"""How each user has arranged the console: saved views, and columns that tables leave out."""

from collections.abc import Mapping
from typing import Any

from django.contrib.auth.models import AbstractBaseUser

from access.models import Preferences
from core.errors import Invalid

MAX_VIEWS = 100
MAX_NAME = 100
MAX_ADDRESS = 2000
MAX_TABLES = 200
MAX_COLUMNS = 50
MIN_WIDTH = 20
MAX_WIDTH = 2000
MEMBERS = ("views", "hidden_columns", "column_widths")
VIEW_MEMBERS = {"name", "address"}


def read(user: AbstractBaseUser) -> dict[str, Any]:
    """The document of a user.

    {"views": [{"name", "address"}], "hidden_columns": {plural: [column]},
    "column_widths": {plural: {column: pixels}}}
    """
    row = Preferences.objects.filter(pk=user.pk).first()
    document = row.document if row else {}
    return {
        "views": document.get("views", []),
        "hidden_columns": document.get("hidden_columns", {}),
        "column_widths": document.get("column_widths", {}),
    }


def write(user: AbstractBaseUser, body: Mapping[str, Any]) -> dict[str, Any]:
    """Replace the members that the body has; Invalid names the first that is wrong."""
    unknown = sorted(set(body) - set(MEMBERS))
    if unknown:
        raise Invalid(f"unknown member: {unknown[0]}", field=unknown[0])
    document = read(user)
    if "views" in body:
        document["views"] = _check_views(body["views"])
    if "hidden_columns" in body:
        document["hidden_columns"] = _check_columns(body["hidden_columns"])
    if "column_widths" in body:
        document["column_widths"] = _check_widths(body["column_widths"])
    Preferences.objects.update_or_create(pk=user.pk, defaults={"document": document})
    return document


def _check_views(views: Any) -> list[dict[str, str]]:
    if not isinstance(views, list) or len(views) > MAX_VIEWS:
        raise Invalid(f"views must be a list of at most {MAX_VIEWS}", field="views")
    return [_check_view(view, f"views[{index}]") for index, view in enumerate(views)]


def _check_view(view: Any, field: str) -> dict[str, str]:
    if not isinstance(view, dict) or set(view) != VIEW_MEMBERS:
        raise Invalid(f"{field} must have name and address", field=field)
    name = view["name"]
    if not _is_text(name, MAX_NAME):
        raise Invalid(f"{field}.name must be 1 to {MAX_NAME} characters", field=f"{field}.name")
    address = view["address"]
    # A path of this host: nothing that leads a click elsewhere.
    is_path = _is_text(address, MAX_ADDRESS) and address.startswith("/")
    if not is_path or address.startswith("//") or "\\" in address:
        raise Invalid(f"{field}.address must be a path of the console", field=f"{field}.address")
    return {"name": name, "address": address}


def _is_text(value: Any, longest: int) -> bool:
    return isinstance(value, str) and 0 < len(value) <= longest and value.isprintable()


def _check_columns(tables: Any) -> dict[str, list[str]]:
    field = "hidden_columns"
    if not isinstance(tables, dict) or len(tables) > MAX_TABLES:
        raise Invalid(f"{field} must be a mapping of at most {MAX_TABLES}", field=field)
    for plural, columns in tables.items():
        is_list = isinstance(columns, list) and len(columns) <= MAX_COLUMNS
        if not _is_text(plural, 253) or not is_list:
            raise Invalid(f"{field} must map plurals to lists of columns", field=field)
        if not all(_is_text(column, MAX_NAME) for column in columns):
            raise Invalid(f"{field} must map plurals to lists of columns", field=field)
    # An empty list is the same as none.
    return {plural: columns for plural, columns in tables.items() if columns}


def _check_widths(tables: Any) -> dict[str, dict[str, int]]:
    field = "column_widths"
    if not isinstance(tables, dict) or len(tables) > MAX_TABLES:
        raise Invalid(f"{field} must be a mapping of at most {MAX_TABLES}", field=field)
    for plural, widths in tables.items():
        is_map = isinstance(widths, dict) and len(widths) <= MAX_COLUMNS
        if not _is_text(plural, 253) or not is_map:
            raise Invalid(f"{field} must map plurals to widths by column", field=field)
        for column, width in widths.items():
            if not _is_text(column, MAX_NAME) or not _is_width(width):
                message = f"{field} are {MIN_WIDTH} to {MAX_WIDTH} pixels by column"
                raise Invalid(message, field=field)
    return {plural: widths for plural, widths in tables.items() if widths}


def _is_width(value: Any) -> bool:
    return type(value) is int and MIN_WIDTH <= value <= MAX_WIDTH
