"""A file whose age says whether a process without a port still works, for probes."""

from contextlib import suppress
from pathlib import Path

from django.conf import settings


def beat() -> None:
    """Touch HEARTBEAT_FILE, when there is one; a full disk is no reason to end what works."""
    if settings.HEARTBEAT_FILE:
        with suppress(OSError):
            Path(settings.HEARTBEAT_FILE).touch()
