"""The supervisor: what it shows, restarts and ends; nothing outlives it, whatever kills it."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from functools import partial
from pathlib import Path

import pytest

from launcher.logfile import LogFile
from launcher.processes import Command, LaunchError
from launcher.supervisor import Stopped, Supervisor
from tests.launcher.watching import descendants, environment, eventually, living

ROOT = Path(__file__).resolve().parents[2]


def script(name: str, text: str, *, tier: int = 0, grace: float = 10.0) -> Command:
    """A child that runs a few lines of Python."""
    return Command(
        name=name,
        argv=(sys.executable, "-u", "-c", textwrap.dedent(text)),
        env=environment(),
        cwd=ROOT,
        tier=tier,
        grace=grace,
    )


def test_lines_of_a_child_carry_its_name(capfd: pytest.CaptureFixture[str]) -> None:
    seen: list[str] = []

    def both_shown() -> bool:
        seen.append(capfd.readouterr().out)
        return "".join(seen).count("\n") >= 2

    with Supervisor().running() as supervisor:
        supervisor.start(
            script(
                "talker",
                "import sys, time; print('one'); print('two', file=sys.stderr); time.sleep(60)",
            )
        )
        supervisor.until(both_shown, seconds=10, what="output")
    assert "".join(seen) == "talker   | one\ntalker   | two\n"


def test_lines_go_to_a_file_of_bounded_size_where_logs_are_kept(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = LogFile(tmp_path / "bounded.log", largest=10)
    for line in ("one", "two", "three", "four"):
        log.write(line)
    log.close()
    assert (tmp_path / "bounded.log.1").read_text() == "one\ntwo\nthree\n"
    assert (tmp_path / "bounded.log").read_text() == "four\n"

    kept = tmp_path / "talker.log"
    kept.touch()
    for start in ("first", "second"):
        with Supervisor(logs=tmp_path).running() as supervisor:
            supervisor.start(script("talker", f"import time; print('{start}'); time.sleep(60)"))
            shown = partial(lambda word: word in kept.read_text(), start)
            supervisor.until(shown, seconds=10, what="the line")
    assert (tmp_path / "talker.log").read_text() == "first\nsecond\n"
    assert capfd.readouterr().out == "kubegale | stopping talker\n" * 2


def test_a_child_that_dies_at_once_stops_everything_and_is_quoted() -> None:
    with Supervisor().running() as supervisor:
        healthy = supervisor.start(script("healthy", "import time; time.sleep(60)"))
        supervisor.start(
            script(
                "broken", "import sys, time; print('no such luck'); time.sleep(0.3); sys.exit(3)"
            )
        )
        with pytest.raises(
            LaunchError, match="broken ended at once, with exit code 3: no such luck"
        ):
            supervisor.watch()
    assert not healthy.alive


def test_a_child_that_crashes_later_is_started_again(tmp_path: Path) -> None:
    marks = tmp_path / "starts"
    text = f"import time; open({str(marks)!r}, 'a').write('x'); time.sleep(60)"
    with Supervisor().running() as supervisor:
        child = supervisor.start(script("worker", text))
        supervisor.until(marks.exists, seconds=10, what="the first start")
        proven = time.monotonic() + 3.5
        supervisor.until(
            lambda: time.monotonic() > proven, seconds=10, what="the time to be taken for healthy"
        )
        child.process.kill()
        supervisor.until(lambda: marks.read_text() == "xx", seconds=10, what="the second start")


def test_what_serves_ends_before_what_it_needs(tmp_path: Path) -> None:
    order = tmp_path / "order"
    text = f"""
        import signal, sys, time
        signal.signal(signal.SIGTERM, lambda *_: (open({str(order)!r}, "a").write(sys.argv[1]), sys.exit(0)))
        open({str(tmp_path)!r} + "/" + sys.argv[1], "w").close()
        time.sleep(60)
    """
    with Supervisor().running() as supervisor:
        for name, tier in (("a", 0), ("b", 1), ("c", 2)):
            plain = script(name, text, tier=tier)
            supervisor.start(
                Command(
                    name=name, argv=(*plain.argv, name), env=plain.env, cwd=plain.cwd, tier=tier
                )
            )
        supervisor.until(
            lambda: all((tmp_path / name).exists() for name in "abc"), seconds=20, what="the three"
        )
    assert order.read_text() == "cba"


def test_a_child_that_ignores_the_request_and_its_own_children_are_killed(tmp_path: Path) -> None:
    text = f"""
        import signal, subprocess, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        grandchild = subprocess.Popen(["sleep", "60"])
        open({str(tmp_path / "pid")!r}, "w").write(str(grandchild.pid) + "\\n")
        time.sleep(60)
    """
    with Supervisor().running() as supervisor:
        stubborn = supervisor.start(script("stubborn", text, grace=0.5))
        supervisor.until(
            lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().endswith("\n"),
            seconds=10,
            what="the pid",
        )
    assert not stubborn.alive
    assert eventually(lambda: not living(int((tmp_path / "pid").read_text())))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_ask_for_the_end(number: signal.Signals) -> None:
    with Supervisor().running() as supervisor:
        child = supervisor.start(script("any", "import time; time.sleep(60)"))
        os.kill(os.getpid(), number)
        with pytest.raises(Stopped):
            supervisor.watch()
    assert not child.alive


def test_what_was_said_is_said_again_from_time_to_time() -> None:
    reminders: list[float] = []

    def remind() -> None:
        reminders.append(time.monotonic())
        if len(reminders) == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    with Supervisor().running() as supervisor:
        supervisor.start(script("any", "import time; time.sleep(60)"))
        with pytest.raises(Stopped):
            supervisor.watch(remind, every=0.1)
    assert len(reminders) == 2


def test_a_command_that_fails_is_quoted_by_its_last_line() -> None:
    with Supervisor().running() as supervisor:
        assert (
            supervisor.once(
                "echo", [sys.executable, "-c", "print('fine')"], env=environment(), cwd=ROOT
            )
            == "fine\n"
        )
        with pytest.raises(LaunchError, match=r"^DATABASE_URL is not set$"):
            supervisor.once(
                "settings",
                [sys.executable, "-c", "raise SystemExit('DATABASE_URL is not set')"],
                env=environment(),
                cwd=ROOT,
            )


SERVERS_AND_ONE_MORE = """
import sys, time
from pathlib import Path
from launcher import processes
from launcher.postgres import Postgres
from launcher.supervisor import Supervisor
from launcher.valkey import Valkey
import os
home = Path(sys.argv[1])
with Supervisor().running() as supervisor:
    for server in (Postgres(home, os.environ), Valkey(home, os.environ)):
        child = supervisor.start(server.command())
        supervisor.until(lambda: server.is_ready(child), seconds=30, what="server")
    supervisor.start(processes.Command(name="sleeper", argv=("sleep", "300"), env=os.environ, cwd=home))
    print("ready", flush=True)
    supervisor.watch()
"""


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells children of their parent's death"
)
def test_killing_the_supervisor_leaves_no_process_behind(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", SERVERS_AND_ONE_MORE, str(tmp_path)]
    with subprocess.Popen(
        arguments, env=environment(), cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as launcher:
        assert launcher.stdout is not None
        assert "ready\n" in launcher.stdout
        below = descendants(launcher.pid)
        assert len(below) >= 3
        launcher.kill()
    assert eventually(lambda: not [pid for pid in below if living(pid)]), below
