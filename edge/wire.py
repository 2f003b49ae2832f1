"""HTTP/1 as bytes: heads of requests and answers, chunked bodies.

Nothing is guessed: what two readers could read in two ways is refused.
"""

import re
from dataclasses import dataclass, field

from edge.limits import Limits

CRLF = b"\r\n"
CARRIAGE_RETURN = 13
# The end of a head: its last line and an empty one.
END = b"\r\n\r\n"
# Methods are those that the web server reads, too.
REQUEST_LINE = re.compile(rb"([!$%&'*+\-.^_`|~0-9A-Z]{3,20}) ([^\x00-\x20\x7f]+) HTTP/1\.([01])")
FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: |\r|\Z)")
# What says where an answer ends, whether its connection does, and which process has given it.
FRAMING = re.compile(
    rb"\r\n(content-length|transfer-encoding|connection|x-kubegale-process):([^\r]*)",
    re.IGNORECASE,
)
ABSOLUTE = re.compile(rb"https?://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)
CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?")
LONGEST_CHUNK_LINE = 1024
LONGEST_TRAILER = 8192
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"expect",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
# Of an answer, whose chunks pass as they are.
OTHER_HOP = re.compile(
    rb"\r\n(?:x-kubegale-process|%b):[^\r]*" % b"|".join(HOP_BY_HOP - {b"transfer-encoding"}),
    re.IGNORECASE,
)
KEEP_ALIVE = b"\r\nConnection: keep-alive\r\n\r\n"
CLOSE = b"\r\nConnection: close\r\n\r\n"
# A Connection header cannot remove these: they decide who is asking, and for what.
END_TO_END = frozenset({b"host", b"content-length", b"authorization", b"cookie", b"secret"})
OWN_PREFIX = b"x-kubegale-"
# Below it the gateway serves Kubernetes' API of every cluster.
GATEWAY_PREFIX = b"/kube/"


class Refusal(Exception):
    """Ends a request with an HTTP status and a sentence; `target` is its address, if known."""

    def __init__(self, status: int, sentence: str, target: bytes = b"") -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.target = target


@dataclass(slots=True)
class Request:
    """The head of a request.

    Names in `headers` are in lower case. `length` is None for a chunked body. `nominated` are the
    words of its Connection header.
    """

    method: bytes
    target: bytes
    minor: int
    headers: list[tuple[bytes, bytes]]
    length: int | None = 0
    keep_alive: bool = True
    websocket: bool = False
    expects: bool = False
    nominated: frozenset[bytes] = field(default_factory=frozenset)

    @property
    def is_for_gateway(self) -> bool:
        """Whether it is one of kubectl's, which pass unread and without a limit to their size."""
        return self.target.startswith(GATEWAY_PREFIX) or self.target == GATEWAY_PREFIX[:-1]

    def value(self, name: bytes) -> bytes:
        """The first value of a header; nothing when it is missing."""
        for key, value in self.headers:
            if key == name:
                return value
        return b""

    def end_to_end(self) -> list[tuple[bytes, bytes]]:
        """The headers that a server may see.

        None of this hop, none of the front's own, none that could pass for another one.
        """
        return [
            (name, value)
            for name, value in self.headers
            if name not in HOP_BY_HOP
            and name != b"content-length"
            # X-Forwarded_For and X-Forwarded-For are one name for a WSGI server.
            and b"_" not in name
            and not name.startswith(OWN_PREFIX)
            and not (self.nominated and self._is_hop_by_hop(name))
        ]

    def _is_hop_by_hop(self, name: bytes) -> bool:
        """Whether the Connection header takes this one away, and may."""
        if name in END_TO_END or name.startswith(b"x-forwarded-"):
            return False
        return name in self.nominated


def check_certificate_headers(request: Request, names: frozenset[bytes], *, trusted: bool) -> None:
    """Drop certificate headers of clients that are no trusted proxy.

    Refusal when a trusted proxy describes a certificate twice.
    """
    if not names:
        return
    if not trusted:
        request.headers = [pair for pair in request.headers if pair[0] not in names]
    # The first or the last could be the client's own.
    present = [name for name, _ in request.headers if name in names]
    if len(present) > len(set(present)):
        raise Refusal(
            400,
            "The client's certificate is described more than once.",
            request.target,
        )


def find_head(buffer: bytearray, limits: Limits) -> int:
    """Where the head in the buffer ends (after its empty line), or 0 when it is incomplete.

    Refusal as soon as no continuation can make it good: too long, or a line that ends in a bare
    line feed.
    """
    end = buffer.find(END)
    head = buffer if end < 0 else buffer[: end + 4]
    newline = head.find(b"\n")
    bare_newline = newline == 0 or (newline > 0 and head[newline - 1] != CARRIAGE_RETURN)
    if bare_newline or b"\n\n" in head:
        raise Refusal(400, "A line of the request's head does not end with CR LF.")
    line_length = len(head) if newline < 0 else newline
    if line_length > limits.line_bytes:
        sentence = f"The request line is longer than {limits.line_bytes} bytes."
        raise Refusal(414, sentence, _long_target(head))
    if len(head) > limits.head_bytes:
        sentence = f"The request's head is larger than {limits.head_bytes} bytes."
        raise Refusal(431, sentence, _target(bytes(head[:newline])))
    return end + 4 if end >= 0 else 0


def _long_target(head: bytearray) -> bytes:
    """The path at the beginning of a request line that is too long; b"" where it is none."""
    # Enough to see which dialect must word the refusal.
    words = bytes(head[:256]).split(b" ", 2)
    if len(words) < 2 or not words[1].startswith(b"/"):
        return b""
    return words[1].partition(b"?")[0]


def _target(line: bytes) -> bytes:
    """The address in a request line; b"" where it is none."""
    parts = line.rstrip(b"\r").split(b" ")
    return parts[1] if len(parts) == 3 and parts[1].startswith(b"/") else b""


def parse_request(raw: bytes, limits: Limits) -> Request:
    """The head of a request; `raw` ends with its empty line.

    Refusal for a message that two readers could read in two ways.
    """
    line, *lines = raw[:-4].split(CRLF)
    match = REQUEST_LINE.fullmatch(line)
    if match is None:
        version = line.rpartition(b" ")[2]
        # A real version of HTTP that we do not speak, for which there is a status.
        if re.fullmatch(rb"HTTP/[0-9]\.[0-9]", version) and not version.startswith(b"HTTP/1."):
            raise Refusal(505, "This server speaks HTTP/1.1.")
        raise Refusal(400, "The request line cannot be read.", _target(line))
    try:
        headers = _parse_headers(lines, limits)
        request = Request(match[1], match[2], int(match[3]), headers)
        _read_address(request)
        _read_framing(request)
        _read_connection(request)
    except Refusal as refusal:
        # The refusal is worded in the dialect of the address, as far as it can be read.
        refusal.target = refusal.target or _target(line)
        raise
    return request


def _parse_headers(lines: list[bytes], limits: Limits) -> list[tuple[bytes, bytes]]:
    """(name in lower case, value) of each line."""
    if len(lines) > limits.headers:
        raise Refusal(431, f"The request has more than {limits.headers} headers.")
    headers: list[tuple[bytes, bytes]] = []
    most = limits.line_bytes
    for line in lines:
        if len(line) > most:
            raise Refusal(431, f"A header is longer than {most} bytes.")
        match = FIELD.fullmatch(line)
        if match is None:
            raise Refusal(400, "A header cannot be read.")
        name, value = match.groups()
        headers.append((name.lower(), value.rstrip(b" \t")))
    return headers


def _read_connection(request: Request) -> None:
    """What becomes of the connection: kept open, upgraded, or asked to go on (100-continue)."""
    values = [value for name, value in request.headers if name == b"connection"]
    words = b",".join(values).split(b",")
    nominated = frozenset([word.strip().lower() for word in words if word])
    request.nominated = nominated
    is_http_1_1 = request.minor == 1
    if is_http_1_1:
        request.keep_alive = b"close" not in nominated
    else:
        request.keep_alive = b"keep-alive" in nominated
    request.websocket = (
        is_http_1_1
        and request.method == b"GET"
        and b"upgrade" in nominated
        and request.value(b"upgrade").lower() == b"websocket"
        # A body would be read as frames of the socket.
        and request.length == 0
    )
    expectation = request.value(b"expect").lower()
    if expectation not in (b"", b"100-continue"):
        raise Refusal(417, "The expectation of the request cannot be met.")
    request.expects = bool(expectation) and is_http_1_1


def _read_address(request: Request) -> None:
    """An absolute address becomes a path and a Host; more than one Host is refused."""
    hosts = [value for name, value in request.headers if name == b"host"]
    if len(hosts) > 1:
        raise Refusal(400, "The request has more than one Host.")
    if not hosts and request.minor:
        # RFC 9112, 3.2.
        raise Refusal(400, "The request has no Host.")
    is_any = request.target == b"*" and request.method == b"OPTIONS"
    if request.target.startswith(b"/") or is_any:
        if hosts == [b""]:
            _drop_empty_host(request)
        return
    absolute = ABSOLUTE.fullmatch(request.target)
    # User names in an address serve only to make it look like another host.
    if absolute is None or not absolute[1] or b"@" in absolute[1]:
        raise Refusal(400, "The request's address cannot be read.")
    rest = absolute[2]
    request.target = rest if rest.startswith(b"/") else b"/" + rest
    # RFC 9112: the host of an absolute address takes the place of the Host header.
    others = [(name, value) for name, value in request.headers if name != b"host"]
    request.headers = [(b"host", absolute[1]), *others]


def _drop_empty_host(request: Request) -> None:
    """Take an empty Host for none; Refusal where there must be one."""
    if request.minor:
        raise Refusal(400, "The request has no Host.")
    request.headers = [pair for pair in request.headers if pair[0] != b"host"]


def _read_framing(request: Request) -> None:
    """Read the length of the body; Refusal when more than one header gives it."""
    lengths = [value for name, value in request.headers if name == b"content-length"]
    codings = [value for name, value in request.headers if name == b"transfer-encoding"]
    # Two readers that believe different ones would see different requests: request smuggling.
    if len(lengths) > 1 or (lengths and codings) or len(codings) > 1:
        raise Refusal(400, "The length of the request's body is given more than once.")
    if codings:
        if codings[0].lower() != b"chunked" or not request.minor:
            raise Refusal(400, "The only transfer encoding of a request's body is chunked.")
        request.length = None
    if lengths:
        # int() also reads signs, underscores and blanks; 18 digits fit 64 bits.
        if not re.fullmatch(rb"[0-9]{1,18}", lengths[0]):
            raise Refusal(400, "Content-Length must be a whole number.")
        request.length = int(lengths[0])


@dataclass(slots=True)
class Answer:
    """The head of an answer; `head` is all of it, without its empty line.

    `length` is None for a chunked body, and -1 for one that lasts until the end of the connection.
    """

    status: int
    head: bytes
    length: int | None
    reusable: bool
    # Of the server; b"" when it does not say.
    process: bytes = b""

    def head_for_client(self, *, keep_alive: bool) -> bytes:
        """The head with a Connection header of the client's hop; its chunks stay as they are."""
        connection = KEEP_ALIVE if keep_alive else CLOSE
        return OTHER_HOP.sub(b"", self.head) + connection


def parse_answer(raw: bytes, method: bytes) -> Answer:
    """The head of an answer of one of our own servers; ValueError when it is malformed."""
    head = raw[:-4]
    match = STATUS_LINE.match(head)
    if match is None:
        raise ValueError("not an HTTP answer")
    status = int(match[2])
    length: int | None = -1
    close = match[1] == b"0"
    process = b""
    for name, value in FRAMING.findall(head):
        match name.lower():
            case b"content-length":
                length = int(value) if length is not None else None
            case b"transfer-encoding":
                length = None
            case b"x-kubegale-process":
                process = value.strip()
            case _:
                close = close or value.strip().lower() == b"close"
    if method == b"HEAD" or status in (204, 304) or status < 200:
        # These have no body, even if their headers announce one.
        length = 0
    return Answer(status, head, length, not close and length != -1, process)


class Chunked:
    """Decodes a chunked body as it comes: `take` returns its data, `done` says that it ended.

    After a `take` of limited length `is_paused` says that more can be read of what has come.
    """

    def __init__(self) -> None:
        self.done = False
        self.is_paused = False
        self._buffer = bytearray()
        self._left = 0
        self._state = "size"
        self._trailer = 0

    def take(self, data: bytes | bytearray, steps: int = -1) -> tuple[bytes, bytes]:
        """(data of the body, bytes after its end); Refusal when it is malformed.

        `steps` is how many pieces of syntax are read at most; below 0 all of them.
        """
        self._buffer += data
        parts: list[bytes] = []
        left = steps
        while left and not self.done and self._step(parts):
            left -= 1
        self.is_paused = not left and not self.done
        rest = b""
        if self.done:
            rest = bytes(self._buffer)
            self._buffer.clear()
        return b"".join(parts), rest

    def _step(self, parts: list[bytes]) -> bool:
        """Read one piece of syntax; False when more bytes are needed for it."""
        if self._state == "data":
            piece = bytes(self._buffer[: self._left])
            del self._buffer[: len(piece)]
            self._left -= len(piece)
            if piece:
                parts.append(piece)
            if self._left == 0:
                self._state = "gap"
            return bool(piece)
        if self._state == "gap":
            if len(self._buffer) < 2:
                return False
            if self._buffer[:2] != CRLF:
                raise Refusal(400, "A chunk of the body does not end where it says.")
            del self._buffer[:2]
            self._state = "size"
            return True
        return self._line()

    def _line(self) -> bool:
        end = self._buffer.find(b"\n")
        if end < 0:
            if len(self._buffer) > LONGEST_CHUNK_LINE:
                raise Refusal(400, "A line of the chunked body is too long.")
            return False
        line = bytes(self._buffer[: end + 1])
        del self._buffer[: end + 1]
        if not line.endswith(CRLF) or len(line) > LONGEST_CHUNK_LINE:
            raise Refusal(400, "A line of the chunked body does not end with CR LF.")
        if self._state == "trailer":
            self._trailer += len(line)
            if self._trailer > LONGEST_TRAILER:
                raise Refusal(431, "The trailer of the body is too large.")
            self.done = line == CRLF
            return True
        match = CHUNK_SIZE.fullmatch(line[:-2])
        if match is None:
            raise Refusal(400, "The size of a chunk cannot be read.")
        self._left = int(match[1], 16)
        self._state = "data" if self._left else "trailer"
        return True
