"""Answers that last: each followed log or feed over HTTP holds a thread of the web server, so that they may not take them all."""

from threading import Lock
from typing import ClassVar

from django.conf import settings

from kubegale.errors import TooManyRequests


class StreamPlace:
    """One place among the lasting answers of this process, taken by making it: TooManyRequests when WEB_STREAMS are taken."""

    _lock: ClassVar[Lock] = Lock()
    _taken: ClassVar[int] = 0

    def __init__(self) -> None:
        with StreamPlace._lock:
            if StreamPlace._taken >= settings.WEB_STREAMS:
                raise TooManyRequests(
                    f"this process serves {settings.WEB_STREAMS} streams already: try again later",
                    retry_after=5,
                )
            StreamPlace._taken += 1
        self._held = True

    def give_back(self) -> None:
        """Give the place back; once is enough, more does no harm."""
        with StreamPlace._lock:
            if self._held:
                self._held = False
                StreamPlace._taken -= 1
