"""Child processes: how they are started, how they end, and that none outlives its parent."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

PR_SET_PDEATHSIG = 1
_prctl = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None


class LaunchError(Exception):
    """One sentence for the person at the terminal: what is wrong, and what to do about it."""


@dataclass(frozen=True, slots=True)
class Account:
    """The operating system user that a child runs as."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A long-running child: what to execute, as whom, and how to ask it to end.

    `stop_signal` is its polite end, `orphan_signal` is what the kernel sends it when we die without
    a word, `grace` is the number of seconds before SIGKILL, `tier` orders the stop (the highest
    tier first), `diagnose` turns the exit code of a start that failed into a sentence, `forkable`
    says that it is a program of Python that the fork server may start.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    account: Account | None = None
    descriptors: tuple[int, ...] = ()
    stop_signal: int = signal.SIGTERM
    orphan_signal: int = signal.SIGTERM
    grace: float = 10.0
    tier: int = 0
    log: Path | None = None
    diagnose: Callable[[int], str] | None = None
    forkable: bool = False


class Process(Protocol):
    """What is used of a subprocess.Popen."""

    @property
    def pid(self) -> int:
        """Its number, and that of its session."""

    @property
    def stdout(self) -> IO[bytes] | None:
        """Its output, where it is read through a pipe."""

    @property
    def returncode(self) -> int | Any:
        """Its exit status once `poll` or `wait` has answered it."""

    def poll(self) -> int | None:
        """Its exit status, or None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status, once it has ended."""

    def send_signal(self, number: int, /) -> None:
        """Send a signal, unless it has ended."""


@dataclass(slots=True)
class Child:
    """A started command."""

    command: Command
    process: Process
    started: float = field(default_factory=time.monotonic)

    @property
    def alive(self) -> bool:
        """Whether the process still runs; reaps it when it does not."""
        return self.process.poll() is None


def die_with(parent: int, orphan_signal: int) -> None:
    """Have the kernel send us `orphan_signal` when process `parent` ends (Linux only)."""
    if _prctl is not None:
        _prctl(PR_SET_PDEATHSIG, orphan_signal, 0, 0, 0)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)


def start(command: Command, output: int | IO[bytes] | None = None) -> Child:
    """Start `command` in a session of its own; its output goes to its log, else to `output`.

    Call it from the main thread: the kernel ties the child's life to the thread that started it.
    """
    parent = os.getpid()
    account = command.account
    stream = command.log.open("wb") if command.log else output
    try:
        process = subprocess.Popen(
            command.argv,
            env=dict(command.env),
            cwd=command.cwd,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT if stream is not None else None,
            start_new_session=True,
            pass_fds=command.descriptors,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            preexec_fn=lambda: die_with(parent, command.orphan_signal),
        )
    except OSError as error:
        raise LaunchError(
            f"{command.name} could not be started: {error.strerror or error}: {command.argv[0]}"
        ) from error
    finally:
        if command.log and stream is not None and not isinstance(stream, int):
            stream.close()
    return Child(command, process)


def signal_child(child: Child, number: int) -> None:
    """Send a signal to the child alone."""
    if child.alive:
        child.process.send_signal(number)


def kill_group(child: Child) -> None:
    """SIGKILL to what is left of the child's session."""
    kill_session(child.process)


def kill_session(process: Process) -> None:
    """SIGKILL to the process, which leads a session, and to all that it started there."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def stop(children: Iterable[Child], *, pump: Callable[[], bool] | None = None) -> None:
    """Ask all of them to end, the last first, wait for each one's grace, kill what is left.

    `pump` is called while waiting; it answers True when the wait is to be cut short.
    """
    stopping = list(children)[::-1]
    for child in stopping:
        signal_child(child, child.command.stop_signal)
    started = time.monotonic()
    for child in stopping:
        while child.alive and time.monotonic() - started < child.command.grace:
            if pump is not None and pump():
                break
            time.sleep(0.02)
        kill_group(child)
        child.process.wait()


def last_line(log: Path, *words: str) -> str:
    """The last line of a log that contains one of `words`, else its last line, else ""."""
    try:
        lines = [
            line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()
        ]
    except OSError:
        return ""
    matching = [line for line in lines if any(word in line for word in words)]
    return (matching or lines or [""])[-1]
