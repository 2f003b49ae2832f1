"""The door to a cluster on a bad day: every failure is a named domain error, in time."""

import time
from typing import Any

import pytest

from clusters.client import ClusterClient, Limits, dumps, status_error
from clusters.kinds import KINDS, Kind, custom
from clusters.kubeconfig import Access
from kubegale.errors import ClusterUnavailable, DomainError, Invalid, NamespaceNotFound, NotFound
from tests.bad_servers import answering, broken_off, dripping, refusing, serving, silent

PODS = KINDS["pods"]


def client(server: str, **limits: Any) -> ClusterClient:
    """A client with little patience."""
    return ClusterClient(
        Access(server=server), Limits(**{"connect": 0.5, "read": 1.0, "circuit": 0.3, **limits})
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
        assert time.monotonic() - started < 0.5


def test_an_open_circuit_lets_one_caller_try_again() -> None:
    with serving(answering("500 Oops", b"")) as server:
        tired = client(server, circuit=0.05)
        for _ in range(3):
            tired.circuit.failed("tcp")
        with pytest.raises(ClusterUnavailable, match="did not answer lately"):
            tired.circuit.check()
        time.sleep(0.1)
        with pytest.raises(ClusterUnavailable, match="HTTP 500"):
            tired.version()
        tired.circuit.check()


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
        custom(group, version, plural)


def test_the_api_servers_reason_is_kept() -> None:
    status = {
        "kind": "Status",
        "message": 'pods "x" not found',
        "reason": "NotFound",
        "details": {"name": "x", "kind": "pods"},
        "code": 404,
    }
    error = status_error(404, dumps(status))
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
