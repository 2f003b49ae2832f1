"""Reads the head of an ordinary request with two expressions, instead of gunicorn's parser.

Ordinary is what nobody can read in two ways: HTTP/1.1, a path, one Host, no header twice, no body
in chunks, nothing to expect, every line well formed. All else, and so every refusal, is for
gunicorn: `read_plain` then says None and has changed nothing.
"""

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from gunicorn.http.body import Body, LengthReader
from gunicorn.http.message import HeaderPolicy
from gunicorn.http.wsgi import base_environ
from gunicorn.util import unquote_to_wsgi_str

# Two slashes and fragments are for the other parser, and so are names with an underscore: for a
# WSGI server X_Forwarded_For is X-Forwarded-For. Nothing is tried twice (`+` behind `+`).
HEAD = re.compile(
    rb"(?!CONNECT )([A-Z]{3,20}+) (/(?!/)[!\"$-~]*+) HTTP/1\.1\r\n"
    rb"((?:[!#$%&'*+\-.^`|~0-9A-Za-z]++:[\t\x20-\x7e\x80-\xff]*+\r\n)++)\r\n"
)
FIELD = re.compile(rb"([^:]++):[ \t]*+([^\r]*+)\r\n")
# More digits than any body has; int() takes signs and blanks, too.
LENGTH = re.compile(r"[0-9]{1,18}+")
VERSION = (1, 1)


@dataclass(slots=True)
class PlainRequest:
    """What gunicorn asks of a request, and the WSGI environment of it."""

    method: str
    uri: str
    path: str
    query: str
    body: Any
    environ: dict[str, Any]
    # Whether its connection ends with the answer.
    closes: bool
    version: tuple[int, int] = VERSION

    def should_close(self) -> bool:
        """Whether its connection ends with the answer."""
        return self.closes


@dataclass(slots=True)
class Origin:
    """What all requests of one connection have in common.

    `environ` is that part of their WSGI environment; `most_bytes` is how large an ordinary head is
    at most, and 0 where no request is ordinary.
    """

    environ: dict[str, Any]
    names_server: bool
    most_bytes: int
    # The headers by which a proxy that we trust says that its client speaks TLS: their keys in the
    # environment, and the value of each that says so.
    secure_values: Mapping[str, str]
    most_fields: int

    @classmethod
    def of_connection(cls, cfg: Any, sock: socket.socket, client: Any, server: Any) -> "Origin":
        """Of a client (its address, or "" on a unix socket) that has reached `server`."""
        environ = base_environ(cfg)
        environ |= {
            "SERVER_PROTOCOL": "HTTP/1.1",
            "SCRIPT_NAME": "",
            "gunicorn.socket": sock,
            "wsgi.multithread": True,
            "wsgi.url_scheme": "http",
        }
        policy = HeaderPolicy()
        policy.cfg = cfg
        policy.peer_addr = client
        secure, _ = policy._peer_trusted_for_forwarded()
        if isinstance(client, tuple):
            environ["REMOTE_ADDR"] = client[0]
            environ["REMOTE_PORT"] = str(client[1])
        else:
            environ["REMOTE_ADDR"] = os.fsdecode(client)
        names_server = not isinstance(server, str)
        if names_server:
            environ["SERVER_NAME"] = server[0]
            environ["SERVER_PORT"] = str(server[1])
        return cls(
            environ,
            names_server,
            _most_bytes(cfg, server),
            {"HTTP_" + name.replace("-", "_"): value for name, value in secure.items()},
            cfg.limit_request_fields,
        )


def _most_bytes(cfg: Any, server: Any) -> int:
    """So few that no line of an ordinary head can be too long; 0 when none is ordinary."""
    # Each changes the first bytes of a connection, or what a path is.
    is_special = cfg.proxy_protocol != "off" or os.environ.get("SCRIPT_NAME")
    if is_special or (isinstance(server, str) and ":" in server):
        return 0
    return min(int(cfg.limit_request_line), int(cfg.limit_request_field_size))


@lru_cache(maxsize=1024)
def _environ_key(name: bytes) -> str:
    """The name of a header in a WSGI environment."""
    key = name.decode("ascii").upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else "HTTP_" + key


def read_plain(
    data: bytes | bytearray, origin: Origin, unreader: Any
) -> tuple[PlainRequest, int] | None:
    """(an ordinary request, where its body begins in `data`); None for every other one.

    `unreader` gives its body once the bytes behind the head are back in it.
    """
    match = HEAD.match(data)
    if match is None or match.end() > origin.most_bytes:
        return None
    environ = origin.environ.copy()
    size = len(environ)
    fields = FIELD.findall(match[3])
    for name, value in fields:
        environ[_environ_key(name)] = value.decode("latin-1").rstrip(" \t")
    # A header twice has taken the place of the first.
    if len(environ) - size != len(fields) or len(fields) > origin.most_fields:
        return None
    host = environ.get("HTTP_HOST")
    if not host or "HTTP_TRANSFER_ENCODING" in environ or "HTTP_EXPECT" in environ:
        return None
    length = environ.get("CONTENT_LENGTH", "0")
    if not LENGTH.fullmatch(length) or not _add_scheme(environ, origin):
        return None
    if not origin.names_server:
        words = host.split(":")
        default = "443" if environ["wsgi.url_scheme"] == "https" else "80"
        environ["SERVER_NAME"] = words[0]
        environ["SERVER_PORT"] = words[1] if len(words) > 1 else default
    method = match[1].decode("ascii")
    uri = match[2].decode("ascii")
    path, _, query = uri.partition("?")
    body = Body(LengthReader(unreader, int(length)))
    environ["REQUEST_METHOD"] = method
    environ["RAW_URI"] = uri
    environ["PATH_INFO"] = unquote_to_wsgi_str(path) if "%" in path else path
    environ["QUERY_STRING"] = query
    environ["wsgi.input"] = body
    closes = environ.get("HTTP_CONNECTION", "").lower() == "close"
    request = PlainRequest(method, uri, path, query, body, environ, closes)
    return request, match.end()


def _add_scheme(environ: dict[str, Any], origin: Origin) -> bool:
    """Note that a trusted proxy's client speaks TLS; False when its headers contradict."""
    says = {environ[key] == value for key, value in origin.secure_values.items() if key in environ}
    if True in says:
        environ["wsgi.url_scheme"] = "https"
    return len(says) < 2
