"""One parent for all processes: shows output, restarts what crashes, stops everything."""

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from launcher import processes
from launcher.forks import ForkServer
from launcher.logfile import LogFile
from launcher.processes import Child, Command, LaunchError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
DIES_AT_ONCE = 3.0
LONGEST_PAUSE = 30.0
LONGEST_LINE = 64 * 1024
REMIND_SECONDS = 3600.0


class Stopped(Exception):
    """A signal asked us to end."""


@dataclass(slots=True)
class Keeper:
    """A supervised command.

    `child` is its present process, `partial` the beginning of its next line, `last` its last line,
    `due` when it may start again (monotonic time), `proven` whether it ever ran for DIES_AT_ONCE,
    `log` the file that takes its lines, None where they are shown.
    """

    command: Command
    child: Child | None
    log: LogFile | None = None
    partial: bytes = b""
    last: str = ""
    crashes: int = 0
    due: float = 0.0
    proven: bool = False


@dataclass(slots=True)
class Supervisor:
    """Owns the children.

    `prefix` puts each child's name before its lines; without it children write to our output.
    With `logs` their lines go to `NAME.log` in that folder instead. With `forks` the commands that
    may be forked are started by that server, by exec only when it is not there.
    """

    prefix: bool = True
    logs: Path | None = None
    forks: ForkServer | None = None
    _keepers: list[Keeper] = field(default_factory=list)
    _selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    # When (monotonic time) the first signal came, and whether a later one insisted.
    _stop_requested: float | None = None
    _insisted: bool = False
    # Whether the reader of our output has gone away.
    _output_closed: bool = False

    @contextmanager
    def running(self) -> Iterator["Supervisor"]:
        """Take the signals, and stop every child however the block ends."""
        before = {
            number: signal.signal(number, self._on_signal)
            for number in SIGNALS
            if not _ignored_on_purpose(number)
        }
        # A signal writes to the pipe, and so ends the wait for output at once.
        waker, sleeper = os.pipe()
        for end in (waker, sleeper):
            os.set_blocking(end, False)
        self._selector.register(waker, selectors.EVENT_READ, None)
        old_wakeup = signal.set_wakeup_fd(sleeper, warn_on_full_buffer=False)
        try:
            yield self
        finally:
            self._stop_all()
            signal.set_wakeup_fd(old_wakeup)
            self._selector.close()
            os.close(waker)
            os.close(sleeper)
            for number, handler in before.items():
                signal.signal(number, handler)

    def start(self, command: Command) -> Child:
        """Start a command that is to run until the end."""
        child = self._spawn(command)
        log = None
        if self.logs is not None and command.log is None:
            log = LogFile(self.logs / f"{command.name}.log")
        self._keepers.append(Keeper(command, child, log))
        return child

    def until(self, check: Callable[[], bool], *, seconds: float, what: str) -> None:
        """Keep everything running until `check` answers True.

        LaunchError after `seconds`, Stopped on a signal.
        """
        deadline = time.monotonic() + seconds
        while not check():
            if time.monotonic() > deadline:
                raise LaunchError(f"{what} was not ready within {seconds:.0f} s.")
            self._turn(0.05)

    def once(
        self,
        name: str,
        argv: list[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        seconds: float = 300.0,
    ) -> str:
        """Run a command to its end and return its standard output.

        LaunchError with its last line when it fails, or when it takes longer than `seconds`.
        """
        parent = os.getpid()
        with subprocess.Popen(
            argv,
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=lambda: processes.die_with(parent, signal.SIGTERM),
        ) as process:
            try:
                output, complaint = self._communicate(process, name, seconds)
            finally:
                processes.kill_session(process)
        if process.returncode != 0:
            text = (complaint or output).decode(errors="replace").strip()
            lines = text.splitlines() or [f"exit code {process.returncode}"]
            raise LaunchError(lines[-1].removeprefix("CommandError: "))
        return output.decode(errors="replace")

    def watch(
        self, remind: Callable[[], None] | None = None, *, every: float = REMIND_SECONDS
    ) -> None:
        """Keep every child running and call `remind` every so many seconds, by default every hour.

        Returns only by Stopped or LaunchError.
        """
        due = time.monotonic() + every
        while True:
            self._turn(0.5)
            if remind is not None and time.monotonic() >= due:
                due += every
                remind()

    def _communicate(
        self, process: subprocess.Popen[bytes], name: str, seconds: float
    ) -> tuple[bytes, bytes]:
        deadline = time.monotonic() + seconds
        while True:
            try:
                return process.communicate(timeout=0.05)
            except subprocess.TimeoutExpired:
                if time.monotonic() > deadline:
                    # The command itself is ended by the caller's `finally`.
                    raise LaunchError(f"{name} did not end within {seconds:.0f} s.") from None
            self._turn(0.0)

    def _turn(self, seconds: float) -> None:
        """One round: pass output on, restart what died; Stopped when a signal came."""
        self._read(seconds)
        if self._stop_requested is not None:
            raise Stopped
        for keeper in self._keepers:
            self._check_child(keeper)

    def _check_child(self, keeper: Keeper) -> None:
        now = time.monotonic()
        if keeper.child is None:
            if now >= keeper.due:
                self.say(f"{keeper.command.name} starts again")
                keeper.child = self._spawn(keeper.command)
        elif keeper.child.alive:
            age = now - keeper.child.started
            keeper.proven = keeper.proven or age > DIES_AT_ONCE
            # A child that has run for so long is healthy: its next crash is its first.
            if age > 2 * LONGEST_PAUSE:
                keeper.crashes = 0
        else:
            self._replace_dead_child(keeper, keeper.child, now)

    def _replace_dead_child(self, keeper: Keeper, child: Child, now: float) -> None:
        """A child has died: start it again after a pause.

        LaunchError, which stops everything, when it never came up.
        """
        # Its own children must not hold ports or files that the next one needs.
        processes.kill_group(child)
        how = _ending(child.process.returncode)
        if not keeper.proven:
            if keeper.command.diagnose:
                raise LaunchError(keeper.command.diagnose(child.process.returncode))
            words = f": {keeper.last}" if keeper.last else ""
            raise LaunchError(
                f"{keeper.command.name} ended at once, with {how}{words}{_log_hint(keeper)}."
            )
        pause = min(LONGEST_PAUSE, 0.5 * 2**keeper.crashes)
        keeper.child = None
        keeper.crashes += 1
        keeper.due = now + pause
        self.say(
            f"{keeper.command.name} ended with {how}; it starts again in {pause:g} s"
            f"{_log_hint(keeper)}"
        )

    def _spawn(self, command: Command) -> Child:
        child: Child | None = None
        if self.forks is not None and command.forkable:
            child = self.forks.start(command, piped=self.prefix)
        if child is None:
            child = processes.start(command, subprocess.PIPE if self.prefix else None)
        if child.process.stdout is not None:
            # A line without an end must not hold up the output of the others.
            os.set_blocking(child.process.stdout.fileno(), False)
            self._selector.register(child.process.stdout, selectors.EVENT_READ, command.name)
        return child

    def _read(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            # The pipe of the signals: its bytes have done their work by ending the wait.
            if key.data is None:
                os.read(key.fd, 4096)
                continue
            keepers = [keeper for keeper in self._keepers if keeper.command.name == key.data]
            self._take(key, keepers[0] if keepers else None)

    def _take(self, key: selectors.SelectorKey, keeper: Keeper | None) -> None:
        """Show the whole lines that have come from one child."""
        try:
            data = os.read(key.fd, LONGEST_LINE)
        except BlockingIOError:
            return
        if not data:
            self._selector.unregister(key.fileobj)
            key.fileobj.close()  # type: ignore[union-attr]  # always the pipe, never a number
            return
        if keeper is None:
            return
        *lines, rest = (keeper.partial + data).split(b"\n")
        # Bounded: a program may print for ever without a line feed.
        keeper.partial = rest[-LONGEST_LINE:]
        for line in lines:
            text = line.decode(errors="replace").rstrip()
            keeper.last = text or keeper.last
            if keeper.log is None:
                self._print(f"{keeper.command.name:<9}| {text}")
            else:
                keeper.log.write(text)

    def say(self, text: str) -> None:
        """A line of our own."""
        self._print(f"{'kubegale':<9}| {text}" if self.prefix else text)

    def _print(self, line: str) -> None:
        """Write a line; a reader that has gone away is no reason to leave the children alone."""
        if self._output_closed:
            return
        try:
            print(line, flush=True)
        except OSError:
            self._output_closed = True

    def _stop_all(self) -> None:
        """Tier by tier, the highest first: what serves goes before what it needs."""

        def pump() -> bool:
            self._read(0.0)
            return self._insisted

        self._stop_requested = self._stop_requested or time.monotonic()
        living = [keeper.child for keeper in self._keepers if keeper.child is not None]
        for tier in sorted({child.command.tier for child in living}, reverse=True):
            children = [child for child in living if child.command.tier == tier]
            self.say(f"stopping {', '.join(child.command.name for child in children)}")
            processes.stop(children, pump=pump)
        self._read(0.0)
        for keeper in self._keepers:
            if keeper.log is not None:
                keeper.log.close()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        """The first signal stops; one that comes a second later or more does not wait for it."""
        del number, frame
        now = time.monotonic()
        first = self._stop_requested
        self._insisted = first is not None and now - first > 1.0
        self._stop_requested = first or now


def _ignored_on_purpose(number: int) -> bool:
    """Whether the signal is SIGHUP under nohup.

    A shell's `&` has SIGINT ignored in the same way, yet whoever sends it means it.
    """
    return number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN


def _log_hint(keeper: Keeper) -> str:
    return f" (its log is {keeper.log.path})" if keeper.log is not None else ""


def _ending(code: int) -> str:
    if code < 0:
        try:
            return f"signal {signal.Signals(-code).name}"
        except ValueError:
            return f"signal {-code}"
    return f"exit code {code}"
