"""/api/schema: made once in a process, cached as bytes, compressed where the caller takes that."""

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
class RenderedSchema:
    """The OpenAPI document in one format, plain and gzipped."""

    content: bytes
    compressed: bytes
    etag: str


class _SchemaCache:
    """The rendered documents of this process; one thread makes them, the others wait for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._schema: Any = None
        # By media type: as many as there are renderers, callers cannot make it grow.
        self._rendered: dict[str, RenderedSchema] = {}

    def get(self, renderer: Any) -> RenderedSchema:
        """The document as the renderer writes it."""
        media_type = renderer.media_type
        if (rendered := self._rendered.get(media_type)) is not None:
            return rendered
        with self._lock:
            # Another thread may have rendered it while this one waited for the lock.
            if media_type not in self._rendered:
                self._rendered[media_type] = self._render(renderer)
        return self._rendered[media_type]

    def _render(self, renderer: Any) -> RenderedSchema:
        if self._schema is None:
            # The library has no types here.
            generator_class: Any = SchemaGenerator
            generator = generator_class()
            self._schema = generator.get_schema(request=None, public=True)
        content = _render(renderer, self._schema)
        etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        # Without a time stamp all processes send the same bytes for the same ETag.
        return RenderedSchema(content, gzip.compress(content, mtime=0), etag)


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


_CACHE = _SchemaCache()


class SchemaView(SpectacularAPIView):
    """The whole schema, the same for everybody."""

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponse:
        """The document, or 304 for a caller who has it."""
        renderer: Any = request.accepted_renderer
        document = _CACHE.get(renderer)
        headers = {
            "ETag": document.etag,
            "Cache-Control": "public, no-cache",
            "Vary": "Accept, Accept-Encoding",
        }
        tags = request.headers.get("If-None-Match", "").split(",")
        callers_etags = [tag.strip().removeprefix("W/") for tag in tags]
        if document.etag in callers_etags or "*" in callers_etags:
            return HttpResponse(status=304, headers=headers)
        headers["Content-Disposition"] = f'inline; filename="KubeGale.{renderer.format}"'
        content = document.content
        if _takes_gzip(request.headers.get("Accept-Encoding", "")):
            headers["Content-Encoding"] = "gzip"
            content = document.compressed
        return HttpResponse(
            content,
            content_type=f"{renderer.media_type}",
            headers=headers,
        )
