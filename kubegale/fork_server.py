"""Starts programs of KubeGale by fork: `python -m kubegale.fork_server SOCKET`, by the launcher.

Every program needs Django, Celery and the applications, about 75 MB for each process that loads
them. Loaded once and forked, they share that memory, and start at once.

Protocol: a connection to the unix socket for each program. The client sends one message, JSON
`{"argv": [...], "orphan_signal": 15}` with the descriptor for the program's output (SCM_RIGHTS),
and reads messages: `{"pid": 12}`, and when the program has ended `{"status": 0}` (negative: the
number of the signal, as subprocess has it). `argv` is a command line of Python: `-W` options, then
`-m MODULE` or the path of a script, then arguments.
"""

import ctypes
import gc
import json
import logging
import os
import re
import runpy
import selectors
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import FrameType

import django
from django.core.management import load_command_class

log = logging.getLogger(__name__)
LONGEST_REQUEST = 64 * 1024
PR_SET_PDEATHSIG = 1
# What the programs would import: gunicorn, uvicorn, Celery's worker and clock, the collector.
PRELOADED = (
    "celery.apps.beat",
    "celery.apps.worker",
    "celery.bin.celery",
    "celery.concurrency.prefork",
    "celery.worker.consumer",
    "gunicorn.app.wsgiapp",
    "kombu.transport.redis",
    "kubegale.asgi",
    "kubegale.urls",
    "kubegale.wsgi",
    "uvicorn",
)


@dataclass(frozen=True, slots=True)
class Program:
    """A program to become: `name` is a module, or with `script` the path of a file."""

    argv: tuple[str, ...]
    warnings: tuple[str, ...]
    name: str
    script: bool

    @classmethod
    def parse(cls, argv: Sequence[str]) -> "Program":
        """Read a command line without the interpreter; ValueError when it has no program."""
        ignored: list[str] = []
        rest = list(argv)
        while rest[:1] == ["-W"] and len(rest) > 1:
            ignored.append(rest[1])
            del rest[:2]
        if rest[:1] == ["-m"]:
            del rest[0]
            return cls(tuple(rest), tuple(ignored), rest[0], script=False)
        if not rest or rest[0].startswith("-"):
            raise ValueError("a command line needs -m MODULE or a script")
        return cls(tuple(rest), tuple(ignored), rest[0], script=True)

    def run(self) -> None:
        """Run it as the interpreter would, with its name `__main__`."""
        for option in self.warnings:
            action, _, message = option.partition(":")
            if action == "ignore":
                warnings.filterwarnings("ignore", message=re.escape(message))
        sys.argv = list(self.argv)
        if self.script:
            runpy.run_path(self.name, run_name="__main__")
        else:
            runpy.run_module(self.name, run_name="__main__", alter_sys=True)


@dataclass(slots=True)
class ForkServer:
    """Answers requests until a signal ends the process."""

    listener: socket.socket
    # Connections of programs that run, by process id.
    _clients: dict[int, socket.socket] = field(default_factory=dict)
    _selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)

    def serve(self) -> Program:
        """Fork for every request; returns in the child alone, with the program to run."""
        reader, writer = socket.socketpair()
        for end in (reader, writer):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, _ignore)
        # The end of a child writes a byte, which ends the wait below.
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        self._selector.register(reader, selectors.EVENT_READ)
        self._selector.register(self.listener, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is reader:
                    reader.recv(4096)
                    self._report_ended()
                elif (program := self._accept()) is not None:
                    reader.close()
                    writer.close()
                    return program

    def _accept(self) -> Program | None:
        """Start what a client asks for; None in the server, the program in the child."""
        client, _ = self.listener.accept()
        client.settimeout(5.0)
        try:
            data, descriptors, _, _ = socket.recv_fds(client, LONGEST_REQUEST, 1)
            if not data:
                # The launcher looked whether we listen.
                client.close()
                return None
            request = json.loads(data)
            program = Program.parse(request["argv"])
            orphan_signal = int(request["orphan_signal"])
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            log.warning("A request could not be read: %s", error)
            client.close()
            return None
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._leave(client)
            _begin(parent, orphan_signal, descriptors, (sys.executable, *request["argv"]))
            return program
        for descriptor in descriptors:
            os.close(descriptor)
        self._clients[pid] = client
        _send(client, {"pid": pid})
        return None

    def _leave(self, client: socket.socket) -> None:
        """In the child: let go of what belongs to the server."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._selector.close()
        for connection in (self.listener, client, *self._clients.values()):
            connection.close()
        self._clients.clear()

    def _report_ended(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if (client := self._clients.pop(pid, None)) is not None:
                _send(client, {"status": os.waitstatus_to_exitcode(status)})
                client.close()


def _ignore(number: int, frame: FrameType | None) -> None:
    """A handler, so that the signal is delivered at all."""


def _send(client: socket.socket, message: dict[str, int]) -> None:
    try:
        client.sendall(json.dumps(message).encode())
    except OSError:
        # The launcher has gone; the kernel ends us as well.
        return


def _begin(
    parent: int, orphan_signal: int, descriptors: Sequence[int], command_line: Sequence[str]
) -> None:
    """In the child: a session and streams of its own, as the launcher gives to a new process."""
    os.setsid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, orphan_signal, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
    for descriptor in descriptors:
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.close(descriptor)
    show_command_line(command_line)


def show_command_line(command_line: Sequence[str]) -> None:
    """Have ps and /proc show this command line, as far as there is room for it.

    The kernel shows the memory in which the arguments of the process were put when it started; the
    launcher makes room there by a long last argument.
    """
    # proc(5): arg_start and arg_end are the fields 48 and 49; the third comes after the name.
    values = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = int(values[45]), int(values[46])
    room = end - start
    if start == 0 or room <= 0:
        return
    text = b"\0".join(os.fsencode(argument) for argument in command_line)[: room - 1]
    ctypes.memmove(start, text.ljust(room, b"\0"), room)


def preload() -> None:
    """Load what the programs have in common.

    Garbage goes while modules load: each child would write to the holes that it leaves in the end,
    and only pages that nobody writes to are shared.
    """
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kubegale.settings")
    django.setup()
    for name in PRELOADED:
        import_module(name)
    import_module("kubegale.celery").app.loader.import_default_modules()
    load_command_class("storage_api", "collect")
    if threading.active_count() > 1:
        # A lock that another thread holds would be held for ever in the child.
        raise RuntimeError("a module that was loaded started a thread")
    # Looking for garbage in a child would write to each object.
    gc.collect()
    gc.freeze()


def main(path: str) -> None:
    """Load, listen, and become the programs that are asked for."""
    preload()
    show_command_line((sys.executable, "-m", "kubegale.fork_server", path))
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        Path(path).unlink(missing_ok=True)
        listener.bind(path)
        listener.listen()
        program = ForkServer(listener).serve()
    program.run()


if __name__ == "__main__":
    main(sys.argv[1])
