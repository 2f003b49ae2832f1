"""The only door to a cluster: raw JSON in and out, quoted addresses, time-outs, errors in the domain's words."""

import base64
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec
import orjson
import urllib3
from kubernetes.client import ApiClient, Configuration
from urllib3.exceptions import HTTPError, ReadTimeoutError

from clusters import impersonation as identity
from clusters import tls
from clusters.call_limits import Circuit, Groups, Share, api_group
from clusters.guarded_pools import pool_classes, whole_answers
from clusters.kinds import Kind
from clusters.kubeconfig import Access
from clusters.manifests import Object
from clusters.network_causes import describe, network_cause
from core.errors import (
    ClusterUnavailable,
    Conflict,
    DomainError,
    Expired,
    Forbidden,
    Invalid,
    MethodNotAllowed,
    NamespaceNotFound,
    NotFound,
    Rejected,
    TooManyRequests,
)

log = logging.getLogger(__name__)

R = TypeVar("R")

CHUNK = 500
MAX_VERSION = 64
# A list that is longer than any cluster's is endless: pages, empty pages in a row, and time-outs' worth of seconds.
MAX_CHUNKS = 4000
EMPTY_CHUNKS = 3
LIST_TIMEOUTS = 4
# Seconds in which a cluster that was silent has to say its version before it is asked anything else.
PROBE_SECONDS = 4.0
# What reading an answer bit by bit may raise when the connection breaks or is shut down.
READ_ERRORS: tuple[type[Exception], ...] = (HTTPError, OSError, HTTPException)
PATCH_TYPES = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
Query = Mapping[str, object]


class Meta(msgspec.Struct):
    """What lists and paging need of an object's metadata."""

    name: str = ""
    namespace: str = ""


class Head(msgspec.Struct):
    """An object of which only the metadata was decoded."""

    metadata: Meta = msgspec.field(default_factory=Meta)


class ListMeta(msgspec.Struct, rename="camel"):
    """Where a list stands."""

    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")
    remaining_item_count: int | None = None


class Chunk(msgspec.Struct):
    """One answer to a list: items as raw bytes."""

    metadata: ListMeta = msgspec.field(default_factory=ListMeta)
    items: list[msgspec.Raw] | None = None


class Walk:
    """A list on its way from chunk to chunk."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._empty = 0

    def next_token(self, chunk: Chunk) -> str:
        """Where the list goes on, "" at its end; ClusterUnavailable when it only pretends to have one."""
        token = chunk.metadata.continue_
        if not token:
            return ""
        self._empty = 0 if chunk.items else self._empty + 1
        if token in self._seen or len(self._seen) >= MAX_CHUNKS or self._empty >= EMPTY_CHUNKS:
            raise ClusterUnavailable("the cluster's list has no end", reason="bad_answer")
        self._seen.add(token)
        return token


CHUNKS = msgspec.json.Decoder(Chunk)
HEADS = msgspec.json.Decoder(Head)


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds to connect, seconds for a whole answer, kept connections, calls at a time, seconds a circuit stays open, address policy,
    impersonation."""

    connect: float = 3.0
    read: float = 30.0
    pool: int = 16
    concurrency: int = 8
    circuit: float = 10.0
    policy: str = "private"
    impersonate: bool = False


def api_client(access: Access) -> ApiClient:
    """The official client, given what the kubeconfig says in memory: never a file, a plug-in or a refresh hook."""
    configuration = Configuration(host=access.server)
    configuration.proxy = None
    configuration.verify_ssl = access.verify
    configuration.tls_server_name = access.tls_server_name
    if given := authorization(access):
        configuration.api_key = {"BearerToken": given}
    return ApiClient(configuration)


def authorization(access: Access) -> str:
    """The Authorization header; "" when the credentials are a certificate or none."""
    if access.token:
        return f"Bearer {access.token}"
    if access.username is None:
        return ""
    # UTF-8, as Go sends it.
    pair = f"{access.username}:{access.password or ''}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"


class _FreshConnection(urllib3.Retry):
    """A kept connection that the server has just closed is no failure: one more try on a new one, never after a time-out."""

    def _is_read_error(self, err: Exception) -> bool:
        return isinstance(err, ReadTimeoutError)


FRESH_CONNECTION = _FreshConnection(
    total=1,
    connect=False,
    read=False,
    redirect=False,
    status=False,
    other=1,
    respect_retry_after_header=False,
)


def dumps(body: object) -> bytes:
    """JSON bytes of a request body."""
    return body if isinstance(body, bytes) else orjson.dumps(body)


class ClusterClient:
    """Talks to one API server; safe to share between threads."""

    def __init__(
        self, access: Access, limits: Limits | None = None, share: Share | None = None
    ) -> None:
        self.limits = limits or Limits()
        self.share = share or Share(self.limits.concurrency)
        self.circuit = Circuit(self.limits.circuit)
        self._groups = Groups(self.limits.circuit)
        self._probing = threading.Lock()
        api = api_client(access)
        self._host = api.configuration.host
        authorization = api.configuration.get_api_key_with_prefix("BearerToken")
        self._headers = {
            "User-Agent": "kubegale",
            **({"Authorization": authorization} if authorization else {}),
        }
        self._pool = api.rest_client.pool_manager
        self._pool.pool_classes_by_scheme = pool_classes(self.limits.policy)
        self._pool.connection_pool_kw.update(
            maxsize=self.limits.pool, ssl_context=tls.make_context(access)
        )
        self.access = access
        # Told the path of every call that may have changed something, once it is over.
        self.wrote: Callable[[str], None] = lambda path: None

    # --- objects ----------------------------------------------------------------------------------------------------
    def get(self, kind: Kind, name: str, *, namespace: str | None = None, **query: object) -> bytes:
        """One object's bytes."""
        return self.request("GET", kind.path(namespace=namespace, name=name), query=query)

    def chunk(
        self,
        kind: Kind,
        *,
        namespace: str | None = None,
        limit: int = CHUNK,
        query: Query | None = None,
    ) -> Chunk:
        """One answer to a list of at most `limit` items, items unparsed."""
        body = self.request(
            "GET", kind.path(namespace=namespace), query={"limit": limit or None, **(query or {})}
        )
        try:
            return CHUNKS.decode(body)
        except msgspec.DecodeError:
            raise ClusterUnavailable(
                "the cluster's answer is not a Kubernetes list", reason="bad_answer"
            ) from None

    def chunks(
        self,
        kind: Kind,
        *,
        namespace: str | None = None,
        limit: int = CHUNK,
        first: int | None = None,
        query: Query | None = None,
    ) -> Iterator[Chunk]:
        """A list's chunks, `first` items at most in the first of them; ClusterUnavailable when the list has no end, Expired when it
        went stale between two chunks (see `read_list`)."""
        deadline = time.monotonic() + LIST_TIMEOUTS * self.limits.read
        chunk = self.chunk(
            kind, namespace=namespace, limit=limit if first is None else first, query=query
        )
        yield chunk
        walk = Walk()
        while token := walk.next_token(chunk):
            if time.monotonic() > deadline:
                raise ClusterUnavailable("the cluster's list takes too long", reason="timeout")
            chunk = self.chunk(
                kind, namespace=namespace, limit=limit, query={**(query or {}), "continue": token}
            )
            yield chunk

    def read_list(
        self,
        read: Callable[[Iterator[Chunk]], R],
        kind: Kind,
        *,
        namespace: str | None = None,
        limit: int = CHUNK,
        first: int | None = None,
        query: Query | None = None,
    ) -> R:
        """What `read` makes of a list's chunks. When the list goes stale between two of them it is called again, with one answer that has
        no limit and so cannot."""
        try:
            return read(
                self.chunks(kind, namespace=namespace, limit=limit, first=first, query=query)
            )
        except Expired:
            return read(self.chunks(kind, namespace=namespace, limit=0, query=query))

    def create(
        self, kind: Kind, body: object, *, namespace: str | None = None, **query: object
    ) -> bytes:
        """The created object's bytes."""
        return self.request("POST", kind.path(namespace=namespace), query=query, body=body)

    def replace(
        self, kind: Kind, name: str, body: object, *, namespace: str | None = None, **query: object
    ) -> bytes:
        """The replaced object's bytes."""
        return self.request(
            "PUT", kind.path(namespace=namespace, name=name), query=query, body=body
        )

    def patch(
        self,
        kind: Kind,
        name: str,
        body: object,
        *,
        patch: str,
        namespace: str | None = None,
        subresource: str | None = None,
        query: Query | None = None,
    ) -> bytes:
        """The patched object's bytes; `patch` is json, merge, strategic or apply."""
        path = kind.path(namespace=namespace, name=name, subresource=subresource)
        return self.request("PATCH", path, query=query, body=body, content_type=PATCH_TYPES[patch])

    def delete(
        self, kind: Kind, name: str, *, namespace: str | None = None, options: Object | None = None
    ) -> bytes:
        """The API server's answer: a Status, or the object while it is still going."""
        return self.request("DELETE", kind.path(namespace=namespace, name=name), body=options)

    def version(self) -> str:
        """The server's version, e.g. `v1.36.0`."""
        try:
            answer = orjson.loads(self.request("GET", "/version"))
        # Every API server has /version: an ingress answers `404 page not found` to it.
        except (NotFound, orjson.JSONDecodeError):
            raise _no_api_server() from None
        version = answer.get("gitVersion") if isinstance(answer, dict) else None
        if not isinstance(version, str) or not version:
            raise _no_api_server()
        return version.replace("\0", "")[:MAX_VERSION]

    # --- the wire ---------------------------------------------------------------------------------------------------
    def request(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: object = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> bytes:
        """The body of a successful answer; a domain error for everything else."""
        try:
            with self.share.turn(), self._watched(path), whole_answers():
                response = self._send(
                    method,
                    path,
                    query=query,
                    body=body,
                    content_type=content_type,
                    accept=accept,
                    read=self.limits.read,
                )
                data = self._read(response, self.limits.read)
        finally:
            if method != "GET" and not (query or {}).get("dryRun"):
                self.wrote(path)
        if response.status >= 400:
            raise status_error(response.status, data)
        if response.status >= 300:
            raise ClusterUnavailable(
                "the cluster's address redirects elsewhere; redirects are not followed",
                reason="redirect",
            )
        if accept == "application/json" and data[:1] not in (b"{", b"["):
            raise _no_api_server()
        return data

    def open(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: object = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        read_timeout: float | None = None,
        silence: float | None = None,
    ) -> urllib3.BaseHTTPResponse:
        """The answer as it arrives, whatever its status; the caller reads and releases it.

        `silence`: what follows something may be silent for so many seconds once it has begun. Until then nothing is wrong with a
        cluster that says nothing for `read_timeout` seconds: ClusterUnavailable with the reason "silent".
        """
        # What follows a log waits for its container, not for the cluster: it takes nobody's turn.
        turn = self.share.turn() if silence is None else nullcontext()
        with turn, self._watched(path):
            return self._send(
                method,
                path,
                query=query,
                body=body,
                content_type=content_type,
                accept=accept,
                read=read_timeout or self.limits.read,
                silence=silence,
            )

    @contextmanager
    def _watched(self, path: str) -> Iterator[None]:
        """One call under the circuits' eyes: not begun while they are open, and its answer or silence is counted."""
        group = api_group(path)
        self.circuit.check()
        self._groups.check(group)
        self._dispel_doubt()
        started = time.monotonic()
        try:
            yield
        except _Silence:
            self.circuit.timed_out(started)
            self._groups.timed_out(group, started)
            raise
        self.circuit.succeeded()
        self._groups.succeeded(group)

    def _dispel_doubt(self) -> None:
        """After a call without an answer, ask for the version first, in a few seconds: a slow list is no dead cluster."""
        if not self.circuit.doubtful():
            return
        with self._probing:
            if not self.circuit.doubtful():
                return
            self.circuit.check()
            seconds = min(PROBE_SECONDS, self.limits.read)
            try:
                with whole_answers():
                    self._read(self._send("GET", "/version", read=seconds), seconds)
            except _Silence:
                self.circuit.trip("timeout")
                raise
            self.circuit.succeeded()

    def _send(
        self,
        method: str,
        path: str,
        *,
        read: float,
        query: Query | None = None,
        body: object = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        silence: float | None = None,
    ) -> urllib3.BaseHTTPResponse:
        """The answer as it arrives; counts failures to connect."""
        headers = urllib3.HTTPHeaderDict({**self._headers, "Accept": accept})
        for name, value in self.impersonation():
            headers.add(name, value)
        if body is not None:
            headers["Content-Type"] = content_type
        text = urlencode(
            {key: value for key, value in (query or {}).items() if value not in (None, "")}
        )
        timeout = urllib3.Timeout(connect=self.limits.connect, read=read)
        retries = FRESH_CONNECTION if method == "GET" else False
        try:
            response: urllib3.BaseHTTPResponse = self._pool.urlopen(
                method,
                f"{self._host}{path}{'?' + text if text else ''}",
                headers=headers,
                body=None if body is None else dumps(body),
                timeout=timeout,
                retries=retries,
                redirect=False,
                preload_content=False,
            )
        except DomainError as error:
            self.circuit.failed(str(error.details.get("reason", "")))
            raise
        except ReadTimeoutError as error:
            if silence is None:
                raise self._unavailable(error) from error
            raise ClusterUnavailable("nothing was said yet", reason="silent") from error
        except HTTPError as error:
            raise self._unavailable(error) from error
        connection = getattr(response.connection, "sock", None)
        if silence is not None and connection is not None:
            connection.settimeout(silence)
        return response

    def impersonation(self) -> list[tuple[str, str]]:
        """The headers that name whoever asks, on clusters whose own RBAC is to decide too; set here and nowhere else."""
        return identity.wire_headers(identity.current()) if self.limits.impersonate else []

    def _read(self, response: urllib3.BaseHTTPResponse, seconds: float) -> bytes:
        """The whole body within the time limit, however slowly it drips."""
        deadline = time.monotonic() + seconds
        parts: list[bytes] = []
        size = 0
        try:
            while part := response.read1(1 << 20):
                parts.append(part)
                size += len(part)
                self.share.count(len(part))
                if time.monotonic() > deadline:
                    raise ReadTimeoutError(None, None, "the answer took too long")  # type: ignore[arg-type]
        except HTTPError as error:
            # The error's traceback may live on for long; what was read must not.
            parts.clear()
            response.close()
            raise self._unavailable(error) from error
        except DomainError:
            parts.clear()
            response.close()
            raise
        finally:
            self.share.count(-size)
        response.release_conn()
        return b"".join(parts)

    def _unavailable(self, error: HTTPError) -> ClusterUnavailable:
        reason, sentence, fault = describe(error)
        found = unreachable(reason, sentence, fault)
        if reason == "timeout_read":
            return _Silence(found.message, **found.details)
        self.circuit.failed(reason)
        return found


class _Silence(ClusterUnavailable):
    """Connected, but no whole answer in time."""


def _no_api_server() -> ClusterUnavailable:
    return ClusterUnavailable(
        "the address does not answer like a Kubernetes API server", reason="bad_answer"
    )


def unreachable(reason: str, sentence: str, fault: str) -> ClusterUnavailable:
    """The domain's error for a connection that failed, as `causes.describe` tells it."""
    return ClusterUnavailable(
        f"the cluster cannot be reached: {sentence}",
        reason=reason.removesuffix("_read"),
        **({"tls": fault} if fault else {}),
    )


def _status_body(data: bytes) -> Object:
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) and body.get("kind") == "Status" else {}


def status_error(status: int, data: bytes) -> DomainError:
    """The domain's error for an API server's refusal, its Status in the details."""
    body = _status_body(data)
    message = str(body.get("message") or f"the API server answered HTTP {status}")[:4000]
    details: dict[str, Any] = {
        "reason": body.get("reason") or "",
        "status": status,
        "details": body.get("details") or {},
    }
    if status == 401:
        return ClusterUnavailable(
            "the cluster refuses the kubeconfig's credentials"
            if body
            else "the kubeconfig's credentials are refused with HTTP 401,"
            " but not as a Kubernetes API server does it: a proxy may stand before it",
            **{**details, "reason": "credential_invalid"},
        )
    if not body and status == 404 and data.strip() == b"404 page not found":
        return NotFound(
            "the cluster does not serve this kind of resource", **{**details, "reason": "NotFound"}
        )
    if not body and status < 500:
        return ClusterUnavailable(
            f"the address answers HTTP {status}, but not like a Kubernetes API server",
            **{**details, "reason": "bad_answer"},
        )
    match status:
        case 404 if (body.get("details") or {}).get("kind") == "namespaces":
            return NamespaceNotFound(message, **details)
        case 404 | 405 | 403 | 409 | 410 | 429 | 400 | 422 | 415 | 413:
            return _REFUSALS[status](message, **details)
    if status >= 500:
        return ClusterUnavailable(
            message, **{**details, "reason": details["reason"] or "server_error"}
        )
    return Rejected(message, **details)


_REFUSALS: dict[int, type[DomainError]] = {
    400: Invalid,
    403: Forbidden,
    404: NotFound,
    405: MethodNotAllowed,
    409: Conflict,
    410: Expired,
    413: Rejected,
    415: Invalid,
    422: Rejected,
    429: TooManyRequests,
}

__all__ = [
    "Chunk",
    "Circuit",
    "ClusterClient",
    "Head",
    "Limits",
    "Walk",
    "network_cause",
    "status_error",
]
