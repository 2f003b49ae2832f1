"""Programs that a fork server starts (kubegale/fork_server.py): they share what it has loaded."""

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from launcher.processes import Child, Command

# Forking takes milliseconds; a server that does not answer is not waited for.
ANSWER_SECONDS = 10.0
SUPPORTED = sys.platform == "linux"


@dataclass(slots=True)
class ForkedProcess:
    """A process whose parent is the fork server; used as subprocess.Popen is.

    `connection` tells its end: a message with its exit status, or the end of the connection when
    the server has died, which the kernel tells the process by its orphan signal.
    """

    pid: int
    connection: socket.socket
    stdout: IO[bytes] | None = None
    returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit status, or None while it runs."""
        return self._receive(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status, once it has ended; TimeoutError after `timeout` seconds."""
        status = self._receive(timeout)
        if status is None:
            raise TimeoutError(f"process {self.pid} has not ended")
        return status

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def _receive(self, timeout: float | None) -> int | None:
        if self.returncode is not None:
            return self.returncode
        self.connection.settimeout(timeout)
        try:
            message = self.connection.recv(1024)
        except (BlockingIOError, TimeoutError):
            return None
        except OSError:
            message = b""
        self.returncode = json.loads(message)["status"] if message else -signal.SIGKILL
        self.connection.close()
        return self.returncode


@dataclass(frozen=True, slots=True)
class ForkServer:
    """Where the fork server listens."""

    path: Path

    @property
    def ready(self) -> bool:
        """Whether it has loaded everything, and takes requests."""
        try:
            self._connect().close()
        except OSError:
            return False
        return True

    def start(self, command: Command, *, piped: bool) -> Child | None:
        """Start a command that may be forked; None when the server is not there.

        With `piped` its output can be read from `process.stdout`, else it goes where ours goes.
        """
        reader, writer = os.pipe() if piped else (-1, os.dup(1))
        request = {"argv": command.argv[1:], "orphan_signal": command.orphan_signal}
        try:
            connection = self._connect()
            socket.send_fds(connection, [json.dumps(request).encode()], [writer])
            pid = json.loads(connection.recv(1024))["pid"]
        except (OSError, ValueError):
            if piped:
                os.close(reader)
            return None
        finally:
            os.close(writer)
        output = os.fdopen(reader, "rb", buffering=0) if piped else None
        process = ForkedProcess(pid, connection, output)
        return Child(command, process, time.monotonic())

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.settimeout(ANSWER_SECONDS)
        try:
            connection.connect(str(self.path))
        except OSError:
            connection.close()
            raise
        return connection


def usable(environ: Mapping[str, str]) -> bool:
    """Whether programs may be forked: telemetry starts threads, which do not survive a fork."""
    return SUPPORTED and not environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
