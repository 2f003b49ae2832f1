"""Heads and chunked bodies as bytes: what is read, and what is refused because two readers could read it in two ways."""

import pytest

from edge.limits import Limits, SettingError
from edge.wire import Chunked, Refusal, find_head, parse_answer, parse_request

LIMITS = Limits()
SPOKEN = b"GET / HTTP/1.1\r\nHost: a\r\n%s\r\n"


def parse(raw: bytes) -> object:
    """The head, found and read as a connection does."""
    return parse_request(raw[: find_head(bytearray(raw), LIMITS)], LIMITS)


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (SPOKEN % b"Content-Length: 1\r\nContent-Length: 1\r\n", 400),
        (SPOKEN % b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", 400),
        (SPOKEN % b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400),
        (SPOKEN % b"Transfer-Encoding: gzip, chunked\r\n", 400),
        (SPOKEN % b"Transfer-Encoding: xchunked\r\n", 400),
        (SPOKEN % b"Transfer-Encoding : chunked\r\n", 400),
        (SPOKEN % b"Content-Length: +1\r\n", 400),
        (SPOKEN % b"Content-Length: 1, 1\r\n", 400),
        (SPOKEN % b"Content-Length: 0x1\r\n", 400),
        (SPOKEN % b"Content-Length:\r\n", 400),
        (SPOKEN % b"A: b\r\n c\r\n", 400),
        (SPOKEN % b" A: b\r\n", 400),
        (SPOKEN % b"A: b\nC: d\r\n", 400),
        (SPOKEN % b"A: b\rC: d\r\n", 400),
        (SPOKEN % b"A: \x00\r\n", 400),
        (SPOKEN % b"A B: c\r\n", 400),
        (SPOKEN % b": c\r\n", 400),
        (SPOKEN % b"Host: b\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: \r\n\r\n", 400),
        (b"get / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GO / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (SPOKEN % b"Expect: 200-ok\r\n", 417),
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\n\n", 400),
        (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET http://a@b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET /" + b"a" * 8190, 414),
        (SPOKEN % (b"A: b\r\n" * 100), 431),
        (SPOKEN % (b"A: " + b"b" * 8190 + b"\r\n"), 431),
        (b"GET / HTTP/1.1\r\n" + b"A: " + b"b" * 33_000, 431),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(raw: bytes, status: int) -> None:
    with pytest.raises(Refusal) as refusal:
        parse(raw)
    assert refusal.value.status == status


def test_an_address_reaches_the_server_as_it_was_sent() -> None:
    request = parse_request(b"GET /a%2Fb/%e4?c=%20d HTTP/1.1\r\nHost: a\r\n\r\n", LIMITS)
    assert request.target == b"/a%2Fb/%e4?c=%20d"


def test_an_absolute_address_names_the_host() -> None:
    request = parse_request(b"GET http://b:1/c?d HTTP/1.1\r\nHost: a\r\n\r\n", LIMITS)
    assert (request.target, request.value(b"host")) == (b"/c?d", b"b:1")


def test_only_headers_for_the_far_end_are_passed_on() -> None:
    sent = (
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: X-Mine, Authorization, X-Forwarded-For\r\n"
        b"X-Mine: 1\r\nAuthorization: Bearer b\r\nX-Forwarded-For: 1.2.3.4\r\nTE: trailers\r\n"
        b"X-Kubegale-Peer: 1.1.1.1\r\nX_Kubegale_Peer: 1.1.1.1\r\nScript_Name: /c\r\n\r\n"
    )
    assert parse_request(sent, LIMITS).end_to_end() == [
        (b"host", b"a"),
        (b"authorization", b"Bearer b"),
        (b"x-forwarded-for", b"1.2.3.4"),
    ]


def test_a_chunked_body_is_the_same_in_one_piece_and_byte_by_byte() -> None:
    wire = b"5;a=b\r\nhello\r\n1\r\n \r\nA\r\n0123456789\r\n0\r\nX: y\r\n\r\nGET"
    decoder = Chunked()
    assert decoder.take(wire) == (b"hello 0123456789", b"GET")
    slow = Chunked()
    parts = [slow.take(bytes([byte]))[0] for byte in wire[:-3]]
    assert (b"".join(parts), slow.done) == (b"hello 0123456789", True)


@pytest.mark.parametrize(
    "wire",
    [b"5\nhello", b"g\r\n", b"-1\r\n", b"1\r\nab\r\n", b"\r\n", b"0x1\r\n", b"1" * 2000, b"f" * 16],
)
def test_a_chunked_body_that_is_none_is_refused(wire: bytes) -> None:
    with pytest.raises(Refusal):
        Chunked().take(wire + b"\r\n")


def test_larger_bodies_are_for_those_who_show_credentials() -> None:
    limits = Limits.from_environment({"OPEN_DIALECTS": "bcs,walm@10.0.0.0/8"})
    small, large = limits.anonymous_body_bytes, limits.body_bytes
    assert small == 64 * 1024
    for header in (
        (b"authorization", b"Bearer a"),
        (b"secret", b"a"),
        (b"x-bcs-user-token", b"a"),
        (b"cookie", b"theme=dark; sessionid=a"),
    ):
        assert limits.body_limit(b"/api/v1/kubernetes/clusters", [header]) == large
    for target in (b"/api/v1/auth/login", b"/signin", b"/v1/k8sservice/a", b"/api/v1/k8s/a"):
        assert limits.body_limit(target, [(b"cookie", b"theme=dark")]) == small
    for target in (b"/bcsapi/v4/storage/a", b"/api/v1/tenant/a"):
        assert limits.body_limit(target, []) == large


@pytest.mark.parametrize(
    "environ",
    [{"EDGE_HEAD_SECONDS": "soon"}, {"MAX_BODY_BYTES": "0"}, {"TRUSTED_PROXIES": "here"}],
)
def test_a_limit_that_is_none_is_said(environ: dict[str, str]) -> None:
    with pytest.raises(SettingError, match=next(iter(environ))):
        Limits.from_environment(environ)


@pytest.mark.parametrize(
    ("fields", "length", "reusable"),
    [
        (b"Content-Length: 3", 3, True),
        (b"content-length:3\r\nCONNECTION: keep-alive", 3, True),
        (b"Content-Length: 3\r\nConnection: Close", 3, False),
        (b"Transfer-Encoding: chunked", None, True),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 3", None, True),
        (b"X-Content-Length: 3\r\nNote: Content-Length: 4", -1, False),
    ],
)
def test_the_end_of_an_answer_is_where_its_head_says(
    fields: bytes, length: int | None, reusable: bool
) -> None:
    answer = parse_answer(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n" % fields, b"GET")
    assert (answer.status, answer.length, answer.reusable) == (200, length, reusable)


def test_an_answer_reaches_the_client_without_what_is_said_to_the_front() -> None:
    lines = b"A: b\r\nKeep-Alive: 5\r\nTransfer-Encoding: chunked\r\nconnection: close\r\nTe-A: c"
    answer = parse_answer(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n" % lines, b"GET")
    lines = b"A: b\r\nTransfer-Encoding: chunked\r\nTe-A: c\r\nConnection: keep-alive"
    assert answer.head_for_client(keep_alive=True) == b"HTTP/1.1 200 OK\r\n%b\r\n\r\n" % lines
    assert answer.head_for_client(keep_alive=False).endswith(b"c\r\nConnection: close\r\n\r\n")


@pytest.mark.parametrize("raw", [b"", b"HTTP/1.1 20\r\n\r\n", b"HTTP/1.1 2000 OK\r\n\r\n"])
def test_what_is_no_answer_is_said(raw: bytes) -> None:
    with pytest.raises(ValueError, match="HTTP"):
        parse_answer(raw, b"GET")


@pytest.mark.parametrize(("method", "status"), [(b"HEAD", 200), (b"GET", 304), (b"PUT", 204)])
def test_some_answers_have_no_body_whatever_they_announce(method: bytes, status: int) -> None:
    raw = b"HTTP/1.1 %d Word\r\nContent-Length: 3\r\n\r\n" % status
    assert parse_answer(raw, method).length == 0
