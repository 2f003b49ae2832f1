"""A gunicorn worker whose threads share one epoll: a request is served where it is read.

gunicorn's own threaded worker waits in its main thread and hands every request over to a pool and
back, which costs more than half of a small read. Here each thread waits for the listening sockets
and for all idle connections at once, and serves what becomes readable; the main thread only tells
the arbiter that the process lives, ends connections whose time is over, and stops the worker. Of
gunicorn's hooks around a request, `post_request` is called, `pre_request` is not.
"""

import os
import select
import socket
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from errno import (
    ECONNRESET,
    EMFILE,
    ENFILE,
    ENOBUFS,
    ENOMEM,
    ENOTCONN,
    EPIPE,
    EPROTO,
)
from functools import lru_cache
from struct import pack
from typing import Any

from gunicorn.http import get_parser
from gunicorn.http.body import ChunkedReader, LengthReader
from gunicorn.http.errors import (
    InvalidHeader,
    LimitRequestHeaders,
    NoMoreData,
    ParseException,
)
from gunicorn.http.message import TOKEN_RE
from gunicorn.http.unreader import SocketUnreader
from gunicorn.http.wsgi import HEADER_VALUE_RE, FileWrapper, Response, create
from gunicorn.util import is_hoppish
from gunicorn.workers.base import Worker

from kubegale.plain_requests import Origin, PlainRequest, read_plain

END_OF_HEAD = b"\r\n\r\n"
READ_BYTES = 16 * 1024
LARGEST_HEAD = 128 * 1024
# An event goes to one thread alone, which arms the socket again when it is done.
READABLE = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLONESHOT
# From the start of a connection, or the first byte of a later head, until the head is whole.
HEAD_SECONDS = float(os.environ.get("EDGE_HEAD_SECONDS") or 15)
# The longest pause in a body, and of a client that does not take its answer.
STALL_SECONDS = float(os.environ.get("EDGE_STALL_SECONDS") or 60)
# struct timeval: seconds and microseconds.
STALL = pack("ll", int(STALL_SECONDS), int(STALL_SECONDS % 1 * 1_000_000))
# What a body may take in all: so long, and a second for so many bytes.
BODY_GRACE_SECONDS = float(os.environ.get("EDGE_BODY_GRACE_SECONDS") or 20)
BODY_RATE = int(os.environ.get("EDGE_BODY_RATE") or 4096)
# How long the rest of a body that nobody has read is waited for.
DRAIN_SECONDS = 5.0
# How long a connection that we close is read on, and how much of it.
FAREWELL_SECONDS = 2.0
FAREWELL_BYTES = 64 * 1024
# How long a stopping process keeps idle connections, for requests that are on their way.
LINGER_SECONDS = 2.0
LOOK_SECONDS = 1.0
# The front has to know which process a connection leads to, and tells nobody else.
BEHIND_FRONT = bool(os.environ.get("KUBEGALE_WEB_SOCKET"))
# A head and a body up to this size leave in one packet.
JOINED_BYTES = 64 * 1024
CLIENT_GONE = frozenset({EPIPE, ECONNRESET, ENOTCONN, EPROTO})
NO_ROOM = frozenset({EMFILE, ENFILE, ENOBUFS, ENOMEM})
TOO_SLOW_BODY = b'{"error":"The request\'s head did not come in time."}\n'
TOO_SLOW = (
    b"HTTP/1.1 408 Request Timeout\r\nServer: KubeGale\r\nConnection: close\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
) % (len(TOO_SLOW_BODY), TOO_SLOW_BODY)


@dataclass(slots=True, eq=False)
class Connection:
    """One client; it belongs to the thread that serves it, or waits."""

    sock: socket.socket
    client: Any
    server: Any
    descriptor: int
    parser: Any
    origin: Origin
    # When it is closed unless something comes: a time of the monotonic clock.
    deadline: float
    # What has come of the next head.
    head: bytearray = field(default_factory=bytearray)
    is_registered: bool = False
    # We read no more of it, but answer what has come before.
    is_shut: bool = False
    # We have answered, and wait for the client to close.
    is_leaving: bool = False
    drained: int = 0


class BodyUnreader(SocketUnreader):  # type: ignore[misc]  # the library has no types
    """What a client sends behind a head: all of it, and fast enough, or an OSError.

    gunicorn's own takes the end of a connection for the end of a body: half a manifest would be
    applied. A byte now and then would hold a thread for as long as its client likes.
    """

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.begin()

    def begin(self) -> None:
        """Count anew, for the next request."""
        # Seconds that a thread has waited: what the application does meanwhile is no fault of
        # the client's.
        self.waited = 0.0
        self.patience = BODY_GRACE_SECONDS

    def chunk(self, size_hint: int | None = None) -> bytes:
        """Some bytes more; ConnectionResetError at the end, TimeoutError when they come slowly."""
        began = time.monotonic()
        data: bytes = super().chunk(size_hint)
        if not data:
            raise ConnectionResetError(ECONNRESET, "a body ended too soon")
        self.waited += time.monotonic() - began
        self.patience += len(data) / BODY_RATE
        if self.waited > self.patience:
            raise TimeoutError("a body comes too slowly")
        return data


class CheckedChunks(ChunkedReader):  # type: ignore[misc]  # the library has no types
    """A body in chunks, whose faults are an OSError: Django takes nothing else for the client's.

    Found after the answer was sent, such a fault must not lead to another answer.
    """

    def read(self, size: int) -> bytes:
        """Up to so many bytes."""
        try:
            return bytes(super().read(size))
        except ParseException as error:
            raise OSError(EPROTO, f"a body in chunks is malformed: {error}") from error


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


class SharedPollWorker(Worker):  # type: ignore[misc]  # the library has no types
    """Threads that accept, read, serve and wait by themselves, on one epoll."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._epoll: select.epoll
        # Readable once the threads have to end.
        self._end: tuple[int, int]
        # By its number: the socket, and its address, which a closed one has no more.
        self._listeners: dict[int, tuple[socket.socket, Any]] = {}
        # Threads that may hold a connection which is not in `_open` yet.
        self._accepting: set[int] = set()
        # Listening sockets that stand still: the process has no descriptor left.
        self._paused: set[int] = set()
        # Connections that no thread serves; whoever takes one out of it owns it.
        self._waiting: dict[int, Connection] = {}
        # Those and the ones that are served.
        self._open: set[Connection] = set()

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """Refuse what only gunicorn's own workers do."""
        if cfg.is_ssl:
            raise RuntimeError("the web server speaks no TLS: it ends at the proxy before it")

    # --- the main thread --------------------------------------------------------------------------
    def run(self) -> None:
        """Serve until the process has to stop, then finish what is being answered."""
        # As plain attributes: the library looks each setting up in three steps. After the fork, as
        # the arbiter may load others.
        settings = self.cfg.settings.items()
        self.cfg.__dict__.update({name: setting.get() for name, setting in settings})
        self._epoll = select.epoll()
        self._end = os.pipe()
        self._epoll.register(self._end[0], select.EPOLLIN)
        for listener in self.sockets:
            # Without gunicorn's wrapper: closed, that one fails with an AttributeError.
            listener.setblocking(False)
            self._listeners[listener.fileno()] = (listener.sock, listener.getsockname())
            self._epoll.register(listener.fileno(), READABLE)
        threads = [
            threading.Thread(target=self._work, name=f"web-{number}", daemon=True)
            for number in range(self.cfg.threads)
        ]
        for thread in threads:
            thread.start()
        while self.alive and self.ppid == os.getppid():
            self._look(LOOK_SECONDS)
            while self._paused:
                self._listen_again(self._paused.pop())
        self._stop(threads)

    def _look(self, seconds: float) -> None:
        """Wait for a signal or so long, then end the connections whose time is over."""
        self.notify()
        # The handler of a signal runs here, and each signal writes a byte.
        if select.select([self.PIPE[0]], [], [], seconds)[0]:
            with suppress(BlockingIOError):
                os.read(self.PIPE[0], READ_BYTES)
        now = time.monotonic()
        for connection in list(self._waiting.values()):
            if connection.deadline <= now:
                self._evict(connection)

    def _stop(self, threads: Sequence[threading.Thread]) -> None:
        """Accept no more, finish the requests, keep idle connections for a moment."""
        self.alive = False
        for descriptor in self._listeners:
            with suppress(OSError):
                self._epoll.unregister(descriptor)
        for listener in self.sockets:
            listener.close()
        began = time.monotonic()
        latest = began + self.cfg.graceful_timeout
        while (self._open or self._accepting) and time.monotonic() < latest:
            for connection in list(self._waiting.values()):
                if not connection.is_shut:
                    connection.deadline = min(connection.deadline, began + LINGER_SECONDS)
            self._look(0.1)
        os.write(self._end[1], b".")
        for thread in threads:
            thread.join(max(0.0, latest - time.monotonic()))

    def _evict(self, connection: Connection) -> None:
        """End a waiting connection, unless a thread has taken it meanwhile."""
        if not self._take(connection):
            return
        if connection.head and not connection.is_shut:
            with suppress(OSError):
                connection.sock.send(TOO_SLOW, socket.MSG_DONTWAIT)
        elif not connection.is_shut and not connection.is_leaving:
            # A request may have come just now. What a unix socket took before this is answered;
            # after it, the front's attempt to send fails, so that it knows nothing was read.
            connection.is_shut = True
            connection.deadline = time.monotonic() + FAREWELL_SECONDS
            with suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RD)
            self._wait(connection)
            return
        self._close(connection)

    def _take(self, connection: Connection) -> bool:
        """Whether the connection was waiting, and is the caller's now."""
        descriptor = connection.descriptor
        owned = self._waiting.pop(descriptor, None)
        if owned is not None and owned is not connection:
            # Its number is another's by now.
            self._wait(owned)
        return owned is connection

    # --- the threads ------------------------------------------------------------------------------
    def _work(self) -> None:
        """Serve whatever is readable next, until the worker stops."""
        while True:
            descriptor, _ = self._epoll.poll(None, 1)[0]
            if descriptor == self._end[0]:
                return
            connection = None
            # Nothing ends a thread: none would take its place.
            try:
                if descriptor in self._listeners:
                    connection = self._accept(descriptor)
                else:
                    connection = self._waiting.pop(descriptor, None)
                if connection:
                    self._attend(connection)
            except BaseException:
                self.log.exception("A connection failed.")
                if connection:
                    self._close(connection)

    def _accept(self, descriptor: int) -> Connection | None:
        """The next client; None when there is none after all."""
        thread = threading.get_ident()
        self._accepting.add(thread)
        try:
            return self._take_client(descriptor)
        finally:
            self._accepting.discard(thread)

    def _take_client(self, descriptor: int) -> Connection | None:
        listener, server = self._listeners[descriptor]
        try:
            sock, client = listener.accept()
        except OSError as error:
            if not self.alive:
                return None
            if error.errno in NO_ROOM:
                # The main thread tries again: here it would be tried without a pause.
                self.log.warning("No connection is accepted for a moment: %s", error)
                self._paused.add(descriptor)
            else:
                self._listen_again(descriptor)
            return None
        self._listen_again(descriptor)
        if len(self._open) >= self.cfg.worker_connections:
            self._make_room()
        # Of the system, so that no call waits twice: Python's own time-outs poll before each.
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            sock.setsockopt(socket.SOL_SOCKET, option, STALL)
        parser = get_parser(self.cfg, sock, client)
        parser.unreader = BodyUnreader(sock)
        connection = Connection(
            sock,
            client,
            server,
            descriptor=sock.fileno(),
            parser=parser,
            origin=Origin.of_connection(self.cfg, sock, client, server),
            deadline=time.monotonic() + HEAD_SECONDS,
        )
        self._open.add(connection)
        return connection

    def _listen_again(self, descriptor: int) -> None:
        # The listener may be closed by now.
        with suppress(OSError):
            self._epoll.modify(descriptor, READABLE)

    def _make_room(self) -> None:
        """Close the connection that would be closed next."""
        if waiting := list(self._waiting.values()):
            oldest = min(waiting, key=lambda connection: connection.deadline)
            if self._take(oldest):
                self._close(oldest)

    def _attend(self, connection: Connection) -> None:
        """Read what has come, and serve each whole request of it."""
        try:
            data = connection.sock.recv(READ_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            self._wait(connection)
            return
        except OSError:
            data = b""
        if not data:
            self._close(connection)
            return
        if connection.is_leaving:
            connection.drained += len(data)
            if connection.drained > FAREWELL_BYTES:
                self._close(connection)
            else:
                self._wait(connection)
            return
        if not connection.head:
            connection.deadline = time.monotonic() + HEAD_SECONDS
        connection.head += data
        while self._is_complete(connection.head):
            if not self._serve(connection):
                self._leave(connection)
                return
            # What a client sends after its request is its next one.
            connection.head += connection.parser.unreader.take_buffered()
            patience = HEAD_SECONDS if connection.head else self.cfg.keepalive
            connection.deadline = time.monotonic() + patience
        self._wait(connection)

    def _wait(self, connection: Connection) -> None:
        """Give the connection back; from the last line on it may be another thread's."""
        descriptor = connection.descriptor
        self._waiting[descriptor] = connection
        try:
            if connection.is_registered:
                self._epoll.modify(descriptor, READABLE)
            else:
                connection.is_registered = True
                self._epoll.register(descriptor, READABLE)
        except OSError:
            if self._take(connection):
                self._close(connection)

    def _leave(self, connection: Connection) -> None:
        """Close after the client has, or soon: a socket closed on unread bytes is reset."""
        connection.is_leaving = True
        connection.deadline = time.monotonic() + FAREWELL_SECONDS
        try:
            connection.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(connection)
        else:
            self._wait(connection)

    def _close(self, connection: Connection) -> None:
        self._open.discard(connection)
        with suppress(OSError):
            connection.sock.close()

    def _is_complete(self, head: bytearray) -> bool:
        """Whether the parser can read the head, or refuse it, without waiting for more."""
        if head.find(END_OF_HEAD) >= 0:
            return True
        if len(head) > LARGEST_HEAD or head.count(b"\n") != head.count(b"\r\n"):
            return True
        return len(head) > self.cfg.limit_request_line + 2 and head.find(b"\r\n") < 0

    # --- a request --------------------------------------------------------------------------------
    def _serve(self, connection: Connection) -> bool:
        """Parse and answer; whether another request may follow."""
        request = None
        parser = connection.parser
        try:
            parser.unreader.begin()
            request = _take_plain(connection) or _parse(connection)
            return self._answer(request, connection) and _skip_body(request, parser)
        except (NoMoreData, StopIteration) as error:
            self.log.debug("A client left in the middle of its request: %s", error)
        except BlockingIOError:
            self.log.debug("A client paused too long in its request or its answer.")
        except OSError as error:
            if error.errno not in CLIENT_GONE:
                self.log.exception("Socket error processing request.")
        except Exception as error:
            self.handle_error(request, connection.sock, connection.client, error)
        return False

    def _answer(self, request: Any, connection: Connection) -> bool:
        """Call the application and send what it answers; whether the connection stays open."""
        environ: dict[str, Any] = {}
        response = None
        try:
            if isinstance(request, PlainRequest):
                response = JoinedResponse(request, connection.sock, self.cfg)
                environ = request.environ
            else:
                response, environ = create(
                    request,
                    connection.sock,
                    connection.client,
                    connection.server,
                    self.cfg,
                    response_class=JoinedResponse,
                )
                environ["wsgi.multithread"] = True
            self._count_request()
            parts = self.wsgi(environ, response.start_response)
            # After the call: the process may have to stop meanwhile.
            if not self.alive or connection.is_shut or not self.cfg.keepalive:
                response.force_close()
            self._send(response, parts)
            return not response.should_close()
        except OSError:
            raise
        except Exception:
            if response is None or not response.headers_sent or response.head:
                raise
            # Something was sent: another answer behind it would be read as its rest.
            self.log.exception("Error handling request")
            return False
        finally:
            try:
                self.cfg.post_request(self, request, environ, response)
            except Exception:
                self.log.exception("Exception in post_request hook")

    def _count_request(self) -> None:
        """Stop after `max_requests`."""
        self.nr += 1
        if self.nr >= self.max_requests and self.alive:
            self.log.info("Autorestarting worker after current request.")
            self.alive = False

    def _send(self, response: JoinedResponse, parts: Iterable[bytes]) -> None:
        try:
            if isinstance(parts, FileWrapper):
                response.write_file(parts)
            else:
                for part in parts:
                    response.write(part)
            response.close()
        finally:
            if close := getattr(parts, "close", None):
                close()


def _take_plain(connection: Connection) -> PlainRequest | None:
    """The next request, when it is an ordinary one."""
    parser = connection.parser
    head = connection.head
    reading = read_plain(head, connection.origin, parser.unreader)
    if reading is None:
        return None
    request, size = reading
    if len(head) > size:
        parser.unreader.unread(bytes(head[size:]))
    head.clear()
    # Whose body ends before the next head.
    parser.mesg = request
    return request


def _parse(connection: Connection) -> Any:
    """The next request; one of gunicorn's errors for what is none."""
    parser = connection.parser
    if len(connection.head) > LARGEST_HEAD and END_OF_HEAD not in connection.head:
        raise LimitRequestHeaders("max buffer headers")
    parser.unreader.unread(bytes(connection.head))
    connection.head.clear()
    request = next(parser)
    if isinstance(request.body.reader, ChunkedReader):
        request.body.reader = CheckedChunks(request, parser.unreader)
    if request.version > (1, 0) and not any(name == "HOST" for name, _ in request.headers):
        raise InvalidHeader("HOST")
    return request


def _skip_body(request: Any, parser: Any) -> bool:
    """Read what the application has left of a body; False when that is too much or too slow."""
    reader = request.body.reader
    if isinstance(reader, LengthReader) and not reader.length:
        return True
    return bool(parser.finish_body(deadline=time.monotonic() + DRAIN_SECONDS))
