"""Starts what is measured as processes of its own: their memory and time are theirs alone."""

import contextlib
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from launcher import secretfiles
from launcher.ports import free_port
from launcher.testing import running_servers

T = TypeVar("T")
GUNICORN = ("-m", "gunicorn", "kubegale.wsgi", "--config", "python:kubegale.gunicorn")


@contextlib.contextmanager
def environment(**extra: str) -> Iterator[dict[str, str]]:
    """Everything that settings need, with real servers that end with the block."""
    with running_servers() as addresses:
        yield {
            **os.environ,
            "DATABASE_URL": str(addresses.database_url),
            "REDIS_URL": str(addresses.redis_url),
            "SECRET_KEY": secretfiles.secret_key(),
            "FIELD_ENCRYPTION_KEYS": secretfiles.fernet_key(),
            "LOG_LEVEL": "WARNING",
            **extra,
        }


@contextlib.contextmanager
def migrated(**extra: str) -> Iterator[dict[str, str]]:
    """The same, with the tables of the product."""
    with environment(**extra) as environ:
        manage(environ, "migrate", "--verbosity", "0")
        yield environ


def manage(environ: dict[str, str], *arguments: str) -> str:
    """What a management command prints."""
    command = [sys.executable, "manage.py", *arguments]
    process = subprocess.run(
        command,
        env=environ,
        check=True,
        capture_output=True,
        text=True,
    )
    return process.stdout.strip()


@contextlib.contextmanager
def running(command: list[str], environ: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A child for the length of the block."""
    child = subprocess.Popen(command, env=environ)
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def wait_for(url: str, seconds: float = 60) -> None:
    """Until the address answers."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310  # our own loopback address
                return
        except (urllib.error.URLError, OSError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


@contextlib.contextmanager
def web(
    environ: dict[str, str],
    tree: str = "",
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """(address, gunicorn's master) of the web server as production runs it, with one process.

    `environ` may name another number; `tree` is a checkout of another version.
    """
    port = free_port()
    command = [sys.executable, *GUNICORN]
    if tree:
        command = ["env", "-C", tree, f"PYTHONPATH={tree}", *command]
    bound = {"WEB_CONCURRENCY": "1", **environ, **_listening(port)}
    with running(command, bound) as child:
        wait_for(f"http://127.0.0.1:{port}/healthz")
        yield f"http://127.0.0.1:{port}", child


@contextlib.contextmanager
def fronted(
    environ: dict[str, str], folder: str
) -> Iterator[tuple[int, subprocess.Popen[bytes], subprocess.Popen[bytes]]]:
    """(port, gunicorn's master, front) of a front with a web server of its own behind it."""
    port = free_port()
    bound = {
        "WEB_CONCURRENCY": "1",
        **environ,
        **_listening(port),
        "KUBEGALE_WS_PORT": str(free_port()),
        "KUBEGALE_WEB_SOCKET": f"{folder}/web",
        "KUBEGALE_WS_SOCKET": f"{folder}/ws",
    }
    with (
        running([sys.executable, *GUNICORN], bound) as child,
        running([sys.executable, "-m", "edge"], bound) as front,
    ):
        wait_for(f"http://127.0.0.1:{port}/healthz")
        yield port, child, front


def _listening(port: int) -> dict[str, str]:
    return {"KUBEGALE_BIND": "127.0.0.1", "KUBEGALE_PORT": str(port)}


def until(condition: Callable[[], T], seconds: float = 900) -> T:
    """What the condition returns once it holds; AssertionError when it does not in time."""
    deadline = time.monotonic() + seconds
    while not (outcome := condition()):
        assert time.monotonic() < deadline, "did not come about"
        time.sleep(0.02)
    return outcome


@contextlib.contextmanager
def simulated(environ: dict[str, str], folder: str, pods: int) -> Iterator[Path]:
    """The kubeconfig of a simulated cluster with so many pods, a process of its own."""
    kubeconfig = Path(folder) / f"kubeconfig-{pods}"
    with running(
        [
            sys.executable,
            "-m",
            "bench.simulated",
            str(pods),
            str(kubeconfig),
        ],
        environ,
    ):
        until(kubeconfig.exists)
        yield kubeconfig


def process_fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on; zeros when the process has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ["0"] * 50
    return text.rpartition(")")[2].split()


def children_seconds(parent: int) -> float:
    """Processor time of the children of a process so far, with those that have ended."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    fields = process_fields(parent)
    ended = (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
    return ended + sum(processor_seconds(int(child)) for child in children)


def administrator(
    environ: dict[str, str],
    password: str = "bench-only-1",  # noqa: S107  # of a database that ends with the bench
) -> str:
    """The API token of a new administrator called bench."""
    account = (
        "--noinput",
        "--username",
        "bench",
        "--email",
        "b@example.com",
    )
    manage(
        {**environ, "DJANGO_SUPERUSER_PASSWORD": password},
        "createsuperuser",
        *account,
    )
    return manage(environ, "create_token", "bench")


def peak_memory(master: int) -> float:
    """Peak resident megabytes of the largest child of a process."""
    children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    sizes = [peak(int(child)) for child in children] or [peak(master)]
    return max(sizes)


def peak(pid: int) -> float:
    """Peak resident megabytes of one process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


def processor_seconds(pid: int) -> float:
    """Processor time of one process so far."""
    fields = process_fields(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def proportional(pid: int) -> float:
    """Megabytes of one process; what it shares counts in part (Pss)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def count_connections(pid: int) -> int:
    """The sockets that a process holds."""
    links = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        # It may be closed meanwhile.
        with contextlib.suppress(OSError):
            links.append(os.readlink(entry))
    return sum(link.startswith("socket:") for link in links)
