"""The answers of the web server: a head leaves together with the first part of its body."""

import os
import time
from email.utils import formatdate
from functools import lru_cache
from typing import Any

from gunicorn.http.message import TOKEN_RE
from gunicorn.http.wsgi import HEADER_VALUE_RE, Response
from gunicorn.util import is_hoppish

# The longest pause in a body, and of a client that does not take its answer.
STALL_SECONDS = float(os.environ.get("EDGE_STALL_SECONDS") or 60)
# The front has to know which process a connection leads to, and tells nobody else.
BEHIND_FRONT = bool(os.environ.get("KUBEGALE_WEB_SOCKET"))
# A head and a body up to this size leave in one packet.
JOINED_BYTES = 64 * 1024


@lru_cache(maxsize=256)
def _is_end_to_end(name: str) -> bool:
    """Whether a header of an answer passes as it is: it says nothing about the connection."""
    is_length = name.lower() == "content-length"
    return bool(TOKEN_RE.fullmatch(name)) and not is_length and not is_hoppish(name)


@lru_cache(maxsize=1)
def _http_date(second: int) -> str:
    """The Date header's words."""
    return formatdate(second, usegmt=True)


class JoinedResponse(Response):  # type: ignore[misc]  # the library has no types
    """An answer whose head leaves together with the first part of its body."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.headers_sent = False
        # Django leaves the body of an answer to HEAD to the server: no warning in the log for each.
        self._omits_body_warned = self.req.method == "HEAD"
        # Made, and not sent yet.
        self.head = b""

    def process_headers(self, headers: list[tuple[str, str]]) -> None:
        """Check the application's headers, all values at once; the library names the wrong one."""
        if not HEADER_VALUE_RE.fullmatch("".join([value for _, value in headers])):
            super().process_headers(headers)
            return
        for name, value in headers:
            if _is_end_to_end(name):
                self.headers.append((name, value.strip(" \t")))
            else:
                super().process_headers([(name, value)])

    def send_headers(self) -> None:
        """Make the head; it is sent with what follows."""
        if self.headers_sent:
            return
        major, minor = self.req.version
        fate = "close" if self.should_close() else "keep-alive"
        lines = [
            f"HTTP/{major}.{minor} {self.status}",
            f"Server: {self.version}",
            f"Date: {_http_date(int(time.time()))}",
            f"Connection: {'upgrade' if self.upgrade else fate}",
        ]
        if self.chunked:
            lines.append("Transfer-Encoding: chunked")
        if BEHIND_FRONT:
            lines.append(f"X-Kubegale-Process: {os.getpid()}")
        lines += [f"{name}: {value}" for name, value in self.headers]
        self.head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        self.headers_sent = True

    def send_head(self) -> None:
        """Send the head when nothing has followed it."""
        if head := self.head:
            self.head = b""
            self.sock.sendall(head)

    def write(self, arg: bytes) -> None:
        """Send a part of the body."""
        super().write(arg)
        # Of an answer without a body, or one that begins with an empty part.
        self.send_head()

    def _emit_body(self, data: bytes) -> None:
        if len(data) > JOINED_BYTES:
            # It is not copied.
            self.send_head()
            super()._emit_body(data)
            return
        if self.chunked:
            data = b"%X\r\n%b\r\n" % (len(data), data)
        whole = self.head + data
        self.head = b""
        self.sock.sendall(whole)

    def write_file(self, respiter: Any) -> None:
        """Send a file."""
        self.send_headers()
        self.send_head()
        # Python's `sendfile` waits by itself, without an end unless it is told one.
        self.sock.settimeout(STALL_SECONDS)
        try:
            super().write_file(respiter)
        finally:
            self.sock.settimeout(None)

    def close(self) -> None:
        """End the answer."""
        self.send_headers()
        self.send_head()
        super().close()
