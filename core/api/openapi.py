"""/api/schema: made once in a process, kept as bytes, compressed where the caller takes that."""

import gzip
import hashlib
import re
import threading
from dataclasses import dataclass
from typing import Any

import orjson
from django.http import HttpResponse
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView
from rest_framework.request import Request


@dataclass(frozen=True, slots=True)
class Rendered:
    """The schema in one format."""

    content: bytes
    compressed: bytes
    etag: str


class _Shelf:
    """What was rendered; one thread makes it, the others wait for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._schema: Any = None
        self._kept: dict[str, Rendered] = {}

    def get(self, renderer: Any) -> Rendered:
        """The schema as the renderer writes it."""
        # As many formats as there are renderers: callers cannot make it grow.
        if (known := self._kept.get(renderer.media_type)) is not None:
            return known
        with self._lock:
            if renderer.media_type not in self._kept:
                if self._schema is None:
                    self._schema = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
                content = _render(renderer, self._schema)
                self._kept[renderer.media_type] = Rendered(
                    content,
                    gzip.compress(content, mtime=0),
                    f'"{hashlib.sha256(content).hexdigest()[:32]}"',
                )
        return self._kept[renderer.media_type]


def _render(renderer: Any, schema: Any) -> bytes:
    """The schema as bytes; JSON without the blanks that would make it twice as large."""
    if "json" in renderer.media_type:
        return orjson.dumps(schema)
    content = renderer.render(schema, renderer_context={})
    return content if isinstance(content, bytes) else content.encode()


def _takes_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding header names gzip without refusing it (`gzip;q=0`)."""
    for part in accepted.lower().split(","):
        coding, _, weight = part.partition(";")
        if coding.strip() == "gzip":
            return not re.fullmatch(r"\s*q=0(\.0*)?\s*", weight)
    return False


SHELF = _Shelf()


class SchemaView(SpectacularAPIView):
    """The whole schema, the same for everybody."""

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponse:
        """The bytes, or 304 for who has them."""
        renderer: Any = request.accepted_renderer
        kept = SHELF.get(renderer)
        headers = {
            "ETag": kept.etag,
            "Cache-Control": "public, no-cache",
            "Vary": "Accept, Accept-Encoding",
        }
        known = [
            tag.strip().removeprefix("W/")
            for tag in request.headers.get("If-None-Match", "").split(",")
        ]
        if kept.etag in known or "*" in known:
            return HttpResponse(status=304, headers=headers)
        headers["Content-Disposition"] = f'inline; filename="KubeGale.{renderer.format}"'
        content = kept.content
        if _takes_gzip(request.headers.get("Accept-Encoding", "")):
            headers["Content-Encoding"] = "gzip"
            content = kept.compressed
        return HttpResponse(content, content_type=f"{renderer.media_type}", headers=headers)
