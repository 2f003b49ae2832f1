"""JSON out: orjson, with raw fragments passed through unparsed."""

from collections.abc import Mapping
from typing import Any

import orjson
from rest_framework.renderers import BaseRenderer


def dumps(data: object) -> bytes:
    """JSON bytes; `orjson.Fragment` members go out as they are."""
    return orjson.dumps(
        data,
        option=orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z,
        default=_fallback,
    )


def _fallback(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    return str(value)


class JSON(BaseRenderer):
    """DRF renderer over orjson."""

    media_type = "application/json"
    format = "json"
    charset = None
    render_style = "binary"

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        """The answer's bytes."""
        return b"" if data is None else dumps(data)
