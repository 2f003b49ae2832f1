"""Objects as resources: kubegale://{cluster}/{kind}/{namespace}/{name}."""

from typing import Any
from urllib.parse import unquote, urlsplit

from agents import reading
from agents.answers import MOST_BYTES, build
from agents.caller import Caller, ToolError
from agents.tool import Arguments

SCHEME = "kubegale"
TEMPLATE = "kubegale://{cluster}/{kind}/{namespace}/{name}"
# Stands for the namespace of kinds that have none.
NO_NAMESPACE = "-"
LONGEST = 2000
SEGMENTS = 3


def read(caller: Caller, uri: str) -> dict[str, Any]:
    """The object of an address as `get_object` answers it; ToolError for a wrong address."""
    return build(reading.get_object(caller, _arguments(uri)), MOST_BYTES)


def _arguments(uri: str) -> Arguments:
    advice = f"An address is {TEMPLATE}; {NO_NAMESPACE} is the namespace of cluster-wide kinds."
    try:
        parts = urlsplit(uri)
    except ValueError:
        raise ToolError("the address cannot be read", advice) from None
    segments = [unquote(segment) for segment in parts.path.removeprefix("/").split("/")]
    is_complete = bool(parts.netloc) and len(segments) == SEGMENTS and all(segments)
    if parts.scheme != SCHEME or not is_complete or "\0" in uri or len(uri) > LONGEST:
        raise ToolError(f"{uri[:200]!r} is not an address of an object", advice)
    kind, namespace, name = segments
    arguments = {"cluster": unquote(parts.netloc), "kind": kind, "name": name}
    if namespace != NO_NAMESPACE:
        arguments["namespace"] = namespace
    return arguments
