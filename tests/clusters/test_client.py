"""The door to a cluster on a bad day: every failure is a named domain error, in time."""

import contextlib
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from clusters.api_errors import status_error
from clusters.call_limits import CallLimiter
from clusters.client import ClientLimits, ClusterClient
from clusters.kinds import KINDS, Kind, custom_kind
from clusters.kubeconfig import Access
from clusters.wire import encode_body
from core.errors import (
    ClusterUnavailable,
    DomainError,
    Invalid,
    NamespaceNotFound,
    NotFound,
    TooManyRequests,
)
from tests.bad_servers import (
    Behaviour,
    answering,
    broken_off,
    closing_when_asked_again,
    dripping,
    refusing,
    serving,
    silent,
)

PODS = KINDS["pods"]


def client(server: str, **limits: Any) -> ClusterClient:
    """A client with little patience."""
    return ClusterClient(
        Access(server=server),
        ClientLimits(**{"connect": 0.5, "read": 1.0, "circuit": 0.3, **limits}),
    )


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (silent, "timeout"),
        (dripping, "timeout"),
        (broken_off, "tcp"),
        (answering("200 OK", b"<html>hello</html>"), "bad_answer"),
        (answering("404 Not Found", b"<html>nothing</html>"), "bad_answer"),
        (answering("403 Forbidden", b"<html>no</html>"), "bad_answer"),
        (answering("302 Found", b"", "Location: http://127.0.0.1:1/"), "redirect"),
        (answering("401 Unauthorized", b"{}"), "credential_invalid"),
        (answering("503 Service Unavailable", b"<html>"), "server_error"),
        (answering("200 OK", b'{"items": 5}'), "bad_answer"),
    ],
)
def test_a_misbehaving_server_is_named_within_the_time_limit(behaviour: Any, reason: str) -> None:
    with serving(behaviour) as server:
        started = time.monotonic()
        with pytest.raises(ClusterUnavailable) as caught:
            client(server).chunk(PODS)
    assert caught.value.details["reason"] == reason
    assert time.monotonic() - started < 8


def test_a_name_that_does_not_resolve_says_dns() -> None:
    with pytest.raises(ClusterUnavailable) as caught:
        client("https://no-such-host.invalid").version()
    assert caught.value.details["reason"] == "dns"


def test_a_server_without_tls_says_tls() -> None:
    with serving(answering("200 OK", b"{}")) as server, pytest.raises(ClusterUnavailable) as caught:
        client(server.replace("http:", "https:")).version()
    assert caught.value.details["reason"] == "tls"


def test_a_dead_cluster_answers_at_once() -> None:
    with refusing() as server:
        dead = client(server, circuit=30.0)
        for _ in range(3):
            with pytest.raises(ClusterUnavailable, match="cannot be reached"):
                dead.version()
        started = time.monotonic()
        with pytest.raises(ClusterUnavailable, match="did not answer lately") as caught:
            dead.version()
        assert caught.value.details == {"reason": "tcp", "cause": "refused"}
        assert time.monotonic() - started < 5


def test_an_open_circuit_lets_one_caller_try_again() -> None:
    with serving(answering("500 Oops", b"")) as server:
        tired = client(server, circuit=0.05)
        for _ in range(3):
            tired.circuit.record_failure("tcp")
        with pytest.raises(ClusterUnavailable, match="did not answer lately"):
            tired.circuit.check()
        time.sleep(0.1)
        with pytest.raises(ClusterUnavailable, match="HTTP 500"):
            tired.version()
        tired.circuit.check()


def test_a_silent_cluster_takes_its_share_of_the_threads_and_then_answers_at_once() -> None:
    healthy = answering("200 OK", b'{"metadata":{},"items":[]}')
    with serving(silent) as mute, serving(healthy) as server, ThreadPoolExecutor(8) as threads:
        dead = client(mute, read=3.0, circuit=60.0, concurrency=4)
        waiting = [threads.submit(dead.chunk, PODS) for _ in range(16)]
        deadline = time.monotonic() + 5
        other = threads.submit(client(server).chunk, PODS)
        assert other.result(timeout=deadline - time.monotonic()).items == []
        errors = [future.exception(timeout=60) for future in waiting]
        refused = [error for error in errors if isinstance(error, TooManyRequests)]
        silence = [error for error in errors if isinstance(error, ClusterUnavailable)]
        assert len(refused) + len(silence) == 16
        assert len(silence) >= 4
        assert refused
        assert all("waiting for this cluster" in error.message for error in refused)
        started = time.monotonic()
        with pytest.raises(ClusterUnavailable):
            dead.version()
        assert time.monotonic() - started < 5.5
        with pytest.raises(ClusterUnavailable, match="did not answer lately"):
            dead.version()


def _hanging_at(hung: str, paths: list[str]) -> Behaviour:
    """Answers everything but one path."""

    def behave(connection: socket.socket) -> None:
        path = connection.recv(65536).decode().split(" ")[1]
        paths.append(path)
        if hung in path:
            connection.settimeout(20)
            connection.recv(1)
        body = b'{"gitVersion":"v1.36.0","items":[],"metadata":{}}'
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )

    return behave


def test_an_aggregated_api_that_hangs_does_not_close_the_cluster() -> None:
    paths: list[str] = []
    with serving(_hanging_at("metrics.k8s.io", paths)) as server:
        tired = client(server, read=0.3, circuit=60.0)
        usage = custom_kind("metrics.k8s.io", "v1beta1", "pods")
        for _ in range(3):
            with pytest.raises(ClusterUnavailable, match="no answer in time"):
                tired.chunk(usage)
        with pytest.raises(ClusterUnavailable, match=r"metrics\.k8s\.io did not answer lately"):
            tired.chunk(usage)
        assert tired.chunk(PODS).items == []
        assert tired.chunk(KINDS["deployments"]).items == []
    # After a silence the cluster is asked for its version before anything else.
    assert "/version" in paths


def _dripping_head(connection: socket.socket) -> None:
    """A header that never ends, a byte at a time."""
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
    with contextlib.suppress(OSError):
        while True:
            connection.sendall(b"x")
            time.sleep(0.05)


def _going_on(connection: socket.socket) -> None:
    """Never comes to its answer."""
    connection.recv(65536)
    with contextlib.suppress(OSError):
        while True:
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            time.sleep(0.01)


def _dripping_size(connection: socket.socket) -> None:
    """A chunk whose size never ends."""
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    with contextlib.suppress(OSError):
        while True:
            connection.sendall(b"0")
            time.sleep(0.05)


@pytest.mark.parametrize("behaviour", [_dripping_head, _going_on, _dripping_size])
def test_an_answer_that_never_comes_to_its_point_ends_in_time(behaviour: Behaviour) -> None:
    with serving(behaviour) as server:
        started = time.monotonic()
        with pytest.raises(ClusterUnavailable) as caught:
            client(server, read=0.5).chunk(PODS)
    assert caught.value.details["reason"] == "timeout"
    assert time.monotonic() - started < 8


def test_large_answers_of_one_cluster_share_one_bound() -> None:
    """What is read is given back, whether it was too much or not."""
    part = b"a" * 65_536

    def flood(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b'HTTP/1.1 200 OK\r\n\r\n{"items":["')
        with contextlib.suppress(OSError):
            while True:
                connection.sendall(part)
                sent.append(len(part))

    sent: list[int] = []
    limiter = CallLimiter(4, max_bytes=8 * 2**20)
    page = b'{"items":[{"metadata":{"name":"%s"}}]}' % (b"a" * 5 * 2**20)
    with serving(flood) as server, ThreadPoolExecutor(4) as threads:
        access = Access(server=server)
        caller = ClusterClient(access, ClientLimits(connect=5, read=30, circuit=0.3), limiter)
        calls = [threads.submit(caller.chunk, PODS) for _ in range(4)]
        errors = [call.exception(timeout=60) for call in calls]
    assert [error.details["reason"] for error in errors] == ["bad_answer"] * 4  # type: ignore[union-attr]
    assert {error.message for error in errors} == {"the cluster's answer is too large"}  # type: ignore[union-attr]
    with serving(answering("200 OK", page)) as server:
        caller = ClusterClient(Access(server=server), ClientLimits(connect=5, read=30), limiter)
        for _ in range(3):
            assert len(caller.chunk(PODS).items) == 1


def _endless(items: bytes, fresh: bool, counts: list[int]) -> Behaviour:
    """A list that always goes on."""

    def behave(connection: socket.socket) -> None:
        counts.append(1)
        token = b"%d" % (len(counts) if fresh else 0)
        body = b'{"metadata":{"continue":"%s"},"items":[%s]}' % (token, items)
        answering("200 OK", body, "Connection: close")(connection)

    return behave


@pytest.mark.parametrize(("items", "fresh"), [(b"{}", False), (b"", True)])
def test_a_list_without_an_end_is_a_bad_answer(items: bytes, fresh: bool) -> None:
    counts: list[int] = []
    with (
        serving(_endless(items, fresh, counts)) as server,
        pytest.raises(ClusterUnavailable, match="no end") as caught,
    ):
        client(server).read_list(list, PODS)
    assert caught.value.details["reason"] == "bad_answer"
    assert len(counts) < 10


def test_a_list_that_grows_for_ever_ends_in_time() -> None:
    with (
        serving(_endless(b"{}", True, [])) as server,
        pytest.raises(ClusterUnavailable, match="takes too long"),
    ):
        client(server, read=0.5).read_list(list, PODS)


def test_a_list_that_went_stale_is_read_in_one_piece() -> None:
    queries: list[str] = []

    def behave(connection: socket.socket) -> None:
        path = connection.recv(65536).decode().split(" ")[1]
        queries.append(path.partition("?")[2])
        gone = b'{"kind":"Status","reason":"Expired","code":410,"message":"too old"}'
        if "continue" in path:
            connection.sendall(
                b"HTTP/1.1 410 Gone\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(gone)
                + gone
            )
            return
        token = b"next" if "limit=2" in path else b""
        body = b'{"metadata":{"continue":"%s"},"items":[{"a":1}]}' % token
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )

    with serving(behave) as server:
        chunks = client(server).read_list(list, PODS, limit=2)
    assert [len(chunk.items or []) for chunk in chunks] == [1]
    assert queries == ["limit=2", "limit=2&continue=next", ""]


def test_the_address_that_a_name_leads_to_is_checked_before_anything_is_sent() -> None:
    received: list[bytes] = []

    def listen(connection: Any) -> None:
        received.append(connection.recv(65536))

    with serving(listen) as server, pytest.raises(ClusterUnavailable) as caught:
        client(server.replace("127.0.0.1", "localhost"), policy="10.0.0.0/8").version()
    assert caught.value.details["reason"] == "address_refused"
    assert received in ([], [b""])


@pytest.mark.parametrize(
    "name", ["../secrets/x", "..", ".", "", "a/b", "%2e%2e", "x" * 300, "a\x00b", "a\nb"]
)
def test_hostile_names_never_become_an_address(name: str) -> None:
    for arguments in ({"namespace": "default", "name": name}, {"namespace": name, "name": "x"}):
        with pytest.raises(Invalid):
            PODS.path(**arguments)


def test_ordinary_and_odd_but_legal_names_become_addresses() -> None:
    role = KINDS["clusterroles"].path(name="system:node-proxier")
    assert role == "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:node-proxier"
    assert (
        PODS.path(namespace="a", name="b", subresource="log") == "/api/v1/namespaces/a/pods/b/log"
    )
    assert (
        Kind("Widget", "widgets", "example.com", "v1beta1").path()
        == "/apis/example.com/v1beta1/widgets"
    )


@pytest.mark.parametrize(
    ("group", "version", "plural"),
    [("..", "v1", "x"), ("a", "v/1", "x"), ("a", "v1", "../x"), ("A", "v1", "x"), ("a", "1", "x")],
)
def test_custom_kinds_are_dns_words(group: str, version: str, plural: str) -> None:
    with pytest.raises(Invalid):
        custom_kind(group, version, plural)


REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


@pytest.mark.parametrize(
    ("method", "path", "repeated"),
    [
        ("GET", "/version", True),
        ("POST", REVIEW, True),
        # A write may have been done before the connection was closed.
        ("POST", "/api/v1/namespaces", False),
    ],
)
def test_a_connection_that_closes_meanwhile_costs_no_read_and_repeats_no_write(
    method: str, path: str, repeated: bool
) -> None:
    with serving(closing_when_asked_again) as server:
        caller = client(server)
        assert caller.request("GET", "/version") == b"{}"
        if repeated:
            assert caller.request(method, path) == b"{}"
        else:
            with pytest.raises(ClusterUnavailable, match="connection"):
                caller.request(method, path, body={})


def test_the_api_servers_reason_is_kept() -> None:
    status = {
        "kind": "Status",
        "message": 'pods "x" not found',
        "reason": "NotFound",
        "details": {"name": "x", "kind": "pods"},
        "code": 404,
    }
    error = status_error(404, encode_body(status))
    assert isinstance(error, NotFound)
    assert not isinstance(error, NamespaceNotFound)
    assert error.details == {
        "reason": "NotFound",
        "status": 404,
        "details": {"name": "x", "kind": "pods"},
    }


def test_a_kind_that_is_not_served_is_not_found() -> None:
    assert type(status_error(404, b"404 page not found\n")) is NotFound


@pytest.mark.parametrize("status", range(400, 600, 7))
def test_every_status_becomes_a_domain_error(status: int) -> None:
    assert isinstance(status_error(status, b""), DomainError)
