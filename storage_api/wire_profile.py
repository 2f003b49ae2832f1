"""The wire profile of the store: values as the published document has them, or the Go server."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache

from django.conf import settings

from storage_api.query.times import TimeStyle

PROFILES = ("doc", "go")
# The Go server's own root; the other one is the document's.
GO_ROOT = "/bcsstorage/"
_profile: ContextVar[str] = ContextVar("wire_profile", default="")


def default_for_path(path: str) -> str:
    """The profile of an address where the caller chooses none: as its own clients expect."""
    return "go" if path.startswith(GO_ROOT) else str(settings.STORAGE_WIRE_PROFILE)


@contextmanager
def use_profile(profile: str) -> Iterator[None]:
    """Answers follow a profile within this block; `choose` may change it."""
    token = _profile.set(profile)
    try:
        yield
    finally:
        _profile.reset(token)


def choose(profile: str) -> None:
    """From here on answers of this request follow the profile."""
    _profile.set(profile)


def is_go() -> bool:
    """Whether answers follow the Go server instead of the document."""
    return (_profile.get() or settings.STORAGE_WIRE_PROFILE) == "go"


def time_style() -> TimeStyle:
    """How times are written: wall clock of the server's zone, or RFC 3339 for Go clients."""
    return _cached_style(settings.STORAGE_TIME_ZONE, is_go())


@lru_cache(maxsize=8)
def _cached_style(zone: str, rfc3339: bool) -> TimeStyle:
    return TimeStyle(zone, rfc3339)
