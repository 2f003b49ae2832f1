"""What a request to an API server is about, read as Kubernetes' RequestInfo reads it.

`k8s.io/apiserver/pkg/endpoints/request` is the model: what is decided here about a request has to
be what the API server will do with it.
"""

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

# `/api/v1/…` names no group; `/apis/{group}/{version}/…` does.
API_PREFIXES = frozenset({"api", "apis"})
GROUPLESS_PREFIXES = frozenset({"api"})
# `/api/v1/watch/pods` and `/api/v1/proxy/…`: verbs that stand in the path, of old.
PATH_VERBS = frozenset({"proxy", "watch"})
# Of a Namespace; any other word after its name is a kind inside of it.
NAMESPACE_SUBRESOURCES = frozenset({"status", "finalize"})
VERBS = {
    "POST": "create",
    "GET": "get",
    "HEAD": "get",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}
MAX_SEGMENTS = 64
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_EXACT_NAME = re.compile(r"metadata\.name==?(?!=)(.*)\Z", re.DOTALL)


class BadPath(Exception):
    """One sentence: why a path or query cannot be read in one way only."""


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """Verb, and for requests about objects the rest; the names are those of Kubernetes.

    For a non-resource request (`/version`, `/apis/apps/v1`) `verb` is the method in lower case.
    `parts` is the path from the resource on.
    """

    verb: str
    path: str
    is_resource: bool = False
    api_prefix: str = ""
    group: str = ""
    version: str = ""
    namespace: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""
    parts: tuple[str, ...] = ()

    @property
    def is_read(self) -> bool:
        """Whether the verb only reads."""
        return self.verb in {"get", "list", "watch", "head", "options"}


def decode_path(raw: str) -> str:
    """The decoded path of a request target without its query.

    BadPath for every path that a proxy, our policy and an API server could read differently: empty,
    `.` and `..` segments, encoded slashes, control characters, bytes that are not UTF-8.
    """
    if not raw.startswith("/"):
        raise BadPath("the path must begin with a slash")
    if _BROKEN_ESCAPE.search(raw):
        raise BadPath("the path has a percent sign that encodes nothing")
    if raw.count("/") > MAX_SEGMENTS:
        raise BadPath("the path has too many segments")
    segments = [decode_segment(segment) for segment in raw[1:].split("/")]
    # A single slash at the end is the same path to an API server: `/apis/`.
    if not all(segments[:-1]):
        raise BadPath("the path has an empty segment")
    return "/" + "/".join(segments)


def decode_segment(raw: str) -> str:
    """One decoded segment of a path; BadPath as `decode_path`."""
    try:
        segment = unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        raise BadPath("the path is not UTF-8") from None
    if segment in {".", ".."}:
        raise BadPath("the path has a segment of dots")
    if "/" in segment or "\\" in segment:
        raise BadPath("the path has an encoded slash")
    if any(ord(character) < 32 or ord(character) == 127 for character in segment):
        raise BadPath("the path has a control character")
    # Escapes inside of escapes: whoever decodes once more would find another path.
    if "%" in segment or "?" in segment or "#" in segment:
        raise BadPath("the path has an encoded delimiter")
    return segment


def decode_query(raw: str) -> tuple[tuple[str, str], ...]:
    """The parameters of a query string, as Go's `url.ParseQuery` reads them.

    What Go drops (a pair with a semicolon or a broken escape) is refused: BadPath.
    """
    pairs: list[tuple[str, str]] = []
    for pair in raw.split("&"):
        if not pair:
            continue
        if ";" in pair:
            raise BadPath("the query has a semicolon; write it as %3B")
        name, _, value = pair.partition("=")
        pairs.append((_decode_word(name), _decode_word(value)))
    return tuple(pairs)


def _decode_word(raw: str) -> str:
    if _BROKEN_ESCAPE.search(raw):
        raise BadPath("the query has a percent sign that encodes nothing")
    try:
        return unquote_to_bytes(raw.replace("+", " ")).decode()
    except UnicodeDecodeError:
        raise BadPath("the query is not UTF-8") from None


def read_request_info(
    method: str,
    path: str,
    query: tuple[tuple[str, str], ...] = (),
) -> RequestInfo:
    """RequestInfo of a method, a decoded path and decoded parameters; BadPath as an API server."""
    non_resource = RequestInfo(method.lower(), path)
    parts = [part for part in path.strip("/").split("/") if part]
    if len(parts) < 3 or parts[0] not in API_PREFIXES:
        return non_resource
    prefix = parts.pop(0)
    group = ""
    if prefix not in GROUPLESS_PREFIXES:
        if len(parts) < 3:
            return non_resource
        group = parts.pop(0)
    version = parts.pop(0)
    verb = VERBS.get(method, "")
    if parts[0] in PATH_VERBS:
        if len(parts) < 2:
            raise BadPath("the path names no kind")
        verb = parts.pop(0)
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 1:
        namespace = parts[1]
        if len(parts) > 2 and parts[2] not in NAMESPACE_SUBRESOURCES:
            parts = parts[2:]
    name = parts[1] if len(parts) > 1 else ""
    # The old proxy verb takes everything after the name as the path behind the proxy.
    subresource = parts[2] if len(parts) > 2 and verb != "proxy" else ""
    if not name and verb == "get":
        verb = "watch" if _is_watch(query) else "list"
        name = _selected_name(query)
    if not name and verb == "delete":
        verb = "deletecollection"
    return RequestInfo(
        verb=verb,
        path=path,
        is_resource=True,
        api_prefix=prefix,
        group=group,
        version=version,
        namespace=namespace,
        resource=parts[0],
        subresource=subresource,
        name=name,
        parts=tuple(parts),
    )


def _is_watch(query: tuple[tuple[str, str], ...]) -> bool:
    """The first `watch` counts, and everything but "false" and "0" is true, "" too."""
    for name, value in query:
        if name == "watch":
            return value.lower() not in {"false", "0"}
    return False


def _selected_name(query: tuple[tuple[str, str], ...]) -> str:
    """The name that `fieldSelector=metadata.name=x` selects.

    A list of that one object needs no more than the right to read it.
    """
    for key, value in query:
        if key != "fieldSelector":
            continue
        for term in value.split(","):
            match = _EXACT_NAME.match(term.strip())
            name = match.group(1).strip() if match else ""
            if name and name not in {".", ".."} and not set(name) & set("/%\\"):
                return name
        break
    return ""
