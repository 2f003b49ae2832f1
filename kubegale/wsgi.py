"""The WSGI application: pages, admin and every JSON route."""

import os
from typing import Any

import django
from django.conf import settings
from django.core.exceptions import SuspiciousOperation
from django.core.handlers.wsgi import (
    LimitedStream,
    WSGIHandler,
    WSGIRequest,
)

from core.front import behind_front
from kubegale.observability import start_telemetry

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kubegale.settings")


class UnmeasuredRequest(WSGIRequest):
    """A request whose body may come without a length (`Transfer-Encoding: chunked`).

    Django alone would read that as empty. Such a body is read to its end where the server marks the
    end (`wsgi.input_terminated`), within the limit of every other body; where it does not, reading
    the body is refused.
    """

    def __init__(self, environ: dict[str, Any]) -> None:
        super().__init__(environ)
        self.unmeasured = bool(environ.get("HTTP_TRANSFER_ENCODING"))
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        if self.unmeasured and environ.get("wsgi.input_terminated") and limit is not None:
            self._stream: Any = LimitedStream(environ["wsgi.input"], limit + 1)

    @property
    def body(self) -> bytes:
        """The whole body.

        RequestDataTooBig beyond the limit, SuspiciousOperation when its end cannot be known.
        """
        if not self.unmeasured:
            return super().body
        if not self.META.get("wsgi.input_terminated"):
            raise SuspiciousOperation("the end of the body cannot be known")
        return super().body


class Application(WSGIHandler):
    """Django's handler for requests without a length."""

    request_class = UnmeasuredRequest


django.setup(set_prefix=False)
# Before the application loads its middleware.
start_telemetry("web")
application = behind_front(Application(), os.environ)
