"""The rows of a summary, and the plain kinds of them."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any
from zoneinfo import ZoneInfo

from django.utils.functional import Promise

from console.locations import Location
from console.rendering import html
from console.rendering.health import Object, get

UTC = ZoneInfo("UTC")

# Title and escaped HTML.
Row = tuple[str | Promise, str]
Facts = Callable[[Object, Location], Iterator[Row]]


def text_row(title: str | Promise, item: Object, *path: str) -> Iterator[Row]:
    """A value as it is; nothing for what is empty."""
    value = get(item, *path)
    # 0 and false are facts, empty values are not.
    if value not in (None, "", [], {}):
        yield title, html.text(value)


def moment_row(title: str | Promise, item: Object, *path: str) -> Iterator[Row]:
    """A time, which the page shows in the viewer's zone."""
    if value := get(item, *path):
        # The page's script shows it in the viewer's zone.
        yield title, html.moment(value, UTC)


def link_row(title: str | Promise, location: Location | None) -> Iterator[Row]:
    """Another object, as a link to its page."""
    if location and location.name:
        yield title, html.link(location.address, location.name)


def labels_row(title: str | Promise, labels: Any) -> Iterator[Row]:
    """Labels, or a selector of them, as chips."""
    if isinstance(labels, Mapping) and labels:
        yield (
            title,
            html.chips(
                [f"{key}={value}" for key, value in labels.items()],
                12,
            ),
        )


def no_facts(item: Object, location: Location) -> Iterator[Row]:
    """Nothing: the tables of the kind say all."""
    return iter(())
