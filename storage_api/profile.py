"""The wire profile of the store: the published document's values, or those that the Go server's clients know."""

from functools import lru_cache

from django.conf import settings

from storage_api.times import TimeStyle


def is_go() -> bool:
    """Whether answers follow the Go server instead of the document."""
    return bool(settings.STORAGE_WIRE_PROFILE == "go")


def time_style() -> TimeStyle:
    """How times are written: wall clock of the server's zone, or RFC3339 for Go clients."""
    return _style(settings.STORAGE_TIME_ZONE, is_go())


@lru_cache(maxsize=8)
def _style(zone: str, rfc3339: bool) -> TimeStyle:
    return TimeStyle(zone, rfc3339)
