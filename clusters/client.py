"""The only door to a cluster: raw JSON in and out, time-outs, errors of `core.errors`."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from http.client import HTTPException
from typing import TypeVar
from urllib.parse import urlencode

import msgspec
import orjson
import urllib3
from kubernetes.client import ApiClient, Configuration
from urllib3.exceptions import HTTPError, ReadTimeoutError

from clusters import impersonation, tls
from clusters.api_errors import (
    AnswerTimeout,
    not_an_api_server,
    redirect_error,
    status_error,
    unreachable,
)
from clusters.call_limits import CallLimiter
from clusters.circuit_breaker import CircuitBreaker, GroupBreakers, api_group
from clusters.credentials import authorization_header
from clusters.guarded_pools import pool_classes, whole_answers
from clusters.kinds import Kind
from clusters.kubeconfig import Access
from clusters.manifests import Object
from clusters.network_causes import describe
from clusters.wire import (
    CHUNK_DECODER,
    CHUNK_SIZE,
    JSON_TYPE,
    PATCH_TYPES,
    Chunk,
    ContinueTokens,
    QueryParameters,
    encode_body,
)
from core.errors import ClusterUnavailable, DomainError, Expired, NotFound

R = TypeVar("R")

# A version is cut to so many characters.
MAX_VERSION = 64
# A whole list may take this many times as long as one answer.
LIST_TIMEOUTS = 4
# Seconds in which a cluster that timed out has to answer /version before other calls are sent.
PROBE_SECONDS = 4.0
# Bytes that are read from a socket at a time.
READ_BYTES = 1 << 20
# What reading an answer bit by bit may raise when the connection breaks or is shut down.
READ_ERRORS: tuple[type[Exception], ...] = (HTTPError, OSError, HTTPException)


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """What the calls of a client may take, and to whom they may go.

    `connect` and `read` are seconds to connect and for a whole answer, `pool` is how many
    connections are kept, `concurrency` how many calls run at a time, `circuit` how many seconds a
    circuit breaker stays open. `policy` is an address policy (`clusters.address_policy`), and with
    `impersonate` each call names its user to the cluster.
    """

    connect: float = 3.0
    read: float = 30.0
    pool: int = 16
    concurrency: int = 8
    circuit: float = 10.0
    policy: str = "private"
    impersonate: bool = False


def api_client(access: Access) -> ApiClient:
    """The official client with what the kubeconfig says, all in memory.

    It reads no file, runs no plug-in and has no hook that refreshes a token.
    """
    configuration = Configuration(host=access.server)
    # The official client would take a proxy from the environment.
    configuration.proxy = None
    configuration.verify_ssl = access.verify
    configuration.tls_server_name = access.tls_server_name
    header = authorization_header(access)
    if header:
        configuration.api_key = {"BearerToken": header}
    return ApiClient(configuration)


class _RetryOnFreshConnection(urllib3.Retry):
    """One more try on a new connection when the server has just closed the idle one."""

    def _is_read_error(self, err: Exception) -> bool:
        # A connection that was closed counts as "other", which is retried; a time-out never is.
        return isinstance(err, ReadTimeoutError)


RETRY_ON_FRESH_CONNECTION = _RetryOnFreshConnection(
    total=1,
    connect=False,
    read=False,
    redirect=False,
    status=False,
    other=1,
    respect_retry_after_header=False,
)


def _changes_nothing(method: str, path: str) -> bool:
    """Whether a request may be sent twice: a read, or a review, which stores nothing."""
    return method == "GET" or path.startswith("/apis/authorization.k8s.io/")


def _read_timeout() -> ReadTimeoutError:
    message = "the answer took too long"
    return ReadTimeoutError(None, None, message)  # type: ignore[arg-type]


class ClusterClient:
    """Talks to one API server; safe to share between threads."""

    def __init__(
        self,
        access: Access,
        limits: ClientLimits | None = None,
        call_limiter: CallLimiter | None = None,
    ) -> None:
        self.access = access
        self.limits = limits or ClientLimits()
        self.call_limiter = call_limiter or CallLimiter(self.limits.concurrency)
        self.circuit = CircuitBreaker(self.limits.circuit)
        self._groups = GroupBreakers(self.limits.circuit)
        self._probing = threading.Lock()
        # Called with the path of every call that may have changed something, once it is over.
        self.on_write: Callable[[str], None] = lambda path: None
        api = api_client(access)
        self._host = api.configuration.host
        self._headers = {"User-Agent": "kubegale"}
        header = api.configuration.get_api_key_with_prefix("BearerToken")
        if header:
            self._headers["Authorization"] = header
        self._pool = api.rest_client.pool_manager
        self._pool.pool_classes_by_scheme = pool_classes(self.limits.policy)
        self._pool.connection_pool_kw.update(
            maxsize=self.limits.pool, ssl_context=tls.make_context(access)
        )

    # --- objects ---------------------------------------------------------------------------------
    def get(
        self,
        kind: Kind,
        name: str,
        *,
        namespace: str | None = None,
        **query: object,
    ) -> bytes:
        """One object's bytes."""
        return self.request(
            "GET",
            kind.path(namespace=namespace, name=name),
            query=query,
        )

    def chunk(
        self,
        kind: Kind,
        *,
        namespace: str | None = None,
        limit: int = CHUNK_SIZE,
        query: QueryParameters | None = None,
        accept: str = JSON_TYPE,
    ) -> Chunk:
        """One answer to a list of at most `limit` items (0: of all), items unparsed."""
        path = kind.path(namespace=namespace)
        body = self.request(
            "GET",
            path,
            query={"limit": limit or None, **(query or {})},
            accept=accept,
        )
        try:
            return CHUNK_DECODER.decode(body)
        except msgspec.DecodeError:
            raise ClusterUnavailable(
                "the cluster's answer is not a Kubernetes list", reason="bad_answer"
            ) from None

    def chunks(
        self,
        kind: Kind,
        *,
        namespace: str | None = None,
        limit: int = CHUNK_SIZE,
        first: int | None = None,
        query: QueryParameters | None = None,
        accept: str = JSON_TYPE,
    ) -> Iterator[Chunk]:
        """The chunks of a list, with at most `first` items in the first of them.

        ClusterUnavailable when the list has no end; Expired when its resourceVersion was compacted
        between two chunks (see `read_list`).
        """
        deadline = time.monotonic() + LIST_TIMEOUTS * self.limits.read
        first_limit = limit if first is None else first
        chunk = self.chunk(
            kind,
            namespace=namespace,
            limit=first_limit,
            query=query,
            accept=accept,
        )
        yield chunk
        tokens = ContinueTokens()
        while token := tokens.next_token(chunk):
            if time.monotonic() > deadline:
                raise ClusterUnavailable("the cluster's list takes too long", reason="timeout")
            next_query = {**(query or {}), "continue": token}
            chunk = self.chunk(
                kind,
                namespace=namespace,
                limit=limit,
                query=next_query,
                accept=accept,
            )
            yield chunk

    def read_list(
        self,
        read: Callable[[Iterator[Chunk]], R],
        kind: Kind,
        *,
        namespace: str | None = None,
        limit: int = CHUNK_SIZE,
        first: int | None = None,
        query: QueryParameters | None = None,
        accept: str = JSON_TYPE,
    ) -> R:
        """What `read` returns for a list's chunks.

        When the list expires between two chunks (HTTP 410), `read` is called again with the whole
        list in one answer, as client-go's pager does it: that cannot expire.
        """
        try:
            chunks = self.chunks(
                kind,
                namespace=namespace,
                limit=limit,
                first=first,
                query=query,
                accept=accept,
            )
            return read(chunks)
        except Expired:
            chunks = self.chunks(kind, namespace=namespace, limit=0, query=query, accept=accept)
            return read(chunks)

    def create(
        self,
        kind: Kind,
        body: object,
        *,
        namespace: str | None = None,
        **query: object,
    ) -> bytes:
        """The created object's bytes."""
        return self.request(
            "POST",
            kind.path(namespace=namespace),
            query=query,
            body=body,
        )

    def replace(
        self,
        kind: Kind,
        name: str,
        body: object,
        *,
        namespace: str | None = None,
        **query: object,
    ) -> bytes:
        """The replaced object's bytes."""
        path = kind.path(namespace=namespace, name=name)
        return self.request("PUT", path, query=query, body=body)

    def patch(
        self,
        kind: Kind,
        name: str,
        body: object,
        *,
        patch: str,
        namespace: str | None = None,
        subresource: str | None = None,
        query: QueryParameters | None = None,
    ) -> bytes:
        """The patched object's bytes; `patch` is json, merge, strategic or apply."""
        path = kind.path(namespace=namespace, name=name, subresource=subresource)
        return self.request(
            "PATCH",
            path,
            query=query,
            body=body,
            content_type=PATCH_TYPES[patch],
        )

    def delete(
        self,
        kind: Kind,
        name: str,
        *,
        namespace: str | None = None,
        options: Object | None = None,
    ) -> bytes:
        """The API server's answer: a Status, or the object while it is terminating."""
        return self.request(
            "DELETE",
            kind.path(namespace=namespace, name=name),
            body=options,
        )

    def version(self) -> str:
        """The server's version, e.g. `v1.36.0`."""
        try:
            info = orjson.loads(self.request("GET", "/version"))
        # Every API server has /version: an ingress answers `404 page not found` to it.
        except (NotFound, orjson.JSONDecodeError):
            raise not_an_api_server() from None
        version = info.get("gitVersion") if isinstance(info, dict) else None
        if not isinstance(version, str) or not version:
            raise not_an_api_server()
        # PostgreSQL stores no NUL.
        return version.replace("\0", "")[:MAX_VERSION]

    # --- requests --------------------------------------------------------------------------------
    def request(
        self,
        method: str,
        path: str,
        *,
        query: QueryParameters | None = None,
        body: object = None,
        content_type: str = JSON_TYPE,
        accept: str = JSON_TYPE,
    ) -> bytes:
        """The body of a successful answer; an error of `core.errors` for everything else."""
        try:
            with self.call_limiter.slot(), self._guard(path), whole_answers():
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
            # A write without an answer may have been done all the same.
            if not _changes_nothing(method, path) and not (query or {}).get("dryRun"):
                self.on_write(path)
        if response.status >= 400:
            raise status_error(response.status, data)
        if response.status >= 300:
            raise redirect_error()
        if accept == JSON_TYPE and data[:1] not in (b"{", b"["):
            raise not_an_api_server()
        return data

    def open(
        self,
        method: str,
        path: str,
        *,
        query: QueryParameters | None = None,
        body: object = None,
        content_type: str = JSON_TYPE,
        accept: str = JSON_TYPE,
        read_timeout: float | None = None,
        silence: float | None = None,
    ) -> urllib3.BaseHTTPResponse:
        """The answer as it arrives, of any status; the caller reads and releases it.

        `silence`, for a followed log, is how many seconds may pass between two pieces once it has
        begun. Before that a cluster that says nothing for `read_timeout` seconds is not at fault:
        ClusterUnavailable with the reason "silent".
        """
        # A followed log waits for its container, not for the cluster: it takes no slot.
        slot = self.call_limiter.slot() if silence is None else nullcontext()
        with slot, self._guard(path):
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

    def impersonation(self) -> list[tuple[str, str]]:
        """The headers that name the calling user; [] unless the cluster is asked in users' names.

        They are set here and nowhere else.
        """
        if not self.limits.impersonate:
            return []
        return impersonation.wire_headers(impersonation.current())

    @contextmanager
    def _guard(self, path: str) -> Iterator[None]:
        """Refuse a call while a circuit is open; else count its answer or time-out."""
        group = api_group(path)
        self.circuit.check()
        self._groups.check(group)
        self._probe_if_doubtful()
        started = time.monotonic()
        try:
            yield
        except AnswerTimeout:
            self.circuit.record_timeout(started)
            self._groups.record_timeout(group, started)
            raise
        self.circuit.record_success()
        self._groups.record_success(group)

    def _probe_if_doubtful(self) -> None:
        """After a time-out, read the version first: a slow list does not mean a dead cluster."""
        if not self.circuit.is_doubtful():
            return
        with self._probing:
            # Another thread may have probed while this one waited for the lock.
            if not self.circuit.is_doubtful():
                return
            self.circuit.check()
            seconds = min(PROBE_SECONDS, self.limits.read)
            try:
                with whole_answers():
                    self._read(self._send("GET", "/version", read=seconds), seconds)
            except AnswerTimeout:
                self.circuit.trip("timeout")
                raise
            self.circuit.record_success()

    def _send(
        self,
        method: str,
        path: str,
        *,
        read: float,
        query: QueryParameters | None = None,
        body: object = None,
        content_type: str = JSON_TYPE,
        accept: str = JSON_TYPE,
        silence: float | None = None,
    ) -> urllib3.BaseHTTPResponse:
        """The answer as it arrives; counts failures to connect."""
        headers = urllib3.HTTPHeaderDict({**self._headers, "Accept": accept})
        for name, value in self.impersonation():
            headers.add(name, value)
        if body is not None:
            headers["Content-Type"] = content_type
        try:
            response: urllib3.BaseHTTPResponse = self._pool.urlopen(
                method,
                self._url(path, query),
                headers=headers,
                body=None if body is None else encode_body(body),
                timeout=urllib3.Timeout(connect=self.limits.connect, read=read),
                # A write may have been done before the connection was closed.
                retries=RETRY_ON_FRESH_CONNECTION if _changes_nothing(method, path) else False,
                redirect=False,
                preload_content=False,
            )
        except DomainError as error:
            # The guarded pool refused the address that the name led to.
            self.circuit.record_failure(str(error.details.get("reason", "")))
            raise
        except ReadTimeoutError as error:
            if silence is None:
                raise self._unavailable(error) from error
            raise ClusterUnavailable("the cluster has sent nothing yet", reason="silent") from error
        except HTTPError as error:
            raise self._unavailable(error) from error
        connection = getattr(response.connection, "sock", None)
        if silence is not None and connection is not None:
            # urllib3 has one read time-out for head and body; the body's differs here.
            connection.settimeout(silence)
        return response

    def _url(self, path: str, query: QueryParameters | None) -> str:
        parameters = {
            name: value for name, value in (query or {}).items() if value not in (None, "")
        }
        if not parameters:
            return f"{self._host}{path}"
        return f"{self._host}{path}?{urlencode(parameters)}"

    def _read(self, response: urllib3.BaseHTTPResponse, seconds: float) -> bytes:
        """The whole body within the time limit, however slowly it drips."""
        deadline = time.monotonic() + seconds
        parts: list[bytes] = []
        size = 0
        try:
            while part := response.read1(READ_BYTES):
                parts.append(part)
                size += len(part)
                self.call_limiter.count_bytes(len(part))
                if time.monotonic() > deadline:
                    # As urllib3 raises it for a single read.
                    raise _read_timeout()
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
            self.call_limiter.count_bytes(-size)
        response.release_conn()
        return b"".join(parts)

    def _unavailable(self, error: HTTPError) -> ClusterUnavailable:
        """The error for a connection that failed; a failure to connect counts for the circuit."""
        reason, sentence, fault = describe(error)
        unavailable = unreachable(reason, sentence, fault)
        if reason == "timeout_read":
            return AnswerTimeout(unavailable.message, **unavailable.details)
        self.circuit.record_failure(reason)
        return unavailable
