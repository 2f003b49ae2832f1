"""HTTP/1.1 as the gateway reads it: heads and chunked bodies, parsed by httptools (llhttp).

Nothing is guessed: what two readers could read in two ways is refused.
"""

import re
from dataclasses import dataclass, field
from http import HTTPStatus

import httptools

from gateway.messages import Response

END = b"\r\n\r\n"
MAX_HEADERS = 100
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# Of one connection; an answer or request on the other side gets its own.
HOP_BY_HOP = frozenset(
    {
        "connection",
        "expect",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9a-z]+")
_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
_TARGET = re.compile(rb"/[\x21-\x7e]*")
_LENGTH = re.compile(r"[0-9]{1,18}")


class BadMessage(Exception):
    """A message that cannot be read in one way only; `status` is what a client is answered."""

    def __init__(self, sentence: str, status: int = 400) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.status = status


@dataclass(slots=True)
class WireRequest:
    """The head of a request. `length` is None for a chunked body.

    Names of headers are in lower case, values are Latin-1. `upgrade` is the protocol that the
    client wants to change to, in lower case. `is_link` says that its address was a link's.
    """

    method: str
    target: str
    headers: list[tuple[str, str]]
    length: int | None
    keep_alive: bool
    is_http_1_0: bool = False
    upgrade: str = ""
    expects: bool = False
    nominated: frozenset[str] = frozenset()
    is_link: bool = False


@dataclass(slots=True)
class WireAnswer:
    """The head of an answer. `length` is None for a chunked body, -1 for one until the end."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    length: int | None
    reusable: bool


@dataclass(slots=True)
class _Head:
    """What httptools calls back with."""

    url: bytes = b""
    reason: bytes = b""
    headers: list[tuple[str, str]] = field(default_factory=list)

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_status(self, status: bytes) -> None:
        self.reason += status

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.decode("latin-1").lower(), value.decode("latin-1").strip(" \t")))


def parse_request(raw: bytes) -> WireRequest:
    """The head of a request; `raw` ends with its empty line. BadMessage when it is ambiguous."""
    head = _Head()
    parser = httptools.HttpRequestParser(head)
    _feed(parser, raw)
    method = parser.get_method().decode("latin-1")
    if method not in METHODS:
        raise BadMessage(f"the method {method} is not allowed", 405)
    if not _TARGET.fullmatch(head.url):
        raise BadMessage("the address of the request must be a path")
    _check_headers(head.headers)
    version = parser.get_http_version()
    if version not in {"1.0", "1.1"}:
        raise BadMessage("this server speaks HTTP/1.1", 505)
    nominated = _words(head.headers, "connection")
    upgrade = _value(head.headers, "upgrade").lower() if "upgrade" in nominated else ""
    expectation = _value(head.headers, "expect").lower()
    if expectation not in {"", "100-continue"}:
        raise BadMessage("the expectation of the request cannot be met", 417)
    length = _request_length(head.headers)
    if version == "1.0" and length is None:
        raise BadMessage("a chunked body needs HTTP/1.1")
    return WireRequest(
        method=method,
        target=head.url.decode("ascii"),
        headers=head.headers,
        length=length,
        keep_alive="keep-alive" in nominated if version == "1.0" else "close" not in nominated,
        is_http_1_0=version == "1.0",
        upgrade=upgrade,
        expects=bool(expectation) and version == "1.1",
        nominated=nominated,
    )


def parse_answer(raw: bytes, method: str) -> WireAnswer:
    """The head of a cluster's answer; BadMessage when it is none."""
    head = _Head()
    parser = httptools.HttpResponseParser(head)
    _feed(parser, raw)
    status = parser.get_status_code()
    if not 100 <= status <= 599:
        raise BadMessage("the status of the answer cannot be read")
    if len(head.headers) > MAX_HEADERS:
        raise BadMessage("the answer has too many headers")
    nominated = _words(head.headers, "connection")
    reusable = parser.get_http_version() == "1.1" and "close" not in nominated
    length = _answer_length(head.headers, method, status)
    reason = head.reason.decode("latin-1")
    return WireAnswer(status, reason, head.headers, length, reusable and length != -1)


def _feed(
    parser: "httptools.HttpRequestParser | httptools.HttpResponseParser",
    raw: bytes,
) -> None:
    try:
        parser.feed_data(raw)
    except httptools.HttpParserUpgrade:
        # Whether it is upgraded is decided elsewhere.
        return
    except httptools.HttpParserError:
        raise BadMessage("the head of the message cannot be read") from None


def _check_headers(headers: list[tuple[str, str]]) -> None:
    if len(headers) > MAX_HEADERS:
        raise BadMessage(f"the request has more than {MAX_HEADERS} headers", 431)
    for name, value in headers:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise BadMessage("a header of the request cannot be read")
    names = [name for name, _ in headers]
    for single in ("host", "authorization", "content-length", "transfer-encoding", "upgrade"):
        if names.count(single) > 1:
            raise BadMessage(f"the request has more than one {single} header")


def _request_length(headers: list[tuple[str, str]]) -> int | None:
    coding = _value(headers, "transfer-encoding")
    length = _value(headers, "content-length")
    if coding:
        if coding.lower() != "chunked" or length:
            raise BadMessage("the length of the request's body is not clear")
        return None
    if not length:
        return 0
    if not _LENGTH.fullmatch(length):
        raise BadMessage("content-length must be a whole number")
    return int(length)


def _answer_length(headers: list[tuple[str, str]], method: str, status: int) -> int | None:
    if method == "HEAD" or status in {204, 304} or status < 200:
        # These have no body, whatever their headers say.
        return 0
    if coding := _value(headers, "transfer-encoding"):
        if coding.lower() != "chunked":
            raise BadMessage("the transfer encoding of the answer is not chunked")
        return None
    lengths = {value for name, value in headers if name == "content-length"}
    if not lengths:
        return -1
    if len(lengths) > 1 or not _LENGTH.fullmatch(min(lengths)):
        raise BadMessage("the length of the answer is not clear")
    return int(min(lengths))


def _value(headers: list[tuple[str, str]], name: str) -> str:
    return next((value for key, value in headers if key == name), "")


def _words(headers: list[tuple[str, str]], name: str) -> frozenset[str]:
    words = [value.split(",") for key, value in headers if key == name]
    return frozenset(word.strip().lower() for group in words for word in group if word.strip())


class ChunkedBody:
    """Decodes a chunked body as it comes: `feed` returns its data, `done` says that it ended."""

    def __init__(self) -> None:
        self.done = False
        self._data: list[bytes] = []
        # The parser sees a body after a head only.
        self._parser = httptools.HttpRequestParser(self)
        self._parser.feed_data(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")

    def on_body(self, data: bytes) -> None:
        """Called by the parser."""
        self._data.append(data)

    def on_message_complete(self) -> None:
        """Called by the parser."""
        self.done = True

    def on_message_begin(self) -> None:
        """Called by the parser, again when bytes follow after the end of the body."""
        if self.done:
            raise ValueError

    def feed(self, data: bytes) -> bytes:
        """The data that these bytes hold; BadMessage when they are malformed.

        Whatever follows after the end of the body is dropped: the connection is not used again.
        """
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            if not self.done:
                raise BadMessage("the chunked body cannot be read") from None
            # More than the body came.
            self.has_more = True
        parts = self._data
        self._data = []
        return parts[0] if len(parts) == 1 else b"".join(parts)

    # Whether bytes followed after the end of the body.
    has_more = False


def encode_chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"


def encode_head(status: int, reason: str, headers: list[tuple[str, str]]) -> bytes:
    """The head of an answer."""
    lines = [f"HTTP/1.1 {status} {reason or _reason(status)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join(lines).encode("latin-1", "replace") + END


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def encode_response(response: Response, *, keep_alive: bool, method: str) -> bytes:
    """A whole answer of our own whose body is bytes; without the body for HEAD."""
    body = response.body
    if not isinstance(body, bytes):
        raise TypeError("the body of this answer is not known yet")
    headers = [
        *response.headers,
        ("content-length", str(len(body))),
        ("connection", "keep-alive" if keep_alive else "close"),
    ]
    head = encode_head(response.status, "", headers)
    return head if method == "HEAD" else head + body
