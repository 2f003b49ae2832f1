"""Traces that go on in another process; without telemetry nothing is loaded and nothing is done."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Tracer(Protocol):
    """What `kubegale.telemetry` puts in here."""

    def current(self) -> str:
        """The trace that goes on now, as a `traceparent`; "" without one."""

    def resume(self, name: str, traceparent: str) -> AbstractContextManager[None]:
        """A span in the trace of `traceparent` for as long as the block runs."""


class NoTracer:
    """No trace at all."""

    def current(self) -> str:
        """None goes on."""
        return ""

    @contextmanager
    def resume(self, name: str, traceparent: str) -> Iterator[None]:
        """Nothing but the block."""
        yield


# The tracer of this process; `install` changes it once, while the process starts.
_installed: list[Tracer] = [NoTracer()]


def install(tracer: Tracer) -> None:
    """Use `tracer` from now on."""
    _installed[0] = tracer


def current() -> str:
    """The trace of what is done now, in W3C's form (55 characters); "" without telemetry."""
    return _installed[0].current()


def resume(name: str, traceparent: str) -> AbstractContextManager[None]:
    """Go on with a trace that began elsewhere: the block is a span `name` of it."""
    return _installed[0].resume(name, traceparent)
