"""Programs that share the memory of one process: how they start, end and are seen."""

import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher import processes, programs
from launcher.forks import ForkServer
from launcher.processes import Child, Command
from launcher.supervisor import Supervisor
from tests.launcher.watching import eventually, living

PROGRAM = """
import os, signal, sys, time
print("started", *sys.argv[1:], flush=True)
open(sys.argv[1], "w").write(str(os.getppid()))
if sys.argv[2:] == ["end"]:
    raise SystemExit(3)
time.sleep(60)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[ForkServer, Child]]:
    """A fork server that has loaded KubeGale, and its process."""
    with tempfile.TemporaryDirectory(prefix="forks-") as folder:
        path = Path(folder) / "s"
        child = processes.start(programs.fork_server(os.environ, path))
        forks = ForkServer(path)
        assert eventually(lambda: forks.ready or not child.alive, seconds=60)
        assert forks.ready
        try:
            yield forks, child
        finally:
            processes.stop([child])


def command(folder: Path, *arguments: str) -> Command:
    """A program that writes its parent's number to `folder/mark`, then waits or ends with 3."""
    script = folder / "program.py"
    script.write_text(PROGRAM)
    argv = (sys.executable, str(script), str(folder / "mark"), *arguments)
    return Command(name="program", argv=argv, env=dict(os.environ), cwd=folder, forkable=True)


def begun(folder: Path) -> int:
    """The number of the program's parent, once it has written it."""
    mark = folder / "mark"
    assert eventually(lambda: mark.exists() and bool(mark.read_text()))
    return int(mark.read_text())


def test_a_forked_program_has_its_own_output_session_command_line_and_exit_status(
    server: tuple[ForkServer, Child], tmp_path: Path
) -> None:
    forks, parent = server
    waiting = forks.start(command(tmp_path, "wait"), piped=True)
    assert waiting is not None
    assert waiting.process.stdout is not None
    assert begun(tmp_path) == parent.process.pid
    assert b"started" in waiting.process.stdout.read(200)
    pid = waiting.process.pid
    assert os.getsid(pid) == pid
    shown = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    assert shown == [os.fsencode(word) for word in waiting.command.argv]
    assert waiting.alive
    processes.stop([waiting])
    assert waiting.process.returncode == -signal.SIGTERM
    assert not living(pid)
    (tmp_path / "mark").unlink()
    ended = forks.start(command(tmp_path, "end"), piped=False)
    assert ended is not None
    assert ended.process.wait(timeout=30) == 3
    assert not ended.alive


def test_a_program_is_started_without_the_fork_server_when_that_is_not_there(
    tmp_path: Path,
) -> None:
    with Supervisor(forks=ForkServer(tmp_path / "nothing")).running() as supervisor:
        child = supervisor.start(command(tmp_path, "wait"))
        assert begun(tmp_path) == os.getpid()
    assert not child.alive


def test_programs_end_with_the_fork_server_and_start_again(tmp_path: Path) -> None:
    path = tmp_path / "s"
    if len(str(path)) > programs.LONGEST_HOME:
        path = Path(tempfile.mkdtemp(prefix="forks-")) / "s"
    with Supervisor(forks=ForkServer(path)).running() as supervisor:
        server = supervisor.start(programs.fork_server(os.environ, path))
        forks = supervisor.forks
        assert forks is not None
        supervisor.until(lambda: forks.ready, seconds=60, what="the fork server")
        child = supervisor.start(command(tmp_path, "wait"))
        assert begun(tmp_path) == server.process.pid
        proven = time.monotonic() + 3.5
        supervisor.until(
            lambda: time.monotonic() > proven, seconds=10, what="the time to be taken for healthy"
        )
        (tmp_path / "mark").unlink()
        server.process.send_signal(signal.SIGKILL)
        supervisor.until((tmp_path / "mark").exists, seconds=30, what="the second start")
        assert eventually(lambda: not child.alive)
