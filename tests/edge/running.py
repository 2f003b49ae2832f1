"""The front with its servers behind it, started from the launcher's own commands, and raw bytes to talk to it."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from launcher import processes, programs
from launcher.ports import free_port
from launcher.processes import Child
from tests.launcher.watching import eventually
from tests.tuning import tuned

LISTENING = "0A"


@dataclass
class Running:
    """One front; `web` is the web server behind it, the same for all of a test run."""

    port: int
    ws_port: int
    front: Child
    web: Child

    def connect(
        self, data: bytes = b"", *, port: int | None = None, source: str = "127.0.0.1"
    ) -> socket.socket:
        """A connection from an address of loopback that has sent `data` and no more."""
        made = socket.create_connection(
            ("127.0.0.1", port or self.port), timeout=30, source_address=(source, 0)
        )
        made.sendall(data)
        return made

    def ask(self, data: bytes, *, port: int | None = None) -> bytes:
        """Everything that comes back until the connection is closed."""
        with self.connect(data, port=port) as made:
            return rest(made)

    def get(self, path: str, *, port: int | None = None, more: bytes = b"") -> bytes:
        """The answer to a plain GET."""
        return self.ask(head("GET", path, b"Connection: close\r\n" + more), port=port)

    def connections(self) -> int:
        """How many clients the front is connected to."""
        pid = self.front.process.pid
        inodes = set()
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                inodes.add(os.readlink(descriptor))
        lines = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
        rows = [line.split() for line in lines]
        return sum(f"socket:[{row[9]}]" in inodes for row in rows if row[3] != LISTENING)

    def spooled(self) -> int:
        """Bytes in the front's files without a name."""
        total = 0
        for descriptor in Path(f"/proc/{self.front.process.pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                if os.readlink(descriptor).endswith(" (deleted)"):
                    total += descriptor.stat().st_size
        return total

    def workers(self) -> list[int]:
        """The processes of the web server that answer."""
        master = self.web.process.pid
        text = Path(f"/proc/{master}/task/{master}/children").read_text()
        return [int(word) for word in text.split()]


def head(method: str, path: str, headers: bytes = b"") -> bytes:
    """A request without a body."""
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n".encode() + headers + b"\r\n"


def rest(connection: socket.socket) -> bytes:
    """What comes until the end."""
    parts = []
    while data := connection.recv(1 << 16):
        parts.append(data)
    return b"".join(parts)


def until(connection: socket.socket, words: bytes) -> bytes:
    """What comes up to and with `words`."""
    found = b""
    while words not in found:
        part = connection.recv(1 << 16)
        assert part, found
        found += part
    return found


def status(answer: bytes) -> int:
    """The status of an answer; 0 for none."""
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.") else 0


def body(answer: bytes) -> bytes:
    """What stands after the head."""
    return answer.partition(b"\r\n\r\n")[2]


def memory(pid: int, what: str = "VmHWM") -> float:
    """The most that the process has held so far, or (VmRSS) what it holds, in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no such process")


class Stack:
    """The web server and the socket server, started once, and fronts before them."""

    def __init__(self, database: str, folder: Path, cleanup: ExitStack, **changes: str) -> None:
        self._cleanup = cleanup
        self.environ = tuned(
            {
                **os.environ,
                "DATABASE_URL": urlsplit(os.environ["DATABASE_URL"])
                ._replace(path=f"/{database}")
                .geturl(),
                "OPEN_DIALECTS": "bcs",
                "WEB_CONCURRENCY": "1",
                "WEB_THREADS": "4",
                "WEB_STREAMS_PER_CALLER": "2",
                "LOG_LEVEL": "ERROR",
                "DJANGO_SETTINGS_MODULE": "kubegale.settings",
                "KUBEGALE_WEB_SOCKET": str(folder / "web"),
                "KUBEGALE_WS_SOCKET": str(folder / "ws"),
                **changes,
            }
        )
        self.web = self._start(programs.web(self.environ))
        self._start(programs.sockets(self.environ))
        with self.front() as front:
            for port in (front.port, front.ws_port):
                assert eventually(
                    lambda port=port: status(front.get("/healthz", port=port)) == 200, seconds=60
                )

    def _start(self, command: processes.Command) -> Child:
        child = processes.start(command)
        self._cleanup.callback(processes.stop, [child])
        return child

    @contextmanager
    def front(self, **changes: str) -> Iterator[Running]:
        """A front of our own, with limits by environment."""
        ports = (free_port(), free_port())
        listening = {
            "KUBEGALE_BIND": "127.0.0.1",
            "KUBEGALE_PORT": str(ports[0]),
            "KUBEGALE_WS_PORT": str(ports[1]),
        }
        child = processes.start(programs.front({**self.environ, **listening, **changes}))
        try:
            assert eventually(lambda: not child.alive or listens(ports[0]), seconds=30)
            yield Running(*ports, front=child, web=self.web)
        finally:
            child.process.kill()
            child.process.wait()


def listens(port: int) -> bool:
    """Whether anybody accepts on the port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def seconds(began: float) -> float:
    """How long ago that was."""
    return time.monotonic() - began
