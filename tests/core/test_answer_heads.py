"""Heads of answers: what the application may say, and what is the server's own."""

import re
import socket
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.http.errors import InvalidResponseHeader, InvalidResponseHeaderName
from gunicorn.http.unreader import IterUnreader

from kubegale.plain_requests import Origin, read_plain
from kubegale.web_answers import JoinedResponse


def answer(headers: list[tuple[Any, Any]], *, method: bytes = b"GET", body: bytes = b"") -> bytes:
    """What the client gets."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        origin = Origin.of_connection(Config(), ours, "", "/run/web")
        data = method + b" / HTTP/1.1\r\nHost: a\r\n\r\n"
        reading = read_plain(data, origin, IterUnreader([]))
        assert reading
        response = JoinedResponse(reading[0], ours, Config())
        response.start_response("200 OK", headers)
        response.write(body)
        response.close()
        ours.shutdown(socket.SHUT_WR)
        return theirs.recv(65_536)


def test_the_servers_lines_come_first_and_the_rest_as_the_application_says_it() -> None:
    sent = answer(
        [("X-B", " b\t"), ("Connection", "close"), ("Date", "never"), ("content-length", "2")],
        body=b"{}",
    )
    sent = re.sub(rb"Date: [A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} [\d:]{8} GMT", b"Date: x", sent)
    lines = [b"HTTP/1.1 200 OK", b"Server: KubeGale", b"Date: x", b"Connection: keep-alive"]
    lines += [b"X-B: b", b"content-length: 2", b"", b"{}"]
    assert sent.replace(b"gunicorn", b"KubeGale") == b"\r\n".join(lines)


def test_a_body_without_a_length_comes_in_chunks() -> None:
    sent = answer([("A", "b")], body=b"abc")
    assert b"\r\nTransfer-Encoding: chunked\r\n" in sent
    assert sent.endswith(b"\r\n\r\n3\r\nabc\r\n0\r\n\r\n")


def test_an_answer_to_head_has_no_body(caplog: pytest.LogCaptureFixture) -> None:
    headers = [("Content-Length", "5")]
    assert answer(headers, method=b"HEAD", body=b"abcde").endswith(b"Content-Length: 5\r\n\r\n")
    # A probe may ask so every second.
    assert not caplog.records


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ([("A", "b"), ("B", "c\r\nSet-Cookie: d")], InvalidResponseHeader),
        ([("A", "b\0")], InvalidResponseHeader),
        ([("A", "\u20ac")], InvalidResponseHeader),
        ([("A\r\nB", "c")], InvalidResponseHeaderName),
        ([("A B", "c")], InvalidResponseHeaderName),
        ([("", "c")], InvalidResponseHeaderName),
        ([("A", b"c")], TypeError),
        ([(b"A", "c")], TypeError),
        ([("Content-Length", "three")], ValueError),
    ],
)
def test_a_header_that_would_be_read_as_more_is_the_applications_fault(
    headers: list[tuple[Any, Any]], error: type[Exception]
) -> None:
    with pytest.raises(error):
        answer(headers)
